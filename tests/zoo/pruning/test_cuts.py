"""Cuts as plain data: ranges, composition, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import BadInput
from zoo.pruning.cuts import Cuts, format_ranges, parse_ranges


@given(st.sets(st.integers(0, 300), min_size=1))
def test_ranges_are_read_back(numbers: set[int]) -> None:
    ascending = tuple(sorted(numbers))
    assert parse_ranges(format_ranges(ascending), "layer") == ascending


def test_a_later_cut_counts_in_the_network_that_the_earlier_one_left() -> None:
    first = Cuts({"a": (0, 2, 5, 7), "block.conv": (1,)}, (), {"head": 3})
    later = Cuts({"a": (1, 3), "b": (0,)}, ("block",), {"head": 2})
    assert first.then(later) == Cuts({"a": (2, 7), "b": (0,)}, ("block",), {"head": 2})


def test_cuts_are_read_back() -> None:
    cuts = Cuts({"a": (0, 1, 4)}, ("b", "c"), {"head": 2})
    assert Cuts.from_dict(cuts.to_dict()) == cuts
    assert not Cuts() and cuts


@pytest.mark.parametrize(
    "data",
    [
        [], {"other": 1}, {"channels": []}, {"channels": {"a": "3-1"}}, {"channels": {"a": "1,1"}},
        {"channels": {"a": ""}}, {"channels": {"a": "x"}}, {"channels": {"a": "0-99999999"}}, {"channels": {"a": 3}},
        {"skipped": "a"}, {"skipped": [1]}, {"depths": {"head": 0}}, {"depths": {"head": True}},
        {"channels": {"a": "0-" + "9" * 5000}}, {"channels": {str(i): "0-65535" for i in range(100)}},
    ],
)  # fmt: skip
def test_wrong_data_are_refused_in_one_line(data: object) -> None:
    with pytest.raises(BadInput, match=r"^cuts") as error:
        Cuts.from_dict(data)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
