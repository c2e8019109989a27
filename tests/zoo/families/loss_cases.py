"""Batches that losses were compared on with the official code: the same numbers on every machine."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tests.zoo.families.loss_checks import targets_of
from zoo.learning.targets import Targets

SIZE = (96, 128)
"""Height and width of the inputs in pixels."""
CLASSES = 5


def example() -> Targets:
    """Four objects, two of them nearly on top of one another and one of 7 x 6 pixels; none; two."""
    first = [[10, 12, 50, 60, 0], [14, 15, 52, 64, 3], [70, 30, 77, 36, 1], [20, 5, 120, 90, 4]]
    return targets_of(first, [], [[60.5, 40.25, 100, 80, 2], [3, 50, 30, 95, 2]])


def maps(seed: int, images: int, channels: int, scale: float, size: tuple[int, int] = SIZE) -> list[Tensor]:
    """Normal random maps ``[images, channels, h / stride, w / stride]`` of strides 8, 16, 32."""
    random = np.random.RandomState(seed)
    shapes = [(images, channels, size[0] // stride, size[1] // stride) for stride in (8, 16, 32)]
    return [torch.from_numpy(random.standard_normal(shape).astype(np.float32) * np.float32(scale)) for shape in shapes]


def random_targets(
    seed: int, images: int, classes: int, size: tuple[int, int], most: int = 6, least: int = 0
) -> Targets:
    """``least`` to ``most`` boxes an image, of any place and size inside it."""
    random = np.random.RandomState(seed)
    rows = []
    for _ in range(images):
        count = random.randint(least, most + 1)
        ends = random.uniform(0, 1, (count, 2, 2)) * (size[1] - 4, size[0] - 4)
        labels = random.randint(0, classes, (count, 1))
        rows.append(np.concatenate([ends.min(1), ends.max(1) + 4, labels], 1).tolist())
    return targets_of(*rows)


def zero_head_maps(seed: int, images: int, reg_max: int, size: tuple[int, int] = SIZE) -> dict[str, list[Tensor]]:
    """Raw maps of a ZeroHead, boxes of some 3 cells to each side."""
    ramp = -0.3 * torch.arange(reg_max + 1.0).repeat(4)[:, None, None]
    boxes = [level + ramp for level in maps(seed, images, 4 * (reg_max + 1), 2.0, size)]
    return {"boxes": boxes, "classes": [level - 2 for level in maps(seed + 1, images, CLASSES, 1.5, size)]}


def yolox_maps(seed: int, images: int, size: tuple[int, int] = SIZE) -> dict[str, list[Tensor]]:
    """Raw maps of a YOLOX head, boxes of some 3 cells."""
    shift = torch.tensor([0.5, 0.5, 1.0, 1.0])[:, None, None]
    boxes = [level + shift for level in maps(seed, images, 4, 0.6, size)]
    objectness = [level - 1 for level in maps(seed + 1, images, 1, 1.5, size)]
    return {
        "boxes": boxes,
        "objectness": objectness,
        "classes": [level - 1 for level in maps(seed + 2, images, CLASSES, 1.5, size)],
    }
