"""How far an exported network strays from the torch one, on pictures that look like photographs.

Boxes are judged in shares of the input side, scores as they are, so that one tolerance serves both. Rows may change
places: a network that ranks its own rows does so by scores that rounding can swap.
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
"""Largest relative gap that counts as equal in FP32, folding included: 0.64 pixels at 640, or 0.001 of a score."""
HALF_TOLERANCE = 2e-2
"""The same for FP16 weights: 12.8 pixels at 640, or 0.02 of a score."""
TIES = 1e-6
"""Scores nearer to each other than this are equal: either may be listed."""
MOST_MATCHED = 1000
"""So many rows that disagree in place are looked for in other places; with more of them, the network is another one."""
EXCHANGED = 0.05
"""Share of the rows that a network picks by itself, from the last one up, that rounding may replace by the next best."""


@dataclass(frozen=True, slots=True)
class OutputGap:
    """The largest difference of one output.

    ``absolute`` is in pixels (``boxes``, ``detections``) or score (``scores``). ``relative`` is the pixels over the
    input side, or over the coordinate where that is larger, and scores as they are. ``rows`` were compared. ``fault``
    says why both are infinite: what could not be compared at all.
    """

    absolute: float
    relative: float
    rows: int
    fault: str = ""

    @staticmethod
    def broken(fault: str) -> OutputGap:
        """The gap of something that cannot be compared."""
        return OutputGap(float("inf"), float("inf"), 0, fault)


def sample_images(count: int, height: int, width: int, seed: int = 0) -> list[np.ndarray]:
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
    pictures = sample_images(batch * count, height, width, seed)
    return [prepare(pictures[i * batch : (i + 1) * batch], (height, width), detector.preprocess)[0] for i in range(count)]


def dense_gaps(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor], side: int, tolerance: float, picked: bool = False) -> dict[str, OutputGap]:
    """Gaps of all ``boxes`` ``[b, n, 4]`` in pixels and ``scores`` ``[b, n, classes]``, for an input of ``side`` pixels.

    Rows that differ by more than ``tolerance`` are looked for in each other's places, box and scores together. With
    ``picked``, the n rows are the best of many by the network's own ranking, in falling order; the last ones, which
    rounding can replace by the next best, are then left out where they differ.
    """
    names = ("boxes", "scores")
    faults = {name: _fault(a, b) for name, a, b in zip(names, ours, theirs, strict=True)}
    if any(faults.values()):
        return {name: OutputGap.broken(fault or "the other output cannot be compared") for name, fault in faults.items()}
    batch, n = ours[0].shape[:2]
    loose = round(EXCHANGED * n) if picked else 0
    worst_of: dict[str, list[float]] = {name: [0.0, 0.0] for name in names}
    left_out = 0
    for image in range(batch):
        a, b = ((boxes[image].double(), scores[image].double()) for boxes, scores in (ours, theirs))
        places = torch.arange(n)
        apart = [_apart(a, b, places, places, side)]
        astray = (apart[0].relative.amax(1) > tolerance).nonzero()[:, 0]
        if 0 < len(astray) <= MOST_MATCHED:
            apart = [apart[0].without(astray)]
            distance = torch.cdist(_columns(a, astray, side), _columns(b, astray, side), p=torch.inf)
            matched = (_apart(a, b, astray, astray[distance.argmin(1)], side), _apart(a, b, astray[distance.argmin(0)], astray, side))
            excused = [(one.relative.amax(1) > tolerance) & (astray >= n - loose) for one in matched]
            left_out += int(excused[0].sum())
            apart += [one.without(out.nonzero()[:, 0]) for one, out in zip(matched, excused, strict=True)]
        for column, name in enumerate(names):
            for one in apart:
                if len(one.absolute):
                    worst_of[name][0] = max(worst_of[name][0], float(one.absolute[:, column].max()))
                    worst_of[name][1] = max(worst_of[name][1], float(one.relative[:, column].max()))
    return {name: OutputGap(absolute, relative, batch * n - left_out) for name, (absolute, relative) in worst_of.items()}


def rows_gap(ours: Tensor, theirs: Tensor, side: int, most: int | None, among: tuple[Tensor, Tensor] | None = None, slack: float = TIES) -> OutputGap:
    """Gap of two lists of detections ``[k, 6]`` (x1, y1, x2, y2, score, label), in any order, cut at ``most`` of them.

    Both must be as long and have the same scores. Every row must have its twin of the same label in the other list,
    unless its score is within ``slack`` of where a full list was cut. ``among``, boxes ``[n, 4]`` and scores
    ``[n, classes]``, is what the lists were selected from: every row of theirs must then be one of them.
    """
    fault = _fault(ours, theirs)
    if len(ours) != len(theirs) and ours.shape[1:] == theirs.shape[1:]:
        fault = f"{len(theirs)} detections where torch has {len(ours)}"
    if not fault and among is not None:
        fault = _wrong_labels(theirs, among[1].shape[1])
    if fault:
        return OutputGap.broken(fault)
    if len(ours) == 0:
        return OutputGap(0.0, 0.0, 0)
    ours, theirs = ours.double(), theirs.double()
    scores = (ours[:, 4].sort().values - theirs[:, 4].sort().values).abs()
    absolute, relative, rows = 0.0, float(scores.max()), 0
    cut = max(float(ours[:, 4].min()), float(theirs[:, 4].min())) + slack if most is not None and len(ours) >= most else -torch.inf
    for some, all_of_them, whose in ((ours, theirs, "torch"), (theirs, ours, "the file")):
        sure = some[some[:, 4] > cut]
        if len(sure) == 0:
            continue
        distance = torch.cdist(_scaled(sure[:, :5], side), _scaled(all_of_them[:, :5], side), p=torch.inf)
        distance[sure[:, None, 5] != all_of_them[None, :, 5]] = torch.inf
        if bool(distance.isinf().all(1).any()):
            alone = sure[distance.isinf().all(1)][0]
            return OutputGap.broken(f"a detection of {whose} with label {int(alone[5])} and score {float(alone[4]):.3f} has no twin of its label")
        pixels, share = _boxes_apart(sure[:, :4], all_of_them[distance.argmin(1), :4], side)
        absolute, relative = max(absolute, float(pixels.max())), max(relative, float(share.max()))
        relative = max(relative, float((sure[:, 4] - all_of_them[distance.argmin(1), 4]).abs().max()))
        rows = len(sure)
    if among is not None:
        boxes, values = among[0].double(), among[1].double().T[theirs[:, 5].long()]
        distance = torch.maximum(torch.cdist(theirs[:, :4] / side, boxes / side, p=torch.inf), (theirs[:, 4:5] - values).abs())
        nearest = distance.argmin(1)
        pixels, share = _boxes_apart(boxes[nearest], theirs[:, :4], side)
        score = (values.gather(1, nearest[:, None])[:, 0] - theirs[:, 4]).abs()
        absolute, relative, rows = max(absolute, float(pixels.max())), max(relative, float(share.max()), float(score.max())), len(theirs)
    return OutputGap(absolute, relative, rows)


def worst(gaps: Sequence[Mapping[str, OutputGap]]) -> dict[str, OutputGap]:
    """The largest gap of every output over several runs, with all rows counted and the first fault kept."""
    found: dict[str, OutputGap] = {}
    for one in gaps:
        for name, gap in one.items():
            old = found.get(name, OutputGap(0.0, 0.0, 0))
            found[name] = OutputGap(max(old.absolute, gap.absolute), max(old.relative, gap.relative), old.rows + gap.rows, old.fault or gap.fault)
    return found


@dataclass(frozen=True, slots=True)
class _Apart:
    """Differences of paired rows ``[n, 2]``: of boxes, of scores."""

    absolute: Tensor
    relative: Tensor

    def without(self, places: Tensor) -> _Apart:
        """All rows but those at ``places``."""
        kept = torch.ones(len(self.absolute), dtype=torch.bool)
        kept[places] = False
        return _Apart(self.absolute[kept], self.relative[kept])


def _apart(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], in_a: Tensor, in_b: Tensor, side: int) -> _Apart:
    """Differences of the rows ``in_a`` of ``a`` and ``in_b`` of ``b``, each boxes ``[n, 4]`` and scores ``[n, classes]``."""
    pixels, share = _boxes_apart(a[0][in_a], b[0][in_b], side)
    scores = (a[1][in_a] - b[1][in_b]).abs().amax(1)
    return _Apart(torch.stack([pixels, scores], 1), torch.stack([share, scores], 1))


def _boxes_apart(ours: Tensor, theirs: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Largest difference of every pair of boxes ``[n, 4]``: pixels ``[n]``, and those over the side or the coordinate ``[n]``."""
    pixels = (ours - theirs).abs()
    return pixels.amax(1), (pixels / ours.abs().clamp(min=side)).amax(1)


def _columns(of: tuple[Tensor, Tensor], rows: Tensor, side: int) -> Tensor:
    return torch.cat([of[0][rows] / side, of[1][rows]], 1)


def _scaled(rows: Tensor, side: int) -> Tensor:
    """Boxes and score ``[n, 5]`` with the boxes in input sides."""
    return torch.cat([rows[:, :4] / side, rows[:, 4:]], 1)


def _fault(ours: Tensor, theirs: Tensor) -> str:
    """Why two outputs cannot be compared, or nothing."""
    if ours.shape != theirs.shape:
        return f"shape {list(theirs.shape)} where torch has {list(ours.shape)}"
    for whose, value in (("torch", ours), ("the file", theirs)):
        bad = int((~value.isfinite()).sum())
        if bad:
            return f"{bad} numbers of {whose} are NaN or infinite"
    return ""


def _wrong_labels(rows: Tensor, classes: int) -> str:
    labels = rows[:, 5]
    wrong = labels[(labels != labels.round()) | (labels < 0) | (labels >= classes)]
    return f"label {float(wrong[0]):g} is none of the {classes} classes" if len(wrong) else ""
