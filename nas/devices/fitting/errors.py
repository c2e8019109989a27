"""Predictions beside measurements, and the errors of many of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.devices.measured.networks import MeasuredNetwork
from nas.devices.measured.ops import MeasuredOps
from nas.kendall import kendall


@dataclass(frozen=True, slots=True)
class MeasuredPrediction:
    """One measured network (or op) and its prediction, milliseconds."""

    name: str
    family: str
    input_px: int
    attention: bool
    measured_ms: float
    predicted_ms: float
    """By a fit without the network's family, or by a finished profile."""
    fitted_ms: float | None = None
    """By the fit to all measurements."""
    source: str = ""
    """Who measured it, where the data say so."""

    @property
    def percent(self) -> float:
        """Error of the prediction; positive = predicted too slow."""
        return 100.0 * (self.predicted_ms / self.measured_ms - 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "percent": self.percent}


def network_prediction(
    network: MeasuredNetwork, predicted_ms: float, fitted_ms: float | None = None
) -> MeasuredPrediction:
    """The prediction of one network beside its measurement."""
    return MeasuredPrediction(
        network.name, network.family, network.input_px, network.has_attention, network.ms, predicted_ms, fitted_ms,
        network.source,
    )  # fmt: skip


def op_predictions(
    ops: MeasuredOps, predicted_ms: np.ndarray, fitted_ms: np.ndarray | None = None
) -> list[MeasuredPrediction]:
    """The predictions ``[rows]`` of a table of ops beside their measurements."""
    table = ops.table
    side = np.sqrt(table.in_pixels / ops.batch)
    columns = (table.cin, table.cout, table.k, table.stride, table.groups, side, ops.batch, ops.ms, predicted_ms)
    predictions = []
    for i, values in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        cin, cout, k, stride, groups, px, batch, ms, predicted = values
        kind = "depth-wise" if groups > 1 else "dense"
        name = f"{kind} {cin:.0f}->{cout:.0f} k{k:.0f} s{stride:.0f}, batch {batch:.0f}"
        fitted = None if fitted_ms is None else float(fitted_ms[i])
        family = f"{kind} {k:.0f}x{k:.0f}"
        predictions.append(MeasuredPrediction(name, family, round(px), False, ms, predicted, fitted))
    return predictions


def error_summary(predictions: Sequence[MeasuredPrediction]) -> dict[str, Any]:
    """Mean and median error, Kendall's tau, and mean error by family (absolute and signed).

    Where some networks have attention and some have not, also without those that have; with several sources, also by
    source.
    """
    measured = np.array([p.measured_ms for p in predictions])
    predicted = np.array([p.predicted_ms for p in predictions])
    percent = np.array([p.percent for p in predictions])
    families = np.array([p.family for p in predictions])
    plain = ~np.array([p.attention for p in predictions], dtype=bool)
    summary: dict[str, Any] = {"mape_percent": round(float(np.abs(percent).mean()), 3)}
    summary["median_percent"] = round(float(np.median(np.abs(percent))), 3)
    is_mixed = plain.any() and not plain.all()
    if is_mixed:
        summary["mape_percent_without_attention"] = round(float(np.abs(percent[plain]).mean()), 3)
    if len(set(measured)) > 1 and len(set(predicted)) > 1:
        summary["kendall_tau"] = round(float(kendall(predicted, measured)), 4)
    if is_mixed and len(set(measured[plain])) > 1 and len(set(predicted[plain])) > 1:
        summary["kendall_tau_without_attention"] = round(float(kendall(predicted[plain], measured[plain])), 4)
    groups = {"family": families.tolist(), "source": [p.source for p in predictions]}
    for group, names in groups.items():
        if group == "family" or len(set(names)) > 1:
            parts = {name: percent[np.array(names) == name] for name in dict.fromkeys(names)}
            summary[f"mape_percent_by_{group}"] = {n: round(float(np.abs(p).mean()), 3) for n, p in parts.items()}
            summary[f"mean_percent_by_{group}"] = {n: round(float(p.mean()), 3) for n, p in parts.items()}
    return summary


def worst(predictions: Sequence[MeasuredPrediction], count: int) -> list[MeasuredPrediction]:
    """The predictions with the largest errors as factors, largest first."""
    return sorted(predictions, key=lambda p: -abs(np.log(p.predicted_ms / p.measured_ms)))[:count]
