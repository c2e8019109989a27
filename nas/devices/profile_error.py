"""Fit a profile to measurements and say how wrong it is; judge a profile on measurements it was not fitted to."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from nas.devices.fit import Problem, Setting, fit_model, left_out, networks_problem
from nas.devices.measurements import MeasuredNetwork, MeasuredOps, is_op_table, read_measured, read_ops, taken
from nas.devices.model import LatencyModel
from nas.devices.profile import DeviceProfile
from nas.kendall import kendall
from workbench.errors import BadInput

RESOLUTION_US = 0.1
"""One tick: far below what a timer can tell apart."""
HELD_OUT = 0.2
"""Share of a table's ops that are held out at random, and of its channel counts that are held out whole."""
MOST_OPS = 10_000
"""A fit reads so many rows of a table of ops, drawn at random; more do not change three dozen coefficients."""
SEED = 0

_Fitted: TypeAlias = tuple[LatencyModel, float, int, str, dict[str, Any], list["Prediction"]]
"""Model, fixed ms, number of points, what it was fitted on, errors, forecasts."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One measured network (or op) and what a profile says of it, milliseconds."""

    name: str
    family: str
    input_px: int
    attention: bool
    measured_ms: float
    predicted_ms: float
    """By a fit that had not seen the network's family, or by a finished profile."""
    fitted_ms: float | None = None
    """By the fit to everything."""

    @property
    def percent(self) -> float:
        """Error of the prediction; positive = predicted too slow."""
        return 100.0 * (self.predicted_ms / self.measured_ms - 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "name": self.name, "family": self.family, "input_px": self.input_px, "attention": self.attention,
            "measured_ms": self.measured_ms, "predicted_ms": self.predicted_ms, "fitted_ms": self.fitted_ms, "percent": self.percent,
        }  # fmt: skip


def fit_report(
    data: str | Path, column: str | None = None, *, name: str, hardware: str = "not stated", runtime: str = "not stated",
    precision: str = "FP16", batch: int = 1, kind: str = "gpu", activations: str = "", family_from: str | None = None, command: str = "",
) -> tuple[DeviceProfile, list[Prediction]]:  # fmt: skip
    """Fit a profile to a folder of networks or to a table of ops; the profile with its error, and every forecast.

    Networks are forecast by the fit to the other families. Ops are forecast by the fit to the other 80 %.
    """
    if is_op_table(data):
        setting = Setting(kind, precision, activations, fixed_time=False)
        model, fixed_ms, points, fitted_on, error, rows = _fit_ops(Path(data), setting)
    else:
        setting = Setting(kind, precision, activations)
        model, fixed_ms, points, fitted_on, error, rows = _fit_networks(data, column, setting, family_from)
    profile = DeviceProfile(
        name, hardware, runtime, precision, batch, RESOLUTION_US, model, fixed_ms, fitted_on, points, error, command
    )  # fmt: skip
    return profile, rows


def check(profile: DeviceProfile, data: str | Path, column: str | None = None, family_from: str | None = None) -> tuple[str, list[Prediction]]:
    """What a profile says of measurements, nothing fitted: where they were read, and every forecast.

    A folder with several columns of milliseconds is read at the column that the profile was fitted to, if it has it.
    """
    if is_op_table(data):
        ops = read_ops(data)
        return Path(data).name, _of_ops(ops, Problem.of_ops(ops.table, ops.ms).predict(profile.model, 0.0))
    column, points = read_measured(data, column, family_from, fallback=recorded(profile, "--column"))
    return column, [_forecast(p, float(profile.total_ticks(p.table)) * profile.tick_ms) for p in points]


def figures(rows: Sequence[Prediction]) -> dict[str, Any]:
    """Error of forecasts: mean and median, overall, without attention where that differs, Kendall's tau, and by family (also signed)."""
    measured = np.array([row.measured_ms for row in rows])
    predicted = np.array([row.predicted_ms for row in rows])
    percent = np.array([row.percent for row in rows])
    families = np.array([row.family for row in rows])
    plain = ~np.array([row.attention for row in rows], dtype=bool)
    found: dict[str, Any] = {"mape_percent": _rounded(np.abs(percent).mean(), 3)}
    found["median_percent"] = _rounded(np.median(np.abs(percent)), 3)
    some = plain.any() and not plain.all()
    if some:
        found["mape_percent_without_attention"] = _rounded(np.abs(percent[plain]).mean(), 3)
    if len(set(measured)) > 1 and len(set(predicted)) > 1:
        found["kendall_tau"] = _rounded(kendall(predicted, measured), 4)
    if some and len(set(measured[plain])) > 1 and len(set(predicted[plain])) > 1:
        found["kendall_tau_without_attention"] = _rounded(kendall(predicted[plain], measured[plain]), 4)
    names = list(dict.fromkeys(families.tolist()))
    found["mape_percent_by_family"] = {name: _rounded(np.abs(percent[families == name]).mean(), 3) for name in names}
    found["mean_percent_by_family"] = {name: _rounded(percent[families == name].mean(), 3) for name in names}
    return found


def worst(rows: Sequence[Prediction], count: int) -> list[Prediction]:
    """The forecasts that are furthest off, as a factor, furthest first."""
    return sorted(rows, key=lambda row: -abs(np.log(row.predicted_ms / row.measured_ms)))[:count]


def recorded(profile: DeviceProfile, option: str) -> str | None:
    """An option of the command that made a profile (``--column``), or its data folder (``DATA``)."""
    try:
        words = shlex.split(profile.command)
    except ValueError:
        return None
    if option == "DATA":
        return words[3] if words[:3] == ["nas", "devices", "fit"] and len(words) > 3 else None
    return words[words.index(option) + 1] if option in words[:-1] else None


def flops_line(problem: Problem, groups: Sequence[str]) -> np.ndarray:
    """The rival: a line through FLOPs (``a + b x FLOPs``, robust on logarithms), groups left out in turn, ``[networks]`` ms."""
    from scipy.optimize import least_squares  # type: ignore[import-untyped]

    macs, labels = problem.total(problem.rows.macs), np.asarray(groups)
    forecast = np.zeros(len(problem))
    for group in dict.fromkeys(groups):
        rest = labels != group
        start = np.log([0.2 * np.median(problem.ms[rest]), 0.8 * np.median(problem.ms[rest] / macs[rest])])

        def error(logs: np.ndarray, rest: np.ndarray = rest) -> np.ndarray:
            return np.log(np.exp(logs[0]) + np.exp(logs[1]) * macs[rest]) - np.log(problem.ms[rest])

        line = np.exp(least_squares(error, start, loss="soft_l1", f_scale=0.1).x)
        forecast[~rest] = line[0] + line[1] * macs[~rest]
    return forecast


def _fit_networks(data: str | Path, column: str | None, setting: Setting, family_from: str | None) -> _Fitted:
    column, points = read_measured(data, column, family_from)
    families = [p.family for p in points]
    kinds = len(set(families))
    if kinds < 2:
        raise BadInput(f"all {len(points)} networks are of family {families[0]!r}: a fit needs two families at least, so that it can be judged")
    problem = networks_problem(points)
    model, fixed_ms = fit_model(problem, setting)
    fitted = problem.predict(model, fixed_ms)
    forecast = left_out(problem, families, setting)
    rows = [_forecast(p, ms, all_ms) for p, ms, all_ms in zip(points, forecast.tolist(), fitted.tolist(), strict=True)]
    line = flops_line(problem, families)
    rival = figures([_forecast(p, ms) for p, ms in zip(points, line.tolist(), strict=True)])
    error = figures(rows) | {
        "fitted_mape_percent": _rounded(100 * np.abs(fitted / problem.ms - 1).mean(), 3),
        "flops_line_mape_percent": rival["mape_percent"],
        "flops_line_kendall_tau": rival.get("kendall_tau", 0.0),
    }
    fitted_on = f"{len(points)} latencies of {len({p.name for p in points})} networks of {kinds} families, column {column}; errors with each family left out"
    return model, fixed_ms, len(points), fitted_on, error, rows


def _fit_ops(file: Path, setting: Setting) -> _Fitted:
    ops = read_ops(file)
    rng = np.random.default_rng(SEED)
    held = rng.random(len(ops.ms)) < HELD_OUT
    counts = np.unique(ops.table.cin)
    if len(ops.ms) < 20 or not held.any() or len(counts) < 5:
        raise BadInput(f"{file.name} has {len(ops.ms)} measured ops with {len(counts)} different numbers of input channels: a fit needs 20 and 5 at least")
    model = _fit_rows(ops, np.ones(len(ops.ms), dtype=bool), setting)
    fitted = model.op_ms(ops.table)
    at_random = _fit_rows(ops, ~held, setting).op_ms(ops.table)
    rows = _of_ops(_part(ops, held), at_random[held], fitted[held])
    # Every channel count is held out once: in turn, a fifth of them, spread over their range.
    turn = rng.permutation(len(counts)) % round(1 / HELD_OUT)
    of_row = turn[np.searchsorted(counts, ops.table.cin)]
    unseen = np.zeros(len(ops.ms))
    for number in range(round(1 / HELD_OUT)):
        out = of_row == number
        unseen[out] = _fit_rows(ops, ~out, setting).op_ms(ops.table)[out]
    error = figures(rows) | {
        "mape_percent_channels_held_out": _rounded(100 * np.abs(unseen / ops.ms - 1).mean(), 3),
        "kendall_tau_channels_held_out": _rounded(kendall(unseen, ops.ms), 4),
        "fitted_mape_percent": _rounded(100 * np.abs(fitted / ops.ms - 1).mean(), 3),
    }
    skipped = f" ({ops.skipped} that could not be run skipped)" if ops.skipped else ""
    fitted_on = f"{len(ops.ms)} convolutions of {file.name}{skipped}; fitted to at most {MOST_OPS} of them at a time; errors on {HELD_OUT:.0%} held out at random, seed {SEED}, and on whole input channel counts held out"
    return model, 0.0, len(ops.ms), fitted_on, error, rows


def _fit_rows(ops: MeasuredOps, chosen: np.ndarray, setting: Setting) -> LatencyModel:
    rows = np.flatnonzero(chosen)
    if len(rows) > MOST_OPS:
        rows = np.sort(np.random.default_rng(SEED).choice(rows, MOST_OPS, replace=False))
    return fit_model(Problem.of_ops(taken(ops.table, rows), ops.ms[rows]), setting)[0]


def _part(ops: MeasuredOps, chosen: np.ndarray) -> MeasuredOps:
    return MeasuredOps(taken(ops.table, np.flatnonzero(chosen)), ops.ms[chosen], ops.batch[chosen], 0)


def _of_ops(ops: MeasuredOps, predicted: np.ndarray, fitted: np.ndarray | None = None) -> list[Prediction]:
    table = ops.table
    columns = (table.cin, table.cout, table.k, table.stride, table.groups, np.sqrt(table.in_pixels / ops.batch), ops.batch, ops.ms, predicted)
    rows = []
    for i, (cin, cout, k, stride, groups, side, batch, ms, guess) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        kind = "depth-wise" if groups > 1 else "dense"
        name = f"{kind} {cin:.0f}->{cout:.0f} k{k:.0f} s{stride:.0f}, batch {batch:.0f}"
        rows.append(Prediction(name, f"{kind} {k:.0f}x{k:.0f}", round(side), False, ms, guess, None if fitted is None else float(fitted[i])))
    return rows


def _forecast(point: MeasuredNetwork, ms: float, fitted_ms: float | None = None) -> Prediction:
    return Prediction(point.name, point.family, point.input_px, point.has_attention, point.ms, ms, fitted_ms)


def _rounded(value: Any, digits: int) -> float:
    return round(float(value), digits)
