"""Check a profile on measurements; nothing is fitted."""

from __future__ import annotations

import itertools
import shlex

from nas.devices.fit import Problem
from nas.devices.fitting.errors import MeasuredPrediction, network_prediction, op_predictions
from nas.devices.measured.ops import read_ops
from nas.devices.measured.read import Paths, ReadBefore, read_points, the_op_table
from nas.devices.measured.selection import Selection
from nas.devices.profile import DeviceProfile


def check_profile(
    profile: DeviceProfile,
    data: Paths,
    column: str | None = None,
    family_from: str | None = None,
    select: Selection | None = None,
) -> tuple[str, list[MeasuredPrediction]]:
    """The predictions of a profile beside measurements, and the column or files that these were read from.

    In a folder with several columns of milliseconds, the one that the profile was fitted to is read if it is there; of
    files with several devices, the profile's own.
    """
    table = the_op_table(data)
    if table is not None:
        ops = read_ops(table)
        return table.name, op_predictions(ops, Problem.of_ops(ops.table, ops.ms).predict(profile.model, 0.0))
    own = Selection(f"={profile.hardware}", f"={profile.runtime}", f"={profile.precision}", batch=profile.batch)
    before = ReadBefore(recorded_option(profile, "--column"), own)
    text, networks = read_points(data, column, family_from, select, before)
    return text, [network_prediction(n, float(profile.total_ticks(n.table)) * profile.tick_ms) for n in networks]


def recorded_option(profile: DeviceProfile, option: str) -> str | None:
    """An option of the command that made a profile (``--column``), or its first data folder or file (``DATA``)."""
    if option == "DATA":
        return next(iter(recorded_data(profile)), None)
    words = _words(profile)
    return words[words.index(option) + 1] if option in words[:-1] else None


def recorded_data(profile: DeviceProfile) -> list[str]:
    """The folders and files of the command that fitted a profile."""
    words = _words(profile)
    if words[:3] != ["nas", "devices", "fit"]:
        return []
    return list(itertools.takewhile(lambda word: not word.startswith("--"), words[3:]))


def _words(profile: DeviceProfile) -> list[str]:
    """The command that made a profile, in words; none if it cannot be split."""
    try:
        return shlex.split(profile.command)
    except ValueError:
        return []
