"""Read measurements of every form, and choose those that a fit or a check needs.

Forms: files of measurements (``.jsonl``, ``.jsonl.gz``), tables of published figures (``.csv``), and folders with
``latency.csv`` and graphs.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.devices.measured.exchange_file import MeasurementSet, is_exchange_file, read_exchange
from nas.devices.measured.measurement import Measurement
from nas.devices.measured.networks import MeasuredNetwork, family_of, read_measured
from nas.devices.measured.op_table import costed
from nas.devices.measured.ops import is_op_table
from nas.devices.measured.published import is_figure_table, read_figures, read_folder
from nas.devices.measured.selection import Selection, one_setting
from search_spaces.op_table import OpTable
from workbench.errors import BadInput

Paths = str | Path | Sequence[str | Path]


def read_measurements(
    data: Paths,
    select: Selection | None = None,
    several: bool = False,
    log: Callable[[str], None] = lambda text: None,
) -> list[MeasuredNetwork]:
    """The chosen measurements of one or several files and folders, as a fit takes them.

    Repeats (the same network, size, setting, protocol and source) become one point, their median; a published figure
    that its source prints several times counts once.

    Args:
        select: which ones; None takes all at batch 1.
        several: whether several devices, runtimes or precisions may be taken that ``select`` does not name.
        log: is told what was skipped and why.
    """
    return points_of(read_set(data), select or Selection(), several, log)


def read_set(data: Paths) -> MeasurementSet:
    """All measurements of files and folders with their graphs; graphs of one serve the others."""
    found = MeasurementSet()
    for path in paths_of(data):
        found.extend(_read_one(path))
    return found


def is_measurements(data: str | Path) -> bool:
    """Whether a path is a file of measurements or a table of published figures."""
    return is_exchange_file(data) or is_figure_table(data)


def read_points(
    data: Paths,
    column: str | None = None,
    family_from: str | None = None,
    select: Selection | None = None,
    profile: ReadBefore | None = None,
) -> tuple[str, list[MeasuredNetwork]]:
    """Points to fit or check, and in words what was read.

    One folder without a selection is read by ``read_measured``, column by column; everything else by
    ``read_measurements``. ``profile`` says what to take of several columns or devices where nothing else does.
    """
    paths = paths_of(data)
    if select is None and len(paths) == 1 and not is_measurements(paths[0]):
        return read_measured(paths[0], column, family_from, profile.column if profile else None)
    if column is not None or family_from is not None:
        option = "--column" if column is not None else "--family-from"
        raise BadInput(f"{option} is for one folder with latency.csv: use --select here")
    found = read_set(paths)
    if select is None:
        own = profile is not None and any(profile.select.holds(row) for row in found.rows)
        select = profile.select if profile is not None and own else Selection()
    return ", ".join(Path(path).name for path in paths), points_of(found, select)


@dataclass(frozen=True)
class ReadBefore:
    """What a profile was fitted to: a column of ``latency.csv``, and the texts of its device."""

    column: str | None
    select: Selection


def the_op_table(data: Paths) -> Path | None:
    """The table of single convolutions, if ``data`` is that one file."""
    paths = paths_of(data)
    only = len(paths) == 1 and is_op_table(paths[0]) and not is_measurements(paths[0])
    return Path(paths[0]) if only else None


def paths_of(data: Paths) -> list[str | Path]:
    """One or several paths as a list."""
    return [data] if isinstance(data, (str, Path)) else list(data)


def _read_one(path: str | Path) -> MeasurementSet:
    if Path(path).is_dir():
        return read_folder(path)
    if is_exchange_file(path):
        return read_exchange(path)
    if is_figure_table(path):
        return read_figures(path)
    known = "a file .jsonl or .jsonl.gz, a table of published figures .csv, or a folder with latency.csv"
    raise BadInput(f"{str(path)!r} holds no measurements of networks: it must be {known}")


def points_of(
    found: MeasurementSet, select: Selection, several: bool = False, log: Callable[[str], None] = lambda text: None
) -> list[MeasuredNetwork]:
    """The chosen measurements of a set, repeats joined. Networks of one hash are of one family, the first one named."""
    rows = _quoted_once([row for row in found.rows if select.holds(row)])
    if not rows:
        devices = sorted({row.device.hardware for row in found.rows})
        shown = ", ".join(devices[:6]) + (" ..." if len(devices) > 6 else "")
        raise BadInput(f"none of {len(found.rows)} measurements is chosen: devices here are {shown or 'none'}")
    if not several:
        one_setting(rows, select)
    missing = {row.network: row.name for row in rows if row.network not in found.graphs}
    if missing:
        key, name = next(iter(missing.items()))
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BadInput(f"network {name!r} ({key}){others} has no graph here: add the file that has it")
    repeats: dict[tuple[Any, ...], list[Measurement]] = {}
    families: dict[str, str] = {}
    for row in rows:
        repeats.setdefault(point_key(row), []).append(row)
        families.setdefault(row.network, row.family or family_of(row.name))
    tables: dict[tuple[str, tuple[int, int]], OpTable] = {}
    points = [_point(found, same, families[same[0].network], tables) for same in repeats.values()]
    if len(points) < len(rows):
        log(f"{len(rows)} measurements are {len(points)} points: repeats count once, by their median")
    return points


def _quoted_once(rows: Sequence[Measurement]) -> list[Measurement]:
    """The rows without figures that one publisher prints several times, for instance for two trainings of a network."""
    kept: dict[Any, Measurement] = {}
    for index, row in enumerate(rows):
        device, precision, host_work = row.device.hardware, row.runtime.precision, row.protocol.host_work
        figure = (row.network, row.input_px, device, precision, host_work, row.batch, row.source, row.ms)
        kept.setdefault(figure if row.cite else index, row)
    return list(kept.values())


def point_key(row: Measurement) -> tuple[Any, ...]:
    """What repeats share: network, size, setting, version, protocol and source."""
    return (row.network, row.input_px, *row.setting(), row.runtime.version, row.protocol.text(), row.source)


def _point(
    found: MeasurementSet,
    same: Sequence[Measurement],
    family: str,
    tables: dict[tuple[str, tuple[int, int]], OpTable],
) -> MeasuredNetwork:
    """Repeats as one point. ``tables`` keeps what is computed for networks at one size."""
    row = same[0]
    graph, key = found.graphs[row.network], (row.network, row.input_px)
    if key not in tables:
        try:
            tables[key] = costed(graph.table(None if graph.fixed_px == row.input_px else row.input_px))
        except BadInput as error:
            raise BadInput(f"network {row.name!r} at {row.input_px[0]} x {row.input_px[1]} pixels: {error}") from error
    height, width = row.input_px
    return MeasuredNetwork(
        name=row.name,
        family=family,
        input_px=height if height == width else round((height * width) ** 0.5),
        ms=statistics.median(measurement.ms for measurement in same),
        graph=graph,
        table=tables[key],
        source=row.source,
        protocol=row.protocol.text(),
        host_work=row.protocol.host_work,
        device=row.device.hardware,
        runtime=row.runtime.text(row.device.processor),
        precision=row.runtime.precision,
        batch=row.batch,
        network=row.network,
        repeats=len(same),
    )
