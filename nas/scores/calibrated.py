"""``calibrated``: a score fitted to trained detectors, as a sum of three terms that can be explained.

It predicts ``-ln(1 - mAP)`` on VOC, trained from scratch, as a sum of an input term, a width term and a depth term,
none of which may lower it: the gap to a perfect detector shrinks by a factor with the input side, with the channels and
with every layer. Definitions, evidence and limits: ``docs/benchmarks/calibrated.md``; the fitted numbers:
``calibrated.yaml``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.costs import SpaceCosts
from nas.scores.anatomy import Anatomy, aligned, enters, passage, skippable, spatial
from nas.scores.fitted_rows import FittedRows, layer_ticks
from nas.scores.rows import log_ticks, to_ticks
from nas.scores.score import Score, ScoreResult
from search_spaces.architecture import Head, Neck
from search_spaces.graph import Graph
from search_spaces.ops import Num
from workbench.doors.yaml import read_yaml
from workbench.errors import BadInput

FILE = Path(__file__).with_name("calibrated.yaml")
FORMAT = "nas-calibrated-1"
TERMS = ("size", "width", "depth")
"""The terms of the sum, each times its coefficient."""


@dataclass(frozen=True)
class Form:
    """Hyperparameters, not fitted: where widths are read, and how much a narrow layer counts.

    ``half_width``: channels at which a layer counts half. The others are shares of the width term, finest level first:
    of the widths through which the four coarsest strides are entered, of the widths that leave the backbone at three,
    and of those at which the three heads begin. They sum to 1.
    """

    half_width: float = 64.0
    passages: tuple[float, ...] = (1 / 24,) * 4
    backbone: tuple[float, ...] = (1 / 15, 1 / 15, 1 / 30)
    heads: tuple[float, ...] = (1 / 3, 1 / 3, 0.0)


@dataclass(frozen=True)
class Terms:
    """One network's terms.

    ``size``: ln of the input side in pixels. ``width``: weighted mean of ln channels. ``depth``: layers that a gradient
    can bypass, each weighted by its width.
    """

    size: float
    width: float
    depth: float


@dataclass(frozen=True)
class Calibration:
    """A fitted score.

    ``left_out``: 5 % and 95 % quantile of truth minus score on families left out of the fit. ``ranges``: least and
    greatest value of each term in the evidence.
    """

    form: Form
    intercept: float
    size: float
    width: float
    depth: float
    left_out: tuple[float, float]
    ranges: Mapping[str, tuple[float, float]]

    def value(self, terms: Terms) -> float:
        """The score, predicted ``-ln(1 - mAP)``."""
        return self.intercept + self.size * terms.size + self.width * terms.width + self.depth * terms.depth

    def outside(self, terms: Terms) -> list[str]:
        """Names of the terms outside the range of the evidence."""
        return [name for name, (low, high) in self.ranges.items() if not low <= getattr(terms, name) <= high]

    @staticmethod
    def load(path: Path = FILE) -> Calibration:
        """Read a file that ``benchmarks/fit_calibrated.py`` wrote."""
        data = read_yaml(path, "score file")
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            raise BadInput(f"{path.name} is not of format {FORMAT!r}: write one with benchmarks/fit_calibrated.py")
        form, numbers = data["form"], data["coefficients"]
        low, high = (float(v) for v in data["left_out"])
        shares = (tuple(form[name]) for name in ("passages", "backbone", "heads"))
        return Calibration(
            Form(float(form["half_width"]), *shares),
            **{name: float(numbers[name]) for name in ("intercept", *TERMS)},
            left_out=(low, high),
            ranges={name: (float(least), float(most)) for name, (least, most) in data["ranges"].items()},
        )


def calibrated(graph: Graph, input_px: int) -> ScoreResult:
    """Predicted ``-ln(1 - mAP)`` of a deploy-form graph.

    Notes: ``map`` with ``map_low`` and ``map_high``, between which 90 % of left-out points lay; the terms; ``outside``,
    the terms outside the range of the evidence. A graph without a head is scored as if its neck kept the backbone's
    widths.
    """
    fitted = shipped()
    terms = terms_of(graph, input_px, fitted.form)
    value = fitted.value(terms)
    low, high = (as_map(value + shift) for shift in fitted.left_out)
    notes: dict[str, Any] = {"map": as_map(value), "map_low": low, "map_high": high, "outside": fitted.outside(terms)}
    return ScoreResult(value, notes=notes | asdict(terms))


@functools.cache
def shipped() -> Calibration:
    """The calibration that ships beside this module."""
    return Calibration.load()


def as_map(value: float) -> float:
    """The mAP (0 to 1, VOC scale) that a score stands for."""
    return float(np.clip(-math.expm1(-value), 0.0, 1.0))


def explain(result: ScoreResult) -> str:
    """The score as points of mAP, and which of its terms lie outside the range of the evidence."""
    points, low, high = (100 * as_map(result.value + shift) for shift in (0.0, *shipped().left_out))
    outside = result.notes["outside"]
    beyond = f"; beyond the evidence: {', '.join(outside)}" if outside else ""
    interval = f"90 % of left-out detectors between {low:.1f} and {high:.1f}"
    return f"mAP on VOC, trained from nothing, {points:.1f} ({interval}){beyond}"


def terms_of(graph: Graph, input_px: int, form: Form) -> Terms:
    """The terms of a scalar graph; ``BadInput`` where no convolution works on the image."""
    anatomy = Anatomy.of(graph, input_px)
    width = width_of(anatomy, form)
    depth = float(layer_weights(anatomy.graph, form.half_width, anatomy.in_backbone).sum())
    return Terms(math.log(anatomy.input_px), width, depth)


def width_of(anatomy: Anatomy, form: Form) -> float:
    """The width term; without a head, the backbone's widths take the place of the head's."""
    backbone = anatomy.backbone_channels
    heads = sum_log(anatomy.head_channels or backbone, form.heads)
    return sum_log(anatomy.passages, form.passages) + sum_log(backbone, form.backbone) + heads


def sum_log(channels: tuple[int, ...], shares: tuple[float, ...]) -> float:
    """Weighted sum of ln channels over levels, coarsest last in both."""
    aligned = shares[len(shares) - len(channels) :]
    return math.fsum(share * math.log(c) for c, share in zip(channels, aligned, strict=True))


def layer_weights(graph: Graph, half_width: float, mask: np.ndarray | None = None) -> np.ndarray:
    """Depth that one repetition of each op counts: ``[ops]``, or ``[ops, N]`` where the graph holds N candidates.

    Only convolutions over more than one pixel that a gradient can bypass count, each by its narrowest width. The width
    of a grouped convolution is the geometric mean of a group's inputs and all outputs.
    """
    counts = aligned(skippable(graph, mask), spatial(graph), np.logical_and)
    rows = []
    for op, counted in zip(graph.ops, counts, strict=True):
        if not np.any(counted):
            rows.append(np.zeros(np.shape(counted)))
            continue
        cin, cout = np.asarray(op.cin, dtype=np.float64), np.asarray(op.cout, dtype=np.float64)
        rows.append(np.where(counted, layer_weight(cin, cout, op.g, half_width), 0.0))
    return np.stack(np.broadcast_arrays(*rows))


def layer_weight(cin: Any, cout: Any, groups: Any, half_width: float) -> Any:
    """Weight of a layer, from 0 to 1, one half at ``half_width`` channels.

    Weight for cost is greatest near ``half_width``, so many narrow layers do not pay.
    """
    narrowest = np.minimum(np.minimum(cin, cout), np.sqrt(cin / groups * cout))
    return narrowest**2 / (narrowest**2 + half_width**2)


class CalibratedRows(FittedRows):
    """The fitted score of the whole detector over rows.

    Input, neck and intercept belong to the stem. A stage adds its layers, the width of its entrance where it halves the
    map, and its output width where a level ends.
    """

    name = "calibrated"

    def __init__(self, costs: SpaceCosts) -> None:
        super().__init__(costs)
        self.fitted = shipped()
        form, width = self.fitted.form, self.fitted.width
        open_tail = costs.space.tail is not None
        heads = 0.0 if open_tail else width * sum_log(costs.space.neck.out, form.heads)
        self.constant = self.fitted.intercept + self.fitted.size * math.log(costs.input_px) + heads
        shares = dict(zip(costs.taps, form.backbone, strict=True))
        self.ends = [width * shares.get(index, 0.0) for index in range(len(costs.space.stages))]
        # Strides 4, 8, 16 and 32 are entered where the map is halved.
        self.entrances = self.entrance_weights(width, dict(zip((4, 8, 16, 32), form.passages, strict=True)))

    def stem(self, out: Num) -> Num:
        return np.full(np.shape(out), to_ticks(self.constant), dtype=np.int64)

    def stage(self, index: int, cin: Num, out: Num, btn: Num, k: Num, depth: Num, kind: int = 0) -> Num:
        graph = self.costs.stage_graph(index, cin, out, btn, k, depth, kind)
        layers = layer_ticks(graph, self.fitted.depth * layer_weights(graph, self.fitted.form.half_width))
        widths = [passage(graph, i) for i in range(len(graph)) if enters(graph, i)]
        entrance = log_ticks(self.entrances[index], functools.reduce(np.maximum, widths)) if widths else 0
        return layers + entrance + log_ticks(self.ends[index], out)

    def tail(self, widths: Sequence[Num], neck: Neck, head: Head) -> Num:
        weights = (self.fitted.width * share for share in self.fitted.form.heads)
        return sum(log_ticks(weight, channels) for weight, channels in zip(weights, neck.out, strict=True))


CALIBRATED = Score(
    "calibrated", "-ln(1 - mAP) as fitted to trained detectors: input, width and depth", calibrated, CalibratedRows,
    deployed=True, explain=explain, fitted_terms=TERMS,
)  # fmt: skip
