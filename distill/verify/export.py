"""Export as a test: the exported file against torch on real images, and the repair of what FP16 breaks.

Torch and the file, run by its own runtime, see the same prepared pictures. Their AP and the gap between their numbers
decide whether the file drifts. If it does, the layers that need FP32 are searched for, the file is written anew with
these in FP32, and judged again.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill.data.dataset import DataSet
from distill.data.feed.cache import Pictures
from distill.train.detect import check_classes, coco_results
from distill.train.evaluate import EvaluationResult, evaluate_detections
from distill.verify.minimal_subset import minimal_subset
from workbench.errors import BadInput
from zoo.detector import Detector
from zoo.export.divergence import first_divergence
from zoo.export.gap import OutputGap, prepared_scenes, worst
from zoo.export.write import PICTURES, Exported, Options, Runner, Trials, batch_gaps, export, open_file, plain_gap
from zoo.images import Placement, prepare
from zoo.nms import Detections, select

AP_TOLERANCE, HALF_AP_TOLERANCE = 0.001, 0.005
"""Largest change of AP that passes, with FP32 and with FP16 weights."""
TRIAL_PICTURES = 8
"""So many pictures a trial of the search looks at: those on which the file strayed most."""
MOST_TRIALS = 96

Say = Callable[[str], None]


def silent(text: str) -> None:
    """Says nothing."""


@dataclass(frozen=True, slots=True)
class PredictionComparison:
    """Torch and a file on the same pictures."""

    images: int
    torch: EvaluationResult
    file: EvaluationResult
    gaps: Mapping[str, OutputGap]
    """The largest gap of every output on these pictures."""
    hardest: tuple[int, ...]
    """Places of the pictures in the data, those with the largest gap first."""

    @property
    def widest(self) -> float:
        """The largest relative gap of all outputs; infinite where one cannot be compared."""
        return _widest(self.gaps)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; a gap that is no number is None beside its fault."""
        return {
            "ap": {"torch": self.torch.summary["ap"], "file": self.file.summary["ap"]},
            "ap50": {"torch": self.torch.summary["ap50"], "file": self.file.summary["ap50"]},
            "gaps": {name: plain_gap(gap) for name, gap in self.gaps.items()},
        }


@dataclass(frozen=True, slots=True)
class Check:
    """One file judged."""

    written: Exported
    compared: PredictionComparison
    ap_tolerance: float

    @property
    def ap_tells(self) -> bool:
        """Whether torch's own AP is large enough for a loss to be seen: an untrained detector has none to lose."""
        ap = self.compared.torch.summary["ap"]
        return ap is not None and ap > self.ap_tolerance

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the file drifts; empty where it does not."""
        found: list[str] = []
        before, after = self.compared.torch.summary["ap"], self.compared.file.summary["ap"]
        if before is not None and after is not None and abs(after - before) > self.ap_tolerance:
            found.append(f"AP went from {before:.4f} to {after:.4f}, and a change up to {self.ap_tolerance:g} is allowed")
        # Where AP tells, a single box that strays is its affair; numbers that are none never are.
        limit = math.inf if self.ap_tells else self.written.tolerance
        found += _too_wide(self.compared.gaps, limit, "on these images")
        return (*found, *_too_wide(self.written.gaps, self.written.tolerance, "on drawn scenes"))


@dataclass(frozen=True, slots=True)
class Verified:
    """An exported file with its verdict."""

    check: Check
    """Of the file as it stands now."""
    first: Check
    """Of the file before any repair; the same where there was none."""
    repaired: tuple[str, ...] = ()
    """Layers that were put into FP32."""
    trials: int = 0
    note: str = ""
    """Why nothing was repaired, where the file drifted."""

    @property
    def drifts(self) -> bool:
        """Whether the file is not to be trusted."""
        return bool(self.check.reasons)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "images": self.check.compared.images, **self.check.compared.to_dict(), "ap_tolerance": self.check.ap_tolerance, "ap_tells": self.check.ap_tells,
            "repaired": list(self.repaired), "trials": self.trials, "before_repair": self.first.compared.to_dict() if self.repaired else None,
            "note": self.note, "reasons": list(self.check.reasons), "drifts": self.drifts,
        }  # fmt: skip


def export_verified(
    detector: Detector, path: str | Path, kind: str, options: Options, data: DataSet, ap_tolerance: float | None = None, log: Say = silent
) -> Verified:
    """Write ``detector`` as ``zoo.export.write.export`` does, judge the file on ``data``, and repair it once if it drifts.

    The file stays as it was judged last. ``ap_tolerance`` None takes what the precision of the weights deserves.
    """
    check_classes(detector, data)
    if not len(data):
        raise BadInput(f"split {data.name!r} of {data.root} has no pictures: there is nothing to verify on")
    allowed = (HALF_AP_TOLERANCE if options.half else AP_TOLERANCE) if ap_tolerance is None else ap_tolerance
    if not 0 <= allowed < math.inf:
        raise BadInput(f"AP tolerance {allowed} must be a number from 0 up, such as {AP_TOLERANCE:g}")
    first = check_file(detector, export(detector, path, kind, options, log), kind, options, data, allowed, log)
    if not first.reasons:
        return Verified(first, first)
    if not options.half:
        note = "all layers of this file are in FP32 already, so there is none to put into a higher precision"
        return Verified(first, first, note=note + _where(detector, first, kind, options, data))
    search = LayerSearch(detector, kind, options, data, first, log)
    found = search.culprits()
    if not found:
        return Verified(first, first, trials=search.trials, note=search.note + _where(detector, first, kind, options, data))
    log(f"writing anew with {len(found)} of {len(search.layers)} layers in FP32")
    better = dataclasses.replace(options, keep=(*options.keep, *found))
    check = check_file(detector, export(detector, path, kind, better, log), kind, better, data, allowed, log)
    return Verified(check, first, found, search.trials)


def check_file(detector: Detector, written: Exported, kind: str, options: Options, data: DataSet, ap_tolerance: float, log: Say = silent) -> Check:
    """Judge a file that ``export`` wrote with these options."""
    return Check(written, compare(detector, open_file(written.path, kind, options), options, data, log), ap_tolerance)


def _where(detector: Detector, check: Check, kind: str, options: Options, data: DataSet) -> str:
    """In which layer a file that nothing mends leaves torch, as the end of a sentence; empty where the format does not show it."""
    if kind != "onnx":
        return ""
    batch = next(_batches(detector, data, check.compared.hardest[: options.batch], options))
    layer = first_divergence(detector, check.written.path, batch.image, check.written.tolerance)
    return f"; the first layer that strays is {layer}" if layer else "; its layers agree with torch, so it begins behind them, in decoding or selection"


def compare(detector: Detector, runner: Runner, options: Options, data: DataSet, log: Say = silent) -> PredictionComparison:
    """Torch and an exported network on every picture of ``data``, at the size in ``options``."""
    detector.eval().cpu()
    before: list[dict[str, Any]] = []
    after: list[dict[str, Any]] = []
    gaps: list[dict[str, OutputGap]] = []
    strayed: list[tuple[float, int]] = []
    for batch in _batches(detector, data, range(len(data)), options):
        decoded, given = _decoded(detector, batch.image), runner(batch.image)
        gaps.append(batch_gaps(detector, decoded, given, max(options.height, options.width), options))
        strayed += [(_widest(gaps[-1]), index) for index in batch.indices]
        ours, theirs = _rows(select(*decoded, detector.selection)), _given_rows(detector, given, options)
        for at, (place, index) in enumerate(zip(batch.placements, batch.indices, strict=True)):
            for rows, results in ((ours, before), (theirs, after)):
                if at < len(rows):
                    results += coco_results(_in_image(rows[at], place, detector.classes), data.pictures[index], data)
        log(f"torch and the file on {batch.indices[-1] + 1} of {len(data)} images")
    strayed.sort(key=lambda one: (-one[0], one[1]))
    return PredictionComparison(len(data), evaluate_detections(data, before), evaluate_detections(data, after), worst(gaps), tuple(index for _, index in strayed))


class LayerSearch:
    """Which layers must be in FP32 for the gap to close, tried on the pictures on which it is widest."""

    def __init__(self, detector: Detector, kind: str, options: Options, data: DataSet, first: Check, log: Say) -> None:
        self._detector, self._options, self._say = detector, options, log
        log("tracing for the search")
        self._trials = Trials(detector, kind, options)
        self.layers = self._trials.layers
        images = [batch.image for batch in _batches(detector, data, sorted(first.compared.hardest[:TRIAL_PICTURES]), options)]
        if not first.written.faithful:
            images += prepared_scenes(detector, options.batch, options.height, options.width, math.ceil(PICTURES / options.batch))
        self._strayed = max(_widest(first.written.gaps), first.compared.widest)
        self._cases = [(image, _decoded(detector, image)) for image in images]
        self.trials = 0
        self.note = ""

    def culprits(self) -> tuple[str, ...]:
        """As few layers as close the gap; none, with the reason in ``note``, where no layer does."""
        widest = self._gap(())
        if widest <= self._options.allowed < self._strayed:
            self.note = f"the same network written afresh strays by no more than {widest:.1e}: was the file changed after it was written?"
            return ()
        least = self._gap(self.layers)
        # Where the gap was in order and AP was not, the gap must shrink, whatever it was.
        goal = self._options.allowed if widest > self._options.allowed else widest / 2
        if not least <= goal or least == widest:
            self.note = f"with every layer in FP32 the gap is still {least:.1e} (with none, {widest:.1e}): more precision does not mend it"
            return ()
        return minimal_subset(self.layers, lambda kept: self._gap(kept) <= goal, MOST_TRIALS)

    def _gap(self, kept: Sequence[str]) -> float:
        """The widest gap with the layers ``kept`` in FP32."""
        runner = self._trials.runner((*self._options.keep, *kept))
        gap = max(_widest(batch_gaps(self._detector, decoded, runner(image), max(image.shape[-2:]), self._options)) for image, decoded in self._cases)
        self.trials += 1
        self._say(f"trial {self.trials} of at most {MOST_TRIALS + 2}: {len(kept)} of {len(self.layers)} layers in FP32, gap {gap:.1e}")
        return gap


@dataclass(frozen=True, slots=True)
class _Batch:
    """Prepared pictures ``image [b, 3, h, w]``; the last ones may only fill up, and have no index."""

    image: Tensor
    placements: tuple[Placement, ...]
    indices: tuple[int, ...]


def _batches(detector: Detector, data: DataSet, indices: Sequence[int], options: Options) -> Iterator[_Batch]:
    """Pictures as ``nas eval`` prepares them, in batches of the size that the file takes."""
    pictures = Pictures(data, max(options.height, options.width), detector.preprocess, cache_bytes=0)
    for start in range(0, len(indices), options.batch):
        some = tuple(indices[start : start + options.batch])
        image, places = prepare([pictures.original(index) for index in some], (options.height, options.width), detector.preprocess)
        fill = image[-1:].expand(options.batch - len(some), -1, -1, -1)
        yield _Batch(torch.cat([image, fill]), tuple(places), some)


@torch.no_grad()
def _decoded(detector: Detector, image: Tensor) -> tuple[Tensor, Tensor]:
    return detector.decode(detector(image), (image.shape[-2], image.shape[-1]))


def _rows(found: Sequence[Detections]) -> list[Tensor]:
    """Detections of every image as ``[k, 6]``: x1, y1, x2, y2, score, label."""
    return [torch.cat([one.boxes, one.scores[:, None], one.labels[:, None].to(one.boxes)], 1) for one in found]


def _given_rows(detector: Detector, given: Mapping[str, Tensor], options: Options) -> list[Tensor]:
    """What a file found in every image, ``[k, 6]``: selected by us from its boxes and scores, or by itself."""
    if options.form == "decoded":
        boxes, scores = given["boxes"], given["scores"]
        return _rows(select(boxes, scores, detector.selection)) if boxes.shape[:2] == scores.shape[:2] else []
    # An NMS-free file gives its best rows whatever their scores are.
    return [rows[rows[:, 4] > detector.selection.score_threshold] for rows in given["detections"]]


def _in_image(rows: Tensor, place: Placement, classes: int) -> Detections:
    """Rows ``[k, 6]`` in pixels of the image, best first. What is no detection at all is left out; the gap tells of it."""
    sound = rows.isfinite().all(1) & (rows[:, 5] == rows[:, 5].round()) & (rows[:, 5] >= 0) & (rows[:, 5] < classes)
    rows = rows[sound]
    rows = rows[rows[:, 4].sort(descending=True, stable=True).indices]
    return Detections(place.to_image(rows[:, :4]), rows[:, 4], rows[:, 5].long())


def _widest(gaps: Mapping[str, OutputGap]) -> float:
    return max((gap.relative for gap in gaps.values()), default=math.inf)


def _too_wide(gaps: Mapping[str, OutputGap], tolerance: float, where: str) -> list[str]:
    found = []
    for name, gap in gaps.items():
        if gap.fault:
            text = f"{name} {where}: {gap.fault}"
        elif not gap.relative <= tolerance:
            text = f"{name} {where} stray by {gap.relative:.1e}, and {tolerance:g} is allowed"
        else:
            continue
        found.append(text)
    if not any(gap.rows for gap in gaps.values()) and not found:
        found.append(f"nothing could be compared {where}")
    return found
