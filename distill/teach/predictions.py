"""Predictions of a detector in one form for all families: boxes, scores, distributions of box sides."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from distill.teach.align import detached_float32
from zoo.detector import Detector, Raw
from zoo.families.parts.zero_head import ONE_TO_MANY
from zoo.learning.losses import iou_pairwise, to_float32
from zoo.learning.targets import Targets

MIN_TRUE_IOU = 0.5
"""A teacher's box whose IoU with every true box is lower is wrong: nothing is learned from its coordinates."""


@dataclass(frozen=True)
class Predictions:
    """What a detector predicts for a batch, n boxes an image."""

    box_source: Tensor | Callable[[], Tensor]
    """The boxes, or a function that decodes them: not every method needs those of the student."""
    scores: Tensor
    """``[b, n, classes]`` in 0..1."""
    size: tuple[int, int]
    """The input's height and width in pixels."""
    distributions: Tensor | None = None
    """Logits ``[b, n, 4, bins]`` of the distances to left, top, right and bottom; bin k stands for k cells."""
    strides: tuple[int, ...] | None = None
    """Cell sides in pixels, one per level, where every cell has one prediction; else None."""
    offset: float = 0.0
    """Position of the anchor point in its cell, in cells from the corner."""
    quality: Tensor | None = None
    """How good each box is, ``[b, n]`` in 0..1; None where that is unknown."""

    @functools.cached_property
    def boxes(self) -> Tensor:
        """``[b, n, 4]``: x1, y1, x2, y2 in pixels of the detector's own input."""
        return self.box_source if isinstance(self.box_source, Tensor) else self.box_source()

    @property
    def points(self) -> Tensor | None:
        """Anchor points, x and y in pixels ``[n, 2]``; None unless every cell has one prediction."""
        if self.strides is None:
            return None
        levels = []
        for stride in self.strides:
            axes = (torch.arange(side // stride, device=self.scores.device) for side in self.size)
            y, x = torch.meshgrid(*axes, indexing="ij")
            levels.append((torch.stack([x, y], -1).reshape(-1, 2) + self.offset) * stride)
        return torch.cat(levels).to(self.scores.dtype)

    def detached(self) -> Predictions:
        """The same in float32 and without a gradient."""
        distributions = None if self.distributions is None else detached_float32(self.distributions)
        boxes, scores = detached_float32(self.boxes), detached_float32(self.scores)
        return Predictions(boxes, scores, self.size, distributions, self.strides, self.offset, self.quality)

    @torch.no_grad()
    def with_quality(self, targets: Targets, size: tuple[int, int]) -> Predictions:
        """The same with ``quality``: the IoU with the nearest true box, and 0 below ``MIN_TRUE_IOU``.

        ``targets`` are in pixels of an input of ``size``. Even a good teacher predicts small scores in the many cells
        far from any object. Together they outweigh the few cells on an object, and their boxes mean nothing.
        """
        boxes = to_float32(self.boxes)
        ratio = boxes.new_tensor([self.size[1] / size[1], self.size[0] / size[0]] * 2)
        # at least one, which overlaps nothing where there is no object
        true_boxes, _, _ = targets.padded(max(1, targets.most_objects))
        overlap = iou_pairwise(true_boxes.to(boxes) * ratio, boxes).amax(1)
        return dataclasses.replace(self, box_source=self.boxes, quality=overlap * (overlap >= MIN_TRUE_IOU))

    def same_cells(self, other: Predictions) -> bool:
        """Whether prediction i of both belongs to the same cell."""
        return self.strides is not None and self.strides == other.strides and self.size == other.size


def decode_predictions(detector: Detector, raw: Raw, size: tuple[int, int], branch: str | None = None) -> Predictions:
    """Decode the ``raw`` output of ``detector`` for an input of ``size`` (height, width in pixels), in float32.

    ``branch`` selects the branch of a head that has two. The default is the one-to-many branch, which shapes the
    features and whose neighbouring cells agree.
    """
    if branch is None:
        branch = ONE_TO_MANY if ONE_TO_MANY in detector.selections and not detector.fused else detector.branch
    raw_float32 = {name: _nested_float32(value) for name, value in raw.items()}
    device = _device_type(raw_float32)
    with _decoding(detector, branch, device):
        scores, distributions = detector.scores(raw_float32), detector.distributions(raw_float32)

    def boxes() -> Tensor:
        with _decoding(detector, branch, device):
            return detector.boxes(raw_float32, size)

    if detector.anchor_offset is None:
        return Predictions(boxes, scores, size, distributions)
    return Predictions(boxes, scores, size, distributions, tuple(detector.strides), detector.anchor_offset)


@contextmanager
def _decoding(detector: Detector, branch: str, device: str) -> Iterator[None]:
    """``detector`` decodes ``branch`` inside of it, without autocast."""
    before = detector.branch
    detector.choose_branch(branch)
    try:
        with torch.autocast(device, enabled=False):
            yield
    finally:
        detector.choose_branch(before)


def _nested_float32(value: Any) -> Any:
    if isinstance(value, Tensor):
        return to_float32(value) if value.is_floating_point() else value
    return [_nested_float32(item) for item in value] if isinstance(value, (list, tuple)) else value


def _device_type(raw: Raw) -> str:
    first = next(iter(raw.values()))
    return (first if isinstance(first, Tensor) else first[0]).device.type
