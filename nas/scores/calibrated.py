"""``calibrated``: a score fitted to detectors that were really trained, as a sum of a few terms that can be explained.

On VOC, trained from nothing, ``-ln(1 - mAP)`` is taken as a sum of an input term, a width term and a depth term, none of
which may lower it: what is still missing to a perfect detector shrinks by a factor with the input side, with the
channels and with every layer. Definitions, evidence and limits: ``docs/benchmarks/calibrated.md``; the fitted numbers:
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
import yaml

from nas.scores import ScoreResult
from nas.scores.anatomy import Anatomy, skippable, spatial
from search_spaces.graph import Graph
from workbench.errors import BadInput

FILE = Path(__file__).with_name("calibrated.yaml")
FORMAT = "nas-calibrated-1"
TERMS = ("size", "width", "depth")
"""What is summed, each times its coefficient."""


@dataclass(frozen=True)
class Form:
    """What is chosen rather than fitted: where widths are read, and what a narrow layer is worth.

    ``half_width``: channels at which a layer counts half. The others are shares of the width term, finest level first:
    of the widths through which the four coarsest strides are entered, of those that leave the backbone at three, and of
    those at which the three heads begin. Together they are 1.
    """

    half_width: float = 64.0
    passages: tuple[float, ...] = (1 / 24,) * 4
    backbone: tuple[float, ...] = (1 / 15, 1 / 15, 1 / 30)
    heads: tuple[float, ...] = (1 / 3, 1 / 3, 0.0)


@dataclass(frozen=True)
class Terms:
    """One network's terms: ``size`` ln of the input side in pixels, ``width`` weighted mean of ln channels, ``depth``
    layers that a gradient can step over, each counted by its width."""

    size: float
    width: float
    depth: float


@dataclass(frozen=True)
class Calibration:
    """A fitted score. ``left_out``: 5 % and 95 % quantile of truth minus score on families that took no part in the fit;
    ``ranges``: least and greatest value of each term in the evidence."""

    form: Form
    intercept: float
    size: float
    width: float
    depth: float
    left_out: tuple[float, float]
    ranges: Mapping[str, tuple[float, float]]

    def value(self, terms: Terms) -> float:
        """The score, ``-ln(1 - mAP)`` as far as the terms know."""
        return self.intercept + self.size * terms.size + self.width * terms.width + self.depth * terms.depth

    def outside(self, terms: Terms) -> list[str]:
        """Terms outside everything that the fit has seen."""
        return [name for name, (low, high) in self.ranges.items() if not low <= getattr(terms, name) <= high]

    @staticmethod
    def load(path: Path = FILE) -> Calibration:
        """Read a file that ``benchmarks/fit_calibrated.py`` wrote."""
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            raise BadInput(f"{path.name} is not of format {FORMAT!r}: write one with benchmarks/fit_calibrated.py")
        form, numbers = data["form"], data["coefficients"]
        low, high = (float(v) for v in data["left_out"])
        return Calibration(
            Form(float(form["half_width"]), tuple(form["passages"]), tuple(form["backbone"]), tuple(form["heads"])),
            float(numbers["intercept"]), float(numbers["size"]), float(numbers["width"]), float(numbers["depth"]), (low, high),
            {name: (float(least), float(most)) for name, (least, most) in data["ranges"].items()},
        )  # fmt: skip


def calibrated(graph: Graph, input_px: int, weights: tuple[float, ...]) -> ScoreResult:
    """``-ln(1 - mAP)`` as predicted for a deploy-form graph; the level weights are not used.

    Notes: ``map`` with ``map_low`` and ``map_high``, between which 90 % of left-out points lay; the terms; ``outside``,
    the terms that the evidence does not reach. A graph without a head is scored as if its neck kept the backbone's widths.
    """
    fitted = shipped()
    terms = terms_of(graph, input_px, fitted.form)
    value = fitted.value(terms)
    low, high = (as_map(value + shift) for shift in fitted.left_out)
    notes: dict[str, Any] = {"map": as_map(value), "map_low": low, "map_high": high, "outside": fitted.outside(terms)}
    return ScoreResult(value, notes=notes | asdict(terms))


@functools.cache
def shipped() -> Calibration:
    """The numbers beside this module."""
    return Calibration.load()


def as_map(value: float) -> float:
    """The mAP (0 to 1, VOC scale) that a score stands for."""
    return float(np.clip(-math.expm1(-value), 0.0, 1.0))


def in_words(value: float, outside: Sequence[str] = ()) -> str:
    """What a score stands for, in points of mAP, and which of its terms the evidence behind it does not reach."""
    own, low, high = (100 * as_map(value + shift) for shift in (0.0, *shipped().left_out))
    beyond = f"; beyond the evidence: {', '.join(outside)}" if outside else ""
    return f"mAP on VOC, trained from nothing, {own:.1f} (90 % of left-out detectors between {low:.1f} and {high:.1f}){beyond}"


def terms_of(graph: Graph, input_px: int, form: Form) -> Terms:
    """The terms of a scalar graph; ``BadInput`` where no convolution works on the image."""
    anatomy = Anatomy.of(graph, input_px)
    width = width_of(anatomy, form)
    depth = float(layer_weights(anatomy.graph, form.half_width, anatomy.in_backbone).sum())
    return Terms(math.log(anatomy.input_px), width, depth)


def width_of(anatomy: Anatomy, form: Form) -> float:
    """The width term; where there is no head, the backbone's widths stand for its own."""
    seen = anatomy.head_channels or anatomy.backbone_channels
    return sum_log(anatomy.passages, form.passages) + sum_log(anatomy.backbone_channels, form.backbone) + sum_log(seen, form.heads)


def sum_log(channels: tuple[int, ...], shares: tuple[float, ...]) -> float:
    """Weighted sum of ln channels over levels, coarsest last in both."""
    return math.fsum(share * math.log(c) for c, share in zip(channels, shares[len(shares) - len(channels) :], strict=True))


def layer_weights(graph: Graph, half_width: float, mask: np.ndarray | None = None) -> np.ndarray:
    """What each op counts as depth, once: ``[ops]``, or ``[ops, N]`` where the graph stands for N candidates.

    Only convolutions over more than one pixel that a gradient can step over count, each by the narrowest of what it
    reads and writes. Grouped ones mix less: the geometric mean of a group's inputs and all outputs stands for their width.
    """
    counts = skippable(graph, mask) & spatial(graph)
    rows = []
    for op, counted in zip(graph.ops, counts, strict=True):
        if not np.any(counted):
            rows.append(np.zeros(np.shape(counted)))
            continue
        cin, cout = np.asarray(op.cin, dtype=np.float64), np.asarray(op.cout, dtype=np.float64)
        rows.append(np.where(counted, layer_weight(cin, cout, op.g, half_width), 0.0))
    return np.stack(np.broadcast_arrays(*rows))


def layer_weight(cin: Any, cout: Any, groups: Any, half_width: float) -> Any:
    """Between 0 and 1, a half at ``half_width`` channels; a layer is worth most for its cost near there, so that many
    narrow layers are no bargain."""
    narrowest = np.minimum(np.minimum(cin, cout), np.sqrt(cin / groups * cout))
    return narrowest**2 / (narrowest**2 + half_width**2)
