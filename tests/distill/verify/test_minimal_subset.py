"""A minimal subset is found, and within its trials."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest

from distill.verify.minimal_subset import minimal_subset


@pytest.mark.parametrize("needed", [{0}, {39}, {17}, {3, 4}, {0, 39}, {2, 20, 37}, set(range(40))])
def test_the_fewest_are_found(needed: set[int]) -> None:
    names = [f"layer {i}" for i in range(40)]
    tried: list[tuple[str, ...]] = []

    def enough(kept: Sequence[str]) -> bool:
        tried.append(tuple(kept))
        return {names[i] for i in needed} <= set(kept)

    assert minimal_subset(names, enough, 1000) == tuple(names[i] for i in sorted(needed))
    assert len(tried) <= 2 * len(needed) * (math.log2(40 / len(needed)) + 1) + 2 * len(needed)
    assert all(len(kept) == len(set(kept)) for kept in tried)
    for most in range(0, len(tried), 3):
        tried.clear()
        found = minimal_subset(names, enough, most)
        assert len(tried) <= most and enough(found)


def test_one_of_two_ways_is_found() -> None:
    """Either of two sets is enough: what comes out is enough, and nothing in it can be left out."""
    names, ways = list("abcdefgh"), ({"b", "g"}, {"c", "f", "h"})
    found = minimal_subset(names, lambda kept: any(way <= set(kept) for way in ways), 100)
    assert set(found) in ways
    for short in itertools.combinations(found, len(found) - 1):
        assert not any(way <= set(short) for way in ways)
    assert minimal_subset([], lambda kept: False, 5) == ()
