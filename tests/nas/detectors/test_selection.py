"""Filters of the atlas."""

from __future__ import annotations

from typing import Any

import pytest

from nas.detectors.atlas import Atlas
from nas.detectors.selection import Selection, params_range, short_source
from workbench.errors import BadInput


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, ["alpha-s", "alpha-s", "alpha-l", "beta-s"]),
        ({"families": ("ALPHA",)}, ["alpha-s", "alpha-s", "alpha-l"]),
        ({"sources": ("other/",)}, ["beta-s"]),
        ({"traits": ("coco-only",)}, ["alpha-s", "alpha-l"]),
        ({"traits": ("scratch", "no-teacher")}, ["alpha-s", "alpha-l"]),
        ({"traits": ("teacher",)}, ["alpha-s"]),
        ({"input_px": (96,)}, ["beta-s"]),
        ({"params": "5..30k"}, ["alpha-l"]),
        ({"task": "coco_v", "families": ("beta",)}, ["beta-s"]),
    ],
)
def test_filters(atlas: Atlas, wanted: dict[str, Any], names: list[str]) -> None:
    assert [entry.name for entry in Selection(**wanted).of(atlas).entries] == names


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"families": ("Alpa",)}, "unknown family 'Alpa': did you mean Alpha"),
        ({"sources": ("nobody",)}, r"--source 'nobody': no entry is from it; sources: other/beta, someone/alpha"),
        ({"traits": ("teached",)}, "unknown recipe trait 'teached': did you mean teacher"),
        ({"params": "many"}, "--params 'many' must be a number or a range"),
        ({"params": "10..1M"}, "--params '10..1M' must be"),
        ({"task": "voc"}, "unknown task 'voc'"),
        ({"input_px": (9,)}, "no entry of the atlas passes all filters"),
    ],
)
def test_filters_that_nothing_can_pass(atlas: Atlas, wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Selection(**wanted).of(atlas)


def test_a_range_of_parameters() -> None:
    assert (params_range("1..10M").low, params_range("1..10M").high) == (1e6, 1e7)
    assert params_range("900kparams").high == 9e5


def test_sources_are_shortened_to_their_repository() -> None:
    assert short_source("someone/net@12ab:docs/README.md") == "someone/net"
    assert short_source("facts.csv (someone/net@12ab:README.md)") == "someone/net"
    assert short_source("torchvision 0.28.0 (PyPI): weights") == "torchvision 0.28.0" and short_source("") == ""
