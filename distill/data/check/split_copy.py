"""One split of a repaired copy while it is made, and the decision about each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distill.data.check.changes import DROPPED, Change
from distill.data.check.image_check import size_fault
from distill.data.check.report import Split
from distill.data.check.same_images import same_files
from distill.data.formats.findings import quoted

SAME_ASPECT = 0.01
"""Two sizes have the same aspect if the ratios of width to height differ by no more than this share."""
SPLIT_ORDER = ("train", "val", "test")
"""Of two splits with one image the earlier loses it: evaluation data stay whole."""


@dataclass(slots=True)
class SplitCopy:
    """One split of the copy."""

    split: Split
    changes: list[Change]
    """Of all splits."""
    keep: np.ndarray
    """bool ``[m]``: images that stay."""
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    links: list[tuple[Path, str]] = field(default_factory=list)
    """Image files and their names in the copy."""

    def record(self, code: str, where: str, before: Any, after: Any = DROPPED) -> None:
        """Note a change."""
        self.changes.append(Change(self.split.name, code, where, before, after))

    def drop(self, index: int, code: str, why: str) -> None:
        """Leave out an image and its objects."""
        if self.keep[index]:
            self.keep[index] = False
            self.record(code, quoted(self.split.raw.image_names[index]), why)


def size_change(split: Split, index: int, stated: Sequence[int]) -> str:
    """What happens to boxes drawn on the ``stated`` size: ``keep``, ``turn``, ``scale``, or nothing: they are lost."""
    check = split.images[index]
    assert check is not None  # only called where there is an image
    fault = size_fault((stated[0], stated[1]), check.header)
    if not fault:
        return "keep"
    if fault == "turned":
        return "turn"
    width, height = check.header.size
    return "scale" if abs(stated[0] * height / (stated[1] * width) - 1) <= SAME_ASPECT else ""


def drop_images(copy: SplitCopy) -> None:
    """Leave out images that cannot be read, or whose objects are unknown."""
    split, raw = copy.split, copy.split.raw
    first: dict[Path, int] = {}
    for index, (file, check) in enumerate(zip(raw.files, split.images, strict=True)):
        if file is None or check is None:
            copy.drop(index, "missing-image", "no such file in the folder")
        elif check.header.fault:
            copy.drop(index, check.header.fault, check.header.why)
        elif split.faults.same_id[index]:
            copy.drop(index, "duplicate-image-id", f"id {raw.ids[index]}")
        elif file in first:
            copy.drop(index, "duplicate-file", f"id {raw.ids[index]}, merged into id {raw.ids[first[file]]}")
        else:
            (width, height), (real_width, real_height) = raw.sizes[index].tolist(), check.header.size
            if not size_change(split, index, (width, height)):
                copy.drop(index, "wrong-size", f"stated {width} x {height}, is {real_width} x {real_height}")
        if file is not None:
            first.setdefault(file, index)


def drop_leaks(copies: Sequence[SplitCopy]) -> None:
    """Leave images that are in two splits out of the one that is trained on."""
    def position(copy: SplitCopy) -> int:
        return SPLIT_ORDER.index(copy.split.name) if copy.split.name in SPLIT_ORDER else len(SPLIT_ORDER)

    ordered = sorted(copies, key=position)
    for number, copy in enumerate(ordered):
        for other in ordered[number + 1 :]:
            for index, other_index in same_files(copy.split, other.split):
                if other.keep[other_index]:
                    name = quoted(other.split.raw.image_names[other_index])
                    copy.drop(index, "leak", f"also in {other.split.name} as {name}")
