"""How far an exported network strays from the torch one, on images that look like photographs.

Dense outputs are compared number by number. Lists of detections are compared as sets, because equal scores may change
places: every sure row must have its twin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zoo.detector import Detector
from zoo.images import prepare

TOLERANCE = 1e-3
"""Largest gap over max(1, largest absolute value) that counts as equal: what folding may cost, too."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The largest difference of one output, absolute and over max(1, largest absolute value), and rows compared."""

    absolute: float
    relative: float
    rows: int


def scenes(count: int, height: int, width: int, seed: int = 0) -> list[np.ndarray]:
    """Street-like pictures ``uint8 [height, width, 3]``: sky, ground, shaded boxes and discs, soft light, sensor noise."""
    from PIL import Image, ImageDraw, ImageFilter

    random = np.random.default_rng(seed)
    pictures = []
    for _ in range(count):
        top, bottom = random.integers(90, 240, 3), random.integers(20, 160, 3)
        fade = np.linspace(0, 1, height)[:, None, None]
        canvas = Image.fromarray((top * (1 - fade) + bottom * fade).repeat(width, 1).astype(np.uint8))
        brush = ImageDraw.Draw(canvas)
        for _ in range(int(random.integers(6, 18))):
            w, h = random.integers(max(4, width // 20), max(6, width // 3), 2)
            x, y = int(random.integers(-w // 2, width)), int(random.integers(-h // 2, height))
            colour = tuple(int(v) for v in random.integers(0, 256, 3))
            edge = tuple(v // 2 for v in colour)
            draw = brush.ellipse if random.random() < 0.4 else brush.rectangle
            draw((x, y, x + int(w), y + int(h)), fill=colour, outline=edge, width=max(1, width // 200))
        soft = canvas.filter(ImageFilter.GaussianBlur(float(random.uniform(0.3, 1.5))))
        noisy = np.asarray(soft, dtype=np.float64) + random.normal(0, random.uniform(1, 8), (height, width, 3))
        pictures.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return pictures


def prepared_scenes(detector: Detector, batch: int, height: int, width: int, count: int = 4, seed: int = 0) -> list[Tensor]:
    """``count`` prepared batches ``[batch, 3, height, width]`` of scenes, as the detector wants its images."""
    pictures = scenes(batch * count, height, width, seed)
    return [prepare(pictures[i * batch : (i + 1) * batch], (height, width), detector.preprocess)[0] for i in range(count)]


def dense_gap(ours: Tensor, theirs: Tensor) -> Gap:
    """Gap of two tensors of one shape."""
    if ours.shape != theirs.shape:
        return Gap(float("inf"), float("inf"), 0)
    difference = (ours.double() - theirs.double()).abs()
    absolute = float(difference.nan_to_num(float("inf")).max()) if difference.numel() else 0.0
    return Gap(absolute, absolute / max(1.0, float(ours.abs().max()) if ours.numel() else 1.0), ours.shape[0] * ours.shape[1])


def rows_gap(ours: Tensor, theirs: Tensor, tolerance: float) -> Gap:
    """Gap of two lists of detections ``[n, 6]`` (x1, y1, x2, y2, score, label).

    A row of ours is sure when its score is more than ``tolerance`` above the lowest one listed: below that, either
    side may have cut the list elsewhere. Each sure row is compared with the nearest row of theirs that has its label.
    """
    if len(ours) == 0 or len(theirs) == 0:
        same = len(ours) == len(theirs)
        return Gap(0.0 if same else float("inf"), 0.0 if same else float("inf"), 0)
    cut = max(float(ours[:, 4].min()), float(theirs[:, 4].min())) + tolerance
    sure = ours[ours[:, 4] > cut]
    if len(sure) == 0:
        sure = ours[:1]
    apart = (sure[:, None, :5].double() - theirs[None, :, :5].double()).abs().amax(-1)
    apart[sure[:, None, 5] != theirs[None, :, 5]] = float("inf")
    absolute = float(apart.amin(1).max())
    return Gap(absolute, absolute / max(1.0, float(ours[:, :4].abs().max())), len(sure))


def worst(gaps: Sequence[Mapping[str, Gap]]) -> dict[str, Gap]:
    """The largest gap of every output over several batches, with all rows counted."""
    names = list(gaps[0]) if gaps else []
    return {
        name: Gap(max(g[name].absolute for g in gaps), max(g[name].relative for g in gaps), sum(g[name].rows for g in gaps))
        for name in names
    }


def as_tensors(outputs: list[np.ndarray]) -> list[Tensor]:
    """A runtime's arrays as tensors."""
    return [torch.from_numpy(np.ascontiguousarray(value)) for value in outputs]
