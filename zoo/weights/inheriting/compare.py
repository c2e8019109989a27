"""How far the outputs of two detectors are apart, on a few fixed images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from zoo.detector import Detector, Raw
from zoo.images import Preprocess

PICTURES, PX, GRID = 2, 128, 8
"""Number of pictures, their side in pixels, and the cells along it that have a color of their own."""
RAW, DECODED = "raw outputs", "boxes and scores"


@torch.no_grad()
def output_change(target: Detector, source: Detector) -> tuple[float | None, str]:
    """Relative distance of the outputs (norm of the difference over the source's norm), and which outputs these are.

    The raw outputs where their names and shapes agree. Else the larger distance of boxes and of the scores of common
    classes; None where the detectors do not give equally many boxes.
    """
    modes = [(part, part.training) for part in (target, source)]
    try:
        images = [_pictures(part.eval().preprocess) for part in (target, source)]
        raws = [part(image) for part, image in zip((target, source), images, strict=True)]
        ours, theirs = (_tensors(raw) for raw in raws)
        same_classes = target.info.class_names == source.info.class_names
        if same_classes and [(n, x.shape) for n, x in ours] == [(n, x.shape) for n, x in theirs]:
            return _distance([x for _, x in ours], [x for _, x in theirs]), RAW
        decoded = [part.decode(raw, (PX, PX)) for part, raw in zip((target, source), raws, strict=True)]
    finally:
        for part, training in modes:
            part.train(training)
    (boxes, scores), (source_boxes, source_scores) = decoded
    if boxes.shape != source_boxes.shape:
        return None, DECODED
    known = {name: i for i, name in enumerate(source.info.class_names)}
    common = [(i, known[name]) for i, name in enumerate(target.info.class_names) if name in known]
    change = _distance([boxes], [source_boxes])
    if common:
        columns, source_columns = zip(*common, strict=True)
        change = max(change, _distance([scores[..., list(columns)]], [source_scores[..., list(source_columns)]]))
    return change, DECODED


def _pictures(preprocess: Preprocess) -> Tensor:
    """``[n, 3, h, w]``: smooth color fields, the same for every call, as the detector's input."""
    coarse = np.random.default_rng(0).uniform(0, 255, (PICTURES, 3, GRID, GRID))
    smooth = torch.nn.functional.interpolate(
        torch.from_numpy(coarse).float(), (PX, PX), mode="bilinear", align_corners=False
    )
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (preprocess.mean, preprocess.std))
    return (smooth * preprocess.scale - mean) / std


def _tensors(raw: Raw) -> list[tuple[str, Tensor]]:
    """Names and tensors of a raw output, level by level."""
    found = []
    for name, value in raw.items():
        levels = value if isinstance(value, (list, tuple)) else [value]
        found += [(f"{name}.{i}", level) for i, level in enumerate(levels)]
    return found


def _distance(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    a, b = (torch.cat([x.double().flatten() for x in tensors]) for tensors in (ours, theirs))
    return float((a - b).norm() / b.norm().clamp(min=torch.finfo(torch.float64).tiny))
