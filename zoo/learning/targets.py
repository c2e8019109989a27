"""What a detector learns from: the true boxes of a batch, and how far training has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Targets:
    """True boxes of a batch, one entry an image; boxes are x1, y1, x2, y2 in pixels of the network's input.

    ``ignored`` are regions (crowds) where a detector is neither taught an object nor background.
    """

    boxes: tuple[Tensor, ...]
    """float32 ``[objects, 4]`` an image, inside the input and wider and higher than 0."""
    labels: tuple[Tensor, ...]
    """int64 ``[objects]`` an image, contiguous class numbers."""
    ignored: tuple[Tensor, ...]
    """float32 ``[regions, 4]`` an image."""

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def objects(self) -> int:
        """Objects of the whole batch."""
        return sum(len(labels) for labels in self.labels)

    def to(self, device: torch.device | str) -> Targets:
        """The same on another device."""
        return Targets(*(tuple(one.to(device, non_blocking=True) for one in column) for column in (self.boxes, self.labels, self.ignored)))

    @property
    def most_objects(self) -> int:
        """Objects of the image that has the most."""
        return max((len(labels) for labels in self.labels), default=0)

    def padded(self, most: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes ``[b, m, 4]``, labels ``[b, m]`` and which of them are there, bool ``[b, m]``; m is ``most``, or the most of any image."""
        most = self.most_objects if most is None else most
        boxes = torch.stack([_lengthened(one, most) for one in self.boxes])
        labels = torch.stack([_lengthened(one, most) for one in self.labels])
        there = torch.stack([torch.arange(most, device=one.device) < len(one) for one in self.labels])
        return boxes, labels, there


def _lengthened(values: Tensor, length: int) -> Tensor:
    return torch.cat([values, values.new_zeros(length - len(values), *values.shape[1:])])


@dataclass(frozen=True, slots=True)
class Phase:
    """How far training has come."""

    progress: float = 0.0
    """Share of all steps that are done, 0 to 1."""
    closing: bool = False
    """Whether these are the last epochs, without strong augmentation."""


def inside(points: Tensor, regions: Tensor) -> Tensor:
    """Which ``points`` ``[n, 2]`` (x, y) lie strictly inside any of ``regions`` ``[m, 4]``, bool ``[n]``."""
    if not len(regions):
        return torch.zeros(len(points), dtype=torch.bool, device=points.device)
    low = points[:, None] - regions[None, :, :2]
    high = regions[None, :, 2:] - points[:, None]
    return (torch.cat([low, high], -1).amin(-1) > 0).any(1)


def total(losses: dict[str, Tensor] | Sequence[Tensor]) -> Tensor:
    """The sum of named losses, which training minimises."""
    values = list(losses.values()) if isinstance(losses, dict) else list(losses)
    return torch.stack([value.reshape(()) for value in values]).sum()
