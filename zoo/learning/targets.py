"""Ground truth of a batch, and the progress of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Targets:
    """Ground truth of a batch, one entry an image; boxes are x1, y1, x2, y2 in pixels of the network's input.

    ``ignored`` are regions (crowds) that count neither as object nor as background.
    """

    boxes: tuple[Tensor, ...]
    """float32 ``[objects, 4]`` an image, inside the input, of positive width and height."""
    labels: tuple[Tensor, ...]
    """int64 ``[objects]`` an image, contiguous class numbers."""
    ignored: tuple[Tensor, ...]
    """float32 ``[regions, 4]`` an image."""

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def objects(self) -> int:
        """Number of objects in the batch."""
        return sum(len(labels) for labels in self.labels)

    def to(self, device: torch.device | str) -> Targets:
        """The same on another device."""
        columns = (self.boxes, self.labels, self.ignored)
        return Targets(*(tuple(tensor.to(device, non_blocking=True) for tensor in column) for column in columns))

    @property
    def most_objects(self) -> int:
        """Largest number of objects in an image."""
        return max((len(labels) for labels in self.labels), default=0)

    def padded(self, length: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes ``[b, m, 4]``, labels ``[b, m]`` and a mask of the valid ones, bool ``[b, m]``.

        m is ``length``, by default ``most_objects``.
        """
        m = self.most_objects if length is None else length
        boxes = torch.stack([_padded(rows, m) for rows in self.boxes])
        labels = torch.stack([_padded(rows, m) for rows in self.labels])
        valid = torch.stack([torch.arange(m, device=rows.device) < len(rows) for rows in self.labels])
        return boxes, labels, valid


def _padded(values: Tensor, length: int) -> Tensor:
    """``values`` ``[n, ...]`` with zeros up to ``[length, ...]``."""
    return torch.cat([values, values.new_zeros(length - len(values), *values.shape[1:])])


@dataclass(frozen=True, slots=True)
class Phase:
    """The progress of training."""

    progress: float = 0.0
    """Share of all steps done, 0 to 1."""
    closing: bool = False
    """Whether these are the last epochs, without strong augmentation."""
    by_epoch: float | None = None
    """Progress from the first epoch (0) to the last (1), constant within one, where loss weights follow the epochs;
    None where they follow ``progress``."""


def inside(points: Tensor, regions: Tensor) -> Tensor:
    """Which ``points`` ``[n, 2]`` (x, y) lie strictly inside any of ``regions`` ``[m, 4]``, bool ``[n]``."""
    if not len(regions):
        return torch.zeros(len(points), dtype=torch.bool, device=points.device)
    low = points[:, None] - regions[None, :, :2]
    high = regions[None, :, 2:] - points[:, None]
    return (torch.cat([low, high], -1).amin(-1) > 0).any(1)


def total(losses: dict[str, Tensor] | Sequence[Tensor]) -> Tensor:
    """The sum of named losses, which training minimizes."""
    values = list(losses.values()) if isinstance(losses, dict) else list(losses)
    return torch.stack([value.reshape(()) for value in values]).sum()
