"""How the boxes of a data set fit a detector's levels: ``box_levels`` counts them at several input sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from distill.data.check.box_sizes import BoxSizes
from distill.data.check.level_advice import WARNED_SHARE, Remark, advice, percent
from distill.data.check.level_counts import (
    CELLS_FROM,
    CELLS_TO,
    STRIDES,
    SideCounts,
    check_strides,
    count_levels,
    side_ladder,
)
from distill.data.formats.readers import open_data, silent
from workbench.errors import unknown_name
from workbench.tables import Result
from zoo.images import Resize
from zoo.weights.text import printable

FORMAT = "nas-box-levels-1"
DETECTOR_STRIDES = (8, 16, 32)
SHARED_SHOWN = STRIDES[:2]
"""Strides whose shared cells the table shows; ``to_dict`` has all."""
PLACED = {"stretch": "stretched to", "letterbox-center": "letterboxed in", "letterbox-corner": "letterboxed in"}
"""What a way to resize does to an image, for the heading."""


@dataclass(frozen=True, eq=False)
class BoxLevels(Result):
    """The boxes of one split against the cells of a detector's levels."""

    path: Path
    split: str
    images: int
    empty: int
    """Images without a box."""
    boxes: int
    """Boxes without crowds."""
    most_boxes: int
    """Boxes of the image that has most."""
    input_px: int
    """The input side in pixels that remarks are about."""
    strides: tuple[int, ...]
    """Strides of the detector's levels that remarks are about."""
    resize: Resize
    sides: tuple[SideCounts, ...]
    """Counts at every input side, smallest first."""
    remarks: tuple[Remark, ...]
    sizes: BoxSizes = field(repr=False)

    @property
    def chosen(self) -> SideCounts:
        """The counts at ``input_px``."""
        return next(side for side in self.sides if side.input_px == self.input_px)

    def to_table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """One line an input side, shares in percent of the boxes."""
        header = [
            "input", *(f"<{stride} px" for stride in STRIDES), *(f"for {stride}" for stride in STRIDES), "larger",
            *(f"shared {stride}" for stride in SHARED_SHOWN),
        ]  # fmt: skip
        rows = []
        for side in self.sides:
            below = [f"{self._share(one.shorter_below)} ({self._share(one.longer_below)})" for one in side.levels]
            sized = [self._share(one.sized) for one in side.levels]
            shared = [self._share(side.level(stride).shared) for stride in SHARED_SHOWN]
            mark = " *" if side.input_px == self.input_px else "  "
            rows.append([f"{side.input_px}{mark}", *below, *sized, self._share(side.larger), *shared])
        widths = [max(len(name), *(len(row[at]) for row in rows)) for at, name in enumerate(header)]
        return (
            [name.rjust(width) for name, width in zip(header, widths, strict=True)],
            [[text.rjust(width) for text, width in zip(row, widths, strict=True)] for row in rows],
        )

    def to_records(self) -> list[dict[str, Any]]:
        """One dict for every input side and level: the counts of ``LevelCounts``."""
        return [
            {"input_px": side["input_px"], **level} for side in self.to_dict()["sides"] for level in side["levels"]
        ]

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "format": FORMAT, "path": str(self.path), "split": self.split, "images": self.images, "empty": self.empty,
            "boxes": self.boxes, "most_boxes": self.most_boxes, "input_px": self.input_px,
            "strides": list(self.strides), "resize": self.resize, "sides": [side.to_dict() for side in self.sides],
            "remarks": [remark.to_dict() for remark in self.remarks],
        }  # fmt: skip

    def __str__(self) -> str:
        """The heading, the table with its legend, and the remarks."""
        where = f"{printable(str(self.path))}, split {self.split}"
        images = f"{self.images:,} image{'s' * (self.images != 1)}"
        if not self.boxes:
            return f"{where}: no box in {images}, so the data say nothing about levels and input side"
        cells = ", ".join(f"{level.cells:,}" for level in self.chosen.levels)
        return "\n".join([
            f"{where}: {self.boxes:,} box{'es' * (self.boxes != 1)} in {images} ({self.empty:,} empty), "
            f"{self.boxes / self.images:.1f} an image, at most {self.most_boxes:,}; images are {PLACED[self.resize]} "
            "the input",
            f"cells of an image at {self.input_px} px: {cells} at strides {', '.join(map(str, STRIDES))}",
            "", Result.__str__(self), "", *LEGEND, "", *self._advice(),
        ])  # fmt: skip

    def _advice(self) -> list[str]:
        """The remarks, or that there is none."""
        if self.remarks:
            return [str(remark) for remark in self.remarks]
        levels = ", ".join(map(str, self.strides))
        return [
            f"levels of stride {levels} at {self.input_px} px fit: under {percent(WARNED_SHARE)} % of the boxes are "
            f"below a cell of stride {self.strides[0]} or share one, and stride {self.strides[-1]} has boxes of its size"
        ]

    def _share(self, count: int) -> str:
        return percent(count / self.boxes) if self.boxes else "-"


LEGEND = (
    "All figures are % of the boxes; * is the input side that was asked for.",
    "<8 px: the shorter (longer) side is below one cell of stride 8; shorter: the box cannot have a cell of its own.",
    f"for 8: sized for stride 8, sqrt(width x height) from {CELLS_FROM} to {CELLS_TO} cells; smaller ones are for 4.",
    "shared 8: the center is in the same cell of stride 8 as another box's of the image.",
)


def box_levels(
    path: str | Path,
    input_px: int = 640,
    strides: Sequence[int] = DETECTOR_STRIDES,
    resize: Resize = "stretch",
    split: str = "train",
    log: Callable[[str], None] = silent,
) -> BoxLevels:
    """Count the boxes of a data set below, in and above the cells of a detector's levels.

    Args:
        path: COCO JSON, YOLO text folders or Pascal VOC, as training reads it.
        input_px: Side of the network's input; half to twice as large ones are counted as well.
        strides: Of the detector's levels, consecutive ones of 4, 8, 16 and 32; remarks are about them.
        resize: How the network places images: ``stretch`` (searched detectors), ``letterbox-center`` or
            ``letterbox-corner``.
        split: Which split to count.
        log: Takes lines of progress.
    """
    ladder, levels = side_ladder(input_px), check_strides(strides)
    if resize not in get_args(Resize):
        raise unknown_name("way to resize", resize, get_args(Resize))
    data = open_data(path, split, log)
    sizes = BoxSizes.of(data)
    per_image = sizes.boxes_per_image()
    sides = []
    for side in ladder:
        log(f"{len(sizes):,} boxes counted at {side} px")
        sides.append(count_levels(sizes, side, resize))
    return BoxLevels(
        path=Path(path), split=data.name or split, images=len(data), empty=int((per_image == 0).sum()),
        boxes=len(sizes), most_boxes=int(per_image.max(initial=0)), input_px=input_px, strides=levels, resize=resize,
        sides=tuple(sides), remarks=advice(len(sizes), sides, input_px, levels), sizes=sizes,
    )  # fmt: skip
