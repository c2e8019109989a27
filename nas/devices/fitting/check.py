"""Check a profile on measurements; nothing is fitted."""

from __future__ import annotations

import shlex
from pathlib import Path

from nas.devices.fit import Problem
from nas.devices.fitting.errors import MeasuredPrediction, network_prediction, op_predictions
from nas.devices.measured.networks import read_measured
from nas.devices.measured.ops import is_op_table, read_ops
from nas.devices.profile import DeviceProfile


def check_profile(
    profile: DeviceProfile, data: str | Path, column: str | None = None, family_from: str | None = None
) -> tuple[str, list[MeasuredPrediction]]:
    """The predictions of a profile beside measurements, and the column or file that these were read from.

    In a folder with several columns of milliseconds, the one that the profile was fitted to is read if it is there.
    """
    if is_op_table(data):
        ops = read_ops(data)
        return Path(data).name, op_predictions(ops, Problem.of_ops(ops.table, ops.ms).predict(profile.model, 0.0))
    column, networks = read_measured(data, column, family_from, fallback=recorded_option(profile, "--column"))
    return column, [network_prediction(n, float(profile.total_ticks(n.table)) * profile.tick_ms) for n in networks]


def recorded_option(profile: DeviceProfile, option: str) -> str | None:
    """An option of the command that made a profile (``--column``), or its data folder (``DATA``)."""
    try:
        words = shlex.split(profile.command)
    except ValueError:
        return None
    if option == "DATA":
        return words[3] if words[:3] == ["nas", "devices", "fit"] and len(words) > 3 else None
    return words[words.index(option) + 1] if option in words[:-1] else None
