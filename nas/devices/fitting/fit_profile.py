"""Fit a profile to measurements, with its error on families or ops that were left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nas.devices.fit import ELEMENT_BYTES, Problem, Setting, fit_model, left_out, networks_problem
from nas.devices.fitting.errors import MeasuredPrediction, error_summary, network_prediction, op_predictions
from nas.devices.fitting.flops_line import flops_line
from nas.devices.measured.measurement import NOT_STATED
from nas.devices.measured.networks import MeasuredNetwork
from nas.devices.measured.op_table import select_rows
from nas.devices.measured.ops import MeasuredOps, read_ops
from nas.devices.measured.read import Paths, read_points, the_op_table
from nas.devices.measured.selection import Selection
from nas.devices.model import LatencyModel
from nas.devices.profile import DeviceProfile
from nas.kendall import kendall
from workbench.errors import BadInput

RESOLUTION_US = 0.1
"""One tick: far below what a timer can tell apart."""
HELD_OUT = 0.2
"""Share of a table's ops that are held out at random, and of its channel counts that are held out whole."""
MOST_OPS = 10_000
"""Most rows of a table of ops in one fit, sampled at random; more do not change three dozen coefficients."""
SEED = 0
DEFAULT_PRECISION = "FP16"


@dataclass(frozen=True)
class ProfileDescription:
    """What a profile says of its device besides the fit; ``command`` made it."""

    name: str
    hardware: str = NOT_STATED
    runtime: str = NOT_STATED
    precision: str = ""
    """One of ``ELEMENT_BYTES``; empty takes that of the measurements, or FP16."""
    batch: int = 1
    command: str = ""

    def completed(self, points: Sequence[MeasuredNetwork]) -> ProfileDescription:
        """The description with what it does not state taken from the measurements."""
        first = points[0]
        return replace(
            self,
            hardware=first.device or self.hardware if self.hardware == NOT_STATED else self.hardware,
            runtime=first.runtime or self.runtime if self.runtime == NOT_STATED else self.runtime,
            precision=self.precision or plain_precision(first.precision) or DEFAULT_PRECISION,
        )


@dataclass(frozen=True)
class _Fit:
    """A fitted model, what it was fitted to, its errors and its predictions."""

    model: LatencyModel
    fixed_ms: float
    points: int
    fitted_on: str
    error: dict[str, Any]
    predictions: list[MeasuredPrediction]


def fit_profile(
    data: Paths,
    description: ProfileDescription,
    column: str | None = None,
    family_from: str | None = None,
    kind: str = "gpu",
    activations: str = "",
    select: Selection | None = None,
) -> tuple[DeviceProfile, list[MeasuredPrediction]]:
    """Fit a profile to measured networks or to a table of ops; the profile with its error, and all predictions.

    Networks are predicted by the fit to the other families, ops by the fit to the other 80 %. ``kind`` and
    ``activations`` are those of ``nas.devices.fit.Setting``.
    """
    table = the_op_table(data)
    if table is not None:
        description = replace(description, precision=description.precision or DEFAULT_PRECISION)
        fit = _fit_ops(table, Setting(kind, description.precision, activations, fixed_time=False))
    else:
        text, networks = read_points(data, column, family_from, select)
        description = description.completed(networks)
        text = f"column {text}" if networks[0].network == "" else text
        fit = _fit_networks(text, networks, Setting(kind, description.precision, activations))
    profile = DeviceProfile(
        name=description.name,
        hardware=description.hardware,
        runtime=description.runtime,
        precision=description.precision,
        batch=description.batch,
        resolution_us=RESOLUTION_US,
        model=fit.model,
        fixed_ms=fit.fixed_ms,
        fitted_on=fit.fitted_on,
        points=fit.points,
        error=fit.error,
        command=description.command,
    )
    return profile, fit.predictions


def plain_precision(text: str) -> str:
    """A precision that the model knows from a text such as ``FP32 (default)``; empty if it names none."""
    first = text.upper().split(" ")[0]
    return first if first in ELEMENT_BYTES else ""


def _fit_networks(text: str, networks: Sequence[MeasuredNetwork], setting: Setting) -> _Fit:
    """``text`` says what was read."""
    families = [n.family for n in networks]
    count = len(set(families))
    if count < 2:
        raise BadInput(
            f"all {len(networks)} networks are of family {families[0]!r}: a fit needs two families at least, so that "
            "it can be judged"
        )
    problem = networks_problem(networks)
    model, fixed_ms = fit_model(problem, setting)
    fitted = problem.predict(model, fixed_ms)
    predicted = left_out(problem, families, setting)
    predictions = [
        network_prediction(network, ms, fitted_ms)
        for network, ms, fitted_ms in zip(networks, predicted.tolist(), fitted.tolist(), strict=True)
    ]
    line = flops_line(problem, families)
    baseline = error_summary([network_prediction(n, ms) for n, ms in zip(networks, line.tolist(), strict=True)])
    error = error_summary(predictions) | {
        "fitted_mape_percent": _mape(fitted, problem.ms),
        "flops_line_mape_percent": baseline["mape_percent"],
        "flops_line_kendall_tau": baseline.get("kendall_tau", 0.0),
    }
    fitted_on = (
        f"{len(networks)} latencies of {len({n.name for n in networks})} networks of {count} families, "
        f"{text}; errors with each family left out"
    )
    return _Fit(model, fixed_ms, len(networks), fitted_on, error, predictions)


def _fit_ops(file: Path, setting: Setting) -> _Fit:
    ops = read_ops(file)
    rng = np.random.default_rng(SEED)
    held_out = rng.random(len(ops.ms)) < HELD_OUT
    counts = np.unique(ops.table.cin)
    if len(ops.ms) < 20 or not held_out.any() or len(counts) < 5:
        raise BadInput(
            f"{file.name} has {len(ops.ms)} measured ops with {len(counts)} different numbers of input channels: a fit "
            "needs 20 and 5 at least"
        )
    model = _fit_rows(ops, np.ones(len(ops.ms), dtype=bool), setting)
    fitted = model.op_ms(ops.table)
    at_random = _fit_rows(ops, ~held_out, setting).op_ms(ops.table)
    predictions = op_predictions(_rows(ops, held_out), at_random[held_out], fitted[held_out])
    # Every channel count is held out once: a fifth of them at a time, spread over their range.
    folds = round(1 / HELD_OUT)
    fold = (rng.permutation(len(counts)) % folds)[np.searchsorted(counts, ops.table.cin)]
    unseen = np.zeros(len(ops.ms))
    for number in range(folds):
        out = fold == number
        unseen[out] = _fit_rows(ops, ~out, setting).op_ms(ops.table)[out]
    error = error_summary(predictions) | {
        "mape_percent_channels_held_out": _mape(unseen, ops.ms),
        "kendall_tau_channels_held_out": round(float(kendall(unseen, ops.ms)), 4),
        "fitted_mape_percent": _mape(fitted, ops.ms),
    }
    skipped = f" ({ops.skipped} that could not be run skipped)" if ops.skipped else ""
    fitted_on = (
        f"{len(ops.ms)} convolutions of {file.name}{skipped}; fitted to at most {MOST_OPS} of them at a time; errors "
        f"on {HELD_OUT:.0%} held out at random, seed {SEED}, and on whole input channel counts held out"
    )
    return _Fit(model, 0.0, len(ops.ms), fitted_on, error, predictions)


def _fit_rows(ops: MeasuredOps, mask: np.ndarray, setting: Setting) -> LatencyModel:
    rows = np.flatnonzero(mask)
    if len(rows) > MOST_OPS:
        rows = np.sort(np.random.default_rng(SEED).choice(rows, MOST_OPS, replace=False))
    return fit_model(Problem.of_ops(select_rows(ops.table, rows), ops.ms[rows]), setting)[0]


def _rows(ops: MeasuredOps, mask: np.ndarray) -> MeasuredOps:
    return MeasuredOps(select_rows(ops.table, np.flatnonzero(mask)), ops.ms[mask], ops.batch[mask], 0)


def _mape(predicted: np.ndarray, measured: np.ndarray) -> float:
    return round(float(100 * np.abs(predicted / measured - 1).mean()), 3)
