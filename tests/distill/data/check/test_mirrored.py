"""Which class names tell that a mirror changes what they name."""

from __future__ import annotations

import pytest

from distill.data.check.mirrored import mirrored_classes


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([str(n) for n in range(10)], [str(n) for n in range(10)]), (["turn_left", "car"], ["turn_left"]),
        (["license-plate", "car", "bus"], ["license-plate"]), (["person", "dog", "x"], []), (["design", "bright"], []),
        (["zero", "one"], ["zero", "one"]),
    ],
)  # fmt: skip
def test_names(names: list[str], found: list[str]) -> None:
    assert mirrored_classes(names) == found
