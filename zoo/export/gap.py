"""The gap between the outputs of an exported network and those of torch.

Boxes are compared as shares of the input side, scores as they are, so that one tolerance serves both. Rows may change
places: a network that ranks its own rows does so by scores that rounding can swap.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

TIES = 1e-6
"""Scores nearer to each other than this are equal: either may be listed."""
MOST_MATCHED = 1000
"""Largest number of differing rows that are matched to rows in other places; more are compared in place only."""
EXCHANGED = 0.05
"""Share of the rows of a ranking, from the last one up, that rounding may replace by the next best."""


@dataclass(frozen=True, slots=True)
class OutputGap:
    """The largest difference of one output.

    ``absolute`` is in pixels (``boxes``, ``detections``) or score (``scores``). ``relative`` is pixels over the input
    side, or over the coordinate where that is larger, and scores as they are. ``rows`` is the number of rows compared.
    Where the outputs cannot be compared, both are infinite and ``fault`` says why.
    """

    absolute: float
    relative: float
    rows: int
    fault: str = ""

    @staticmethod
    def broken(fault: str) -> OutputGap:
        """The gap of outputs that cannot be compared."""
        return OutputGap(float("inf"), float("inf"), 0, fault)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: None for infinite values."""
        values = dataclasses.asdict(self).items()
        return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values}


def worst(gaps: Sequence[Mapping[str, OutputGap]]) -> dict[str, OutputGap]:
    """The largest gap of every output over several runs, with the rows of all runs and the first fault."""
    largest: dict[str, OutputGap] = {}
    for run in gaps:
        for name, gap in run.items():
            old = largest.get(name, OutputGap(0.0, 0.0, 0))
            largest[name] = OutputGap(
                max(old.absolute, gap.absolute),
                max(old.relative, gap.relative),
                old.rows + gap.rows,
                old.fault or gap.fault,
            )
    return largest


def dense_gaps(
    ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor], side: int, tolerance: float, ranked: bool = False
) -> dict[str, OutputGap]:
    """Gaps of ``boxes`` ``[b, n, 4]`` in pixels and ``scores`` ``[b, n, classes]``, for an input of ``side`` pixels.

    Rows that differ by more than ``tolerance`` are matched to the nearest row among the differing ones, box and scores
    together. With ``ranked``, the n rows are the best of many by the network's own ranking, best first; differing rows
    at its end, which rounding can replace by the next best, are then left out.
    """
    names = ("boxes", "scores")
    faults = {name: _fault(a, b) for name, a, b in zip(names, ours, theirs, strict=True)}
    if any(faults.values()):
        other = "the other output cannot be compared"
        return {name: OutputGap.broken(fault or other) for name, fault in faults.items()}
    batch, n = ours[0].shape[:2]
    tail = round(EXCHANGED * n) if ranked else 0
    absolute, relative = [0.0, 0.0], [0.0, 0.0]
    left_out = 0
    for image in range(batch):
        a, b = ((boxes[image].double(), scores[image].double()) for boxes, scores in (ours, theirs))
        differences, skipped = _image_differences(a, b, side, tolerance, tail)
        left_out += skipped
        for difference in differences:
            if len(difference.absolute):
                for column in range(len(names)):
                    absolute[column] = max(absolute[column], float(difference.absolute[:, column].max()))
                    relative[column] = max(relative[column], float(difference.relative[:, column].max()))
    rows = batch * n - left_out
    return {name: OutputGap(absolute[column], relative[column], rows) for column, name in enumerate(names)}


def rows_gap(
    ours: Tensor,
    theirs: Tensor,
    side: int,
    most: int | None,
    among: tuple[Tensor, Tensor] | None = None,
    slack: float = TIES,
) -> OutputGap:
    """Gap of two lists of detections ``[k, 6]`` (x1, y1, x2, y2, score, label), in any order, cut at ``most`` rows.

    Both must have the same length and the same scores. Every row must have a match of its label in the other list,
    unless its score is within ``slack`` of where a full list was cut. If ``among`` is given, boxes ``[n, 4]`` and
    scores ``[n, classes]`` that the lists were selected from, every row of ``theirs`` must also be one of them.
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
    gap = OutputGap(0.0, float(scores.max()), 0)
    cut = -torch.inf
    if most is not None and len(ours) >= most:
        cut = max(float(ours[:, 4].min()), float(theirs[:, 4].min())) + slack
    for rows, others, owner in ((ours, theirs, "torch"), (theirs, ours, "the file")):
        certain = rows[rows[:, 4] > cut]
        if len(certain) == 0:
            continue
        matched = _match_by_label(certain, others, side, owner)
        if matched.fault:
            return matched
        gap = OutputGap(max(gap.absolute, matched.absolute), max(gap.relative, matched.relative), matched.rows)
    if among is not None:
        source = _source_gap(theirs, among, side)
        gap = OutputGap(max(gap.absolute, source.absolute), max(gap.relative, source.relative), source.rows)
    return gap


@dataclass(frozen=True, slots=True)
class _Differences:
    """Differences of paired rows ``[n, 2]``: of boxes, of scores."""

    absolute: Tensor
    relative: Tensor

    def without(self, places: Tensor) -> _Differences:
        """All rows except those at ``places``."""
        keep = torch.ones(len(self.absolute), dtype=torch.bool)
        keep[places] = False
        return _Differences(self.absolute[keep], self.relative[keep])


def _image_differences(
    a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], side: int, tolerance: float, tail: int
) -> tuple[list[_Differences], int]:
    """Differences of one image's rows, boxes ``[n, 4]`` and scores ``[n, classes]`` each, and how many were left out.

    Rows are compared in place first, then those above the tolerance with their nearest rows; of these, the ones among
    the last ``tail`` rows may be left out.
    """
    n = len(a[0])
    places = torch.arange(n)
    in_place = _differences(a, b, places, places, side)
    above = (in_place.relative.amax(1) > tolerance).nonzero()[:, 0]
    if not 0 < len(above) <= MOST_MATCHED:
        return [in_place], 0
    distance = torch.cdist(_columns(a, above, side), _columns(b, above, side), p=torch.inf)
    matched = (
        _differences(a, b, above, above[distance.argmin(1)], side),
        _differences(a, b, above[distance.argmin(0)], above, side),
    )
    exempt = [(match.relative.amax(1) > tolerance) & (above >= n - tail) for match in matched]
    rest = [match.without(out.nonzero()[:, 0]) for match, out in zip(matched, exempt, strict=True)]
    return [in_place.without(above), *rest], int(exempt[0].sum())


def _match_by_label(rows: Tensor, others: Tensor, side: int, owner: str) -> OutputGap:
    """Gap of every row ``[k, 6]`` to its nearest row of the same label among ``others``."""
    distance = torch.cdist(_scaled(rows[:, :5], side), _scaled(others[:, :5], side), p=torch.inf)
    distance[rows[:, None, 5] != others[None, :, 5]] = torch.inf
    if bool(distance.isinf().all(1).any()):
        alone = rows[distance.isinf().all(1)][0]
        return OutputGap.broken(
            f"a detection of {owner} with label {int(alone[5])} and score {float(alone[4]):.3f} has no match of its "
            "label"
        )
    nearest = others[distance.argmin(1)]
    pixels, share = _box_differences(rows[:, :4], nearest[:, :4], side)
    scores = (rows[:, 4] - nearest[:, 4]).abs()
    return OutputGap(float(pixels.max()), max(float(share.max()), float(scores.max())), len(rows))


def _source_gap(rows: Tensor, among: tuple[Tensor, Tensor], side: int) -> OutputGap:
    """Gap of every detection ``[k, 6]`` to the nearest box and score ``among`` which it was selected."""
    boxes, values = among[0].double(), among[1].double().T[rows[:, 5].long()]
    distance = torch.maximum(
        torch.cdist(rows[:, :4] / side, boxes / side, p=torch.inf), (rows[:, 4:5] - values).abs()
    )
    nearest = distance.argmin(1)
    pixels, share = _box_differences(boxes[nearest], rows[:, :4], side)
    score = (values.gather(1, nearest[:, None])[:, 0] - rows[:, 4]).abs()
    return OutputGap(float(pixels.max()), max(float(share.max()), float(score.max())), len(rows))


def _differences(
    a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], in_a: Tensor, in_b: Tensor, side: int
) -> _Differences:
    """Differences of the rows ``in_a`` of ``a`` and ``in_b`` of ``b``, each boxes and scores."""
    pixels, share = _box_differences(a[0][in_a], b[0][in_b], side)
    scores = (a[1][in_a] - b[1][in_b]).abs().amax(1)
    return _Differences(torch.stack([pixels, scores], 1), torch.stack([share, scores], 1))


def _box_differences(ours: Tensor, theirs: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Largest difference of every pair of boxes ``[n, 4]``: in pixels ``[n]``, and over side or coordinate ``[n]``."""
    pixels = (ours - theirs).abs()
    return pixels.amax(1), (pixels / ours.abs().clamp(min=side)).amax(1)


def _columns(output: tuple[Tensor, Tensor], rows: Tensor, side: int) -> Tensor:
    return torch.cat([output[0][rows] / side, output[1][rows]], 1)


def _scaled(rows: Tensor, side: int) -> Tensor:
    """Boxes and score ``[n, 5]`` with the boxes in input sides."""
    return torch.cat([rows[:, :4] / side, rows[:, 4:]], 1)


def _fault(ours: Tensor, theirs: Tensor) -> str:
    """Why two outputs cannot be compared, or an empty string."""
    if ours.shape != theirs.shape:
        return f"shape {list(theirs.shape)} where torch has {list(ours.shape)}"
    for owner, value in (("torch", ours), ("the file", theirs)):
        bad = int((~value.isfinite()).sum())
        if bad:
            return f"{bad} numbers of {owner} are NaN or infinite"
    return ""


def _wrong_labels(rows: Tensor, classes: int) -> str:
    labels = rows[:, 5]
    wrong = labels[(labels != labels.round()) | (labels < 0) | (labels >= classes)]
    return f"label {float(wrong[0]):g} is none of the {classes} classes" if len(wrong) else ""
