"""``forecast``: COCO AP as fitted to all trained detectors together, as a sum of terms with recipe effects beside it.

It predicts ``-ln(1 - AP)`` on COCO as a sum of an input term, the widths at which strides are entered and heads begin,
depth and attention, none of which may lower it. The sum is that of COCO alone from scratch in a full schedule; a recipe
adds its effect to the forecast and not to the score, since it is the same for all candidates. Definitions, evidence and
limits: ``docs/benchmarks/forecast.md``; the fitted numbers: ``forecast.yaml``, or a file of your own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.costs import SpaceCosts
from nas.scores.anatomy import enters, spatial
from nas.scores.fitted_rows import FittedRows, layer_ticks
from nas.scores.forecast_terms import (
    ENTRIES,
    HEADS,
    TERMS,
    Form,
    attention_layers,
    depth_weights,
    entrance_width,
    level_shares,
    mean_log,
    plain_weights,
    terms_of,
)
from nas.scores.rows import log_ticks, to_ticks
from nas.scores.score import Score, ScoreResult
from search_spaces.architecture import Head, Neck
from search_spaces.graph import Graph
from search_spaces.ops import Num
from workbench.doors.yaml import read_yaml
from workbench.errors import BadInput, unknown_name

FILE = Path(__file__).with_name("forecast.yaml")
FORMAT = "nas-forecast-1"
FILE_ENDINGS = (".yaml", ".yml")
"""Of a score's name that is the file of a fit."""
FULL_EPOCHS = 300
"""Of the recipe whose forecast the score is; with fewer, ``epochs=N`` lowers it."""


@dataclass(frozen=True)
class ForecastFit:
    """A fitted score.

    Args:
        form: What is not fitted.
        intercept: Of the sum.
        coefficients: By name of ``TERMS``, none below 0.
        recipes: Effect on ``-ln(1 - AP)`` by recipe term; ``epochs`` is for every e-fold.
        left_out: 5 % and 95 % quantile of truth minus forecast on groups of families left out of the fit.
        ranges: Least and greatest value of each term in the evidence.
    """

    form: Form
    intercept: float
    coefficients: Mapping[str, float]
    recipes: Mapping[str, float]
    left_out: tuple[float, float]
    ranges: Mapping[str, tuple[float, float]]

    def value(self, terms: Mapping[str, float]) -> float:
        """The score: ``-ln(1 - AP)`` of COCO alone, from scratch, in a full schedule."""
        return self.intercept + math.fsum(self.coefficients[name] * terms[name] for name in TERMS)

    def outside(self, terms: Mapping[str, float]) -> list[str]:
        """Names of the terms outside the range of the evidence."""
        return [name for name, (low, high) in self.ranges.items() if not low <= terms[name] <= high]

    def recipe_effect(self, recipe: str) -> float:
        """What a recipe such as ``objects365,teacher,epochs=72`` adds to ``-ln(1 - AP)``; an empty one adds nothing."""
        total = 0.0
        for part in filter(None, (word.strip() for word in recipe.split(","))):
            name, _, number = part.partition("=")
            if name not in self.recipes:
                raise unknown_name("recipe trait", name, self.recipes)
            if (name == "epochs") != bool(number):
                rule = "epochs needs a number" if name == "epochs" else f"{name} takes no number"
                raise BadInput(f"recipe trait {part!r}: {rule}; write for example objects365,epochs=72")
            total += self.recipes[name] * (_epochs(number) if number else 1.0)
        return total

    def to_dict(self, result: ScoreResult, recipe: str = "") -> dict[str, Any]:
        """JSON-ready: the AP (a fraction) for a recipe with its interval, and what lies beyond the evidence."""
        shift = self.recipe_effect(recipe)
        ap, low, high = (as_ap(result.value + shift + part) for part in (0.0, *self.left_out))
        return {"recipe": recipe, "ap": ap, "ap_low": low, "ap_high": high, "outside": list(result.notes["outside"])}

    @staticmethod
    def load(path: str | Path = FILE) -> ForecastFit:
        """Read a file that ``benchmarks/fit_forecast.py`` wrote."""
        path = Path(path)
        data = read_yaml(path, "score file")
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            raise BadInput(f"{path.name} is not of format {FORMAT!r}: write one with benchmarks/fit_forecast.py")
        try:
            numbers = {name: float(data["coefficients"][name]) for name in ("intercept", *TERMS)}
            low, high = (float(v) for v in data["left_out"])
            form = data["form"]
            return ForecastFit(
                Form(**{name: type(value)(form[name]) for name, value in vars(Form()).items()}),
                numbers.pop("intercept"),
                numbers,
                {str(name): float(effect) for name, effect in data["recipes"].items()},
                (low, high),
                {name: (float(data["ranges"][name][0]), float(data["ranges"][name][1])) for name in TERMS},
            )
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise BadInput(f"{path.name}: a field is missing or no number ({error}): write the file anew") from error


def _epochs(text: str) -> float:
    """ln of the share of a full schedule, at most 0."""
    if not text.isdigit() or int(text) < 1:
        raise BadInput(f"recipe trait epochs={text!r} must be a whole number of at least 1")
    return math.log(min(int(text), FULL_EPOCHS) / FULL_EPOCHS)


def as_ap(value: float) -> float:
    """The AP (0 to 1) that a score stands for."""
    return float(np.clip(-math.expm1(-value), 0.0, 1.0))


@functools.lru_cache(maxsize=8)
def shipped(path: str = str(FILE)) -> ForecastFit:
    """The fit in a file, by default the one that ships beside this module."""
    return ForecastFit.load(path)


def compute(fitted: ForecastFit, graph: Graph, input_px: int) -> ScoreResult:
    """Predicted ``-ln(1 - AP)`` of a deploy-form graph.

    Notes: ``ap`` with ``ap_low`` and ``ap_high``, between which 90 % of left-out trainings lay; the terms; ``outside``,
    the terms outside the range of the evidence; ``gains``, AP points that a change of each term is worth here.
    """
    terms = terms_of(graph, input_px, fitted.form)
    value = fitted.value(terms)
    low, high = (as_ap(value + shift) for shift in fitted.left_out)
    double = math.log(2)
    steps = {
        "all widths doubled": double * (fitted.coefficients["widths"] + fitted.coefficients["heads"]),
        "ten full layers more": 10 * fitted.coefficients["depth"],
    }
    gains = {name: 100 * (as_ap(value + step) - as_ap(value)) for name, step in steps.items()}
    notes: dict[str, Any] = {"ap": as_ap(value), "ap_low": low, "ap_high": high, "outside": fitted.outside(terms)}
    return ScoreResult(value, notes=notes | terms | {"gains": gains})


def sentence(fitted: ForecastFit, result: ScoreResult, recipe: str = "") -> str:
    """The forecast of COCO AP for a recipe, with its interval and what lies beyond the evidence."""
    found = fitted.to_dict(result, recipe)
    points, low, high = (100 * found[name] for name in ("ap", "ap_low", "ap_high"))
    named = recipe or "COCO alone from scratch, full schedule"
    text = f"forecast of COCO AP {points:.1f} ({named}; 90 % of left-out trainings between {low:.1f} and {high:.1f})"
    if gains := result.notes.get("gains"):
        text += "; here " + ", ".join(f"{name} {gain:+.1f}" for name, gain in gains.items())
    beyond = found["outside"]
    return text + (f"; beyond the evidence: {', '.join(beyond)}" if beyond else "")


class ForecastRows(FittedRows):
    """The fitted score of the whole detector over rows.

    Input, heads, intercept and the neck behind the widest levels belong to the stem. A stage adds its layers, the width
    of its entrance where it halves the map, and where a level ends what the neck loses by its width.
    """

    name = "forecast"
    file = str(FILE)
    """Whose numbers; a class of its own is made for every other file."""

    def __init__(self, costs: SpaceCosts) -> None:
        super().__init__(costs)
        space, strides = costs.space, costs.strides[1:]
        self.fitted = shipped(self.file)
        of = self.fitted.coefficients
        open_tail = space.tail is not None
        heads = 0.0 if open_tail else of["heads"] * mean_log(dict(zip(HEADS, space.neck.out, strict=True)), HEADS)
        size = of["size"] * float(self.fitted.form.size(costs.input_px))
        self.widest = [int(max(space.stages[tap].outs)) for tap in costs.taps]
        neck = 0.0 if open_tail else float(self._neck_depth(*self.widest))
        self.by_width = [] if open_tail else [self._by_width(place) for place in range(len(self.widest))]
        self.constant = int(to_ticks(self.fitted.intercept + size + heads + of["depth"] * neck))
        entered = {at for at, stage in zip(strides, space.stages, strict=True) if stage.stride == 2 and at in ENTRIES}
        self.entrances = self.entrance_weights(of["widths"], level_shares(entered, ENTRIES))

    def stem(self, out: Num) -> Num:
        return np.full(np.shape(out), self.constant, dtype=np.int64)

    def stage(self, index: int, cin: Num, out: Num, btn: Num, k: Num, depth: Num, kind: int = 0) -> Num:
        graph = self.costs.stage_graph(index, cin, out, btn, k, depth, kind)
        layers = layer_ticks(graph, self.fitted.coefficients["depth"] * depth_weights(graph, self.fitted.form))
        entering = [entrance_width(graph, i, self.fitted.form) for i in range(len(graph)) if enters(graph, i)]
        entrance: Num = 0
        if entering:
            width = functools.reduce(np.maximum, entering)
            useful = self.fitted.form.useful(width, self.costs.strides[index + 1])
            entrance = log_ticks(self.entrances[index], useful)
        attention = attention_layers(graph) * to_ticks(self.fitted.coefficients["attention"])
        return layers + entrance + attention + self._neck_of(index, out)

    def _neck_of(self, index: int, out: Num) -> Num:
        """Ticks that the neck's layers gain or lose by the output width of a stage that ends a level."""
        if index not in self.costs.taps or not self.by_width:
            return 0
        known, ticks = self.by_width[self.costs.taps.index(index)]
        return ticks[np.searchsorted(known, out)]

    def _by_width(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """The widths that a level can have, and the neck's ticks by them beyond those of the widest levels."""
        known = np.array(sorted(self.costs.space.stages[self.costs.taps[place]].outs), dtype=np.int64)
        # Every layer of the neck has the width of one level, or one of its own: levels add up.
        widths: list[Num] = list(self.widest)
        widths[place] = known
        more = self._neck_depth(*widths) - self._neck_depth(*self.widest)
        return known, np.broadcast_to(to_ticks(self.fitted.coefficients["depth"] * more), known.shape)

    def tail(self, widths: Sequence[Num], neck: Neck, head: Head) -> Num:
        of = self.fitted.coefficients
        shares = level_shares(set(HEADS), HEADS)
        heads = sum(log_ticks(of["heads"] * shares[at], out) for at, out in zip(HEADS, neck.out, strict=True))
        return heads + to_ticks(of["depth"] * self._neck_depth(*widths, neck=neck, head=head))

    def _neck_depth(self, *widths: Num, neck: Neck | None = None, head: Head | None = None) -> np.ndarray:
        """Depth of the neck behind backbone widths by level, each a number or an array; all arrays broadcast."""
        graph, form = self.costs.tail_graph(*widths, neck=neck, head=head), self.fitted.form
        counted = np.asarray(spatial(graph)) & np.array([op.part == "neck" for op in graph.ops])
        weights = form.neck * plain_weights(graph, form)
        repeats = counted * np.array([float(op.count) for op in graph.ops])
        return np.asarray((np.moveaxis(weights, 0, -1) * repeats).sum(axis=-1))


def forecast_score(file: str = str(FILE), name: str = "forecast") -> Score:
    """The score whose numbers lie in ``file``; ``name`` is how it is called."""

    def function(graph: Graph, input_px: int) -> ScoreResult:
        return compute(shipped(file), graph, input_px)

    def explain(result: ScoreResult) -> str:
        return sentence(shipped(file), result)

    rows = ForecastRows if file == str(FILE) else type("ForecastRows", (ForecastRows,), {"file": file})
    doc = "-ln(1 - COCO AP) as fitted to all trained detectors: input, widths, depth and attention"
    return Score(name, doc, function, rows, deployed=True, explain=explain, fitted_terms=TERMS)


FORECAST = forecast_score()


def is_forecast(score: str) -> bool:
    """Whether a score's name means ``forecast`` with shipped numbers or with those of a file."""
    return score == FORECAST.name or score.endswith(FILE_ENDINGS)


def fit_behind(score: str) -> ForecastFit:
    """The fit that a search by this score forecasts with: the file it names, else the shipped one."""
    return shipped(score) if score.endswith(FILE_ENDINGS) else shipped()
