"""Merge measurements of many hands into one file, and judge them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.devices.measured.agreement import FEWEST, OUTLIER, Agreement, agreements
from nas.devices.measured.exchange_file import MeasurementSet, check_name, write_exchange
from nas.devices.measured.measurement import UNNAMED, Measurement, counted
from nas.devices.measured.read import read_set
from nas.devices.measured.selection import Selection
from nas.devices.measured.untrusted import check_text
from workbench.console import table
from workbench.errors import BadInput
from workbench.tables import Result


@dataclass(frozen=True)
class MergeResult(Result):
    """What was merged: counts, names that stand for several networks, and how far the sources agree."""

    read: int
    duplicates: int
    """Rows that were dropped because an equal one was there."""
    found: MeasurementSet
    out: Path | None
    conflicts: tuple[tuple[str, tuple[str, ...]], ...]
    """A name, and the hashes of the networks that have it at the same time."""
    places: tuple[Agreement, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in ``nas devices merge --json``."""
        return {
            "file": None if self.out is None else str(self.out),
            "read": self.read,
            "duplicates": self.duplicates,
            "measurements": len(self.found.rows),
            "networks": len({row.network for row in self.found.rows}),
            "without_graph": sorted({row.network for row in self.found.rows} - self.found.graphs.keys()),
            "conflicts": {name: list(hashes) for name, hashes in self.conflicts},
            "places": [place.to_dict() for place in self.places],
        }

    def to_table(self) -> tuple[list[str], list[list[Any]]]:
        """Header and one row a source of every place."""
        header = ["device, runtime, precision", "source", "rows", "networks", "shared", "level"]
        rows: list[list[Any]] = [
            [place.place, level.source, level.rows, level.networks, level.shared, level.level]
            for place in self.places
            for level in place.levels
        ]
        return header, rows

    def __str__(self) -> str:
        networks = len({row.network for row in self.found.rows})
        dropped = f", {counted(self.duplicates, 'duplicate')} dropped" if self.duplicates else ""
        rows = counted(len(self.found.rows), "measurement")
        lines = [table(*self.to_table()), f"\n{rows} of {counted(networks, 'network')}{dropped}"]
        for place in self.places:
            lines += _place_text(place)
        for name, hashes in self.conflicts:
            lines.append(f"warning: the name {name!r} stands for {len(hashes)} networks: {', '.join(hashes)}")
        without = {row.network for row in self.found.rows} - self.found.graphs.keys()
        if without:
            lines.append(f"warning: {counted(len(without), 'network')} without a graph here, which a fit needs")
        if self.out is not None:
            lines.append(f"\nwrote {self.out}")
        return "\n".join(lines)


def merge_files(
    data: Sequence[str | Path],
    out: str | Path | None = None,
    select: Selection | None = None,
    source: str | None = None,
) -> MergeResult:
    """Merge files and folders of measurements and judge them; nothing is written without ``out``.

    Args:
        select: which measurements to keep; None keeps all. With a device, runtime or precision all that it keeps are
            compared as measured at one place.
        source: source of measurements that name none.
    """
    if out is not None:
        check_name(out)
    if source is not None and not check_text(source, "--source").strip():
        raise BadInput("--source must not be empty")
    found = read_set(data)
    rows = found.rows if select is None else [row for row in found.rows if select.holds(row)]
    if not rows:
        raise BadInput(f"none of {len(found.rows)} measurements is chosen: see --select")
    if source is not None:
        rows = [dataclasses.replace(row, source=source) if row.source == UNNAMED else row for row in rows]
    kept = list({json.dumps(row.to_json(), sort_keys=True): row for row in rows}.values())
    used = {row.network for row in kept}
    merged = MeasurementSet({key: graph for key, graph in found.graphs.items() if key in used}, kept)
    if out is not None:
        write_exchange(out, merged)
    one_place = select is not None and select.names_device()
    return MergeResult(
        len(found.rows), len(rows) - len(kept), merged, None if out is None else Path(out), _conflicts(kept),
        tuple(agreements(kept, one_place)),
    )  # fmt: skip


def _conflicts(rows: Sequence[Measurement]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Names that stand for several networks."""
    hashes: dict[str, set[str]] = {}
    for row in rows:
        hashes.setdefault(row.name, set()).add(row.network)
    return tuple((name, tuple(sorted(several))) for name, several in sorted(hashes.items()) if len(several) > 1)


def _place_text(place: Agreement) -> list[str]:
    """Ratios and outliers of one place, where there are any."""
    lines = []
    if place.ratios:
        header = ["first", "second", "networks", "first / second", "lowest", "highest", "spread %"]
        cells = [[r.first, r.second, r.networks, r.median, r.low, r.high, r.spread_percent] for r in place.ratios]
        lines.append(f"\n{place.place}: sources on the same networks\n{table(header, cells)}")
    if place.outliers:
        header = ["network", "pixels", "source", "ms", "expected ms", "deviations"]
        cells = [
            [o.name, f"{o.height} x {o.width}", o.source, o.ms, o.expected_ms, o.deviations] for o in place.outliers
        ]
        what = f"more than {OUTLIER:g} scaled deviations off their source's level (sources with {FEWEST} rows or more)"
        lines.append(f"\n{place.place}: {what}\n{table(header, cells)}")
    return lines
