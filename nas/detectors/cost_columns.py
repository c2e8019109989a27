"""What accuracy is set against: own sizes, a latency column of the data, or the prediction of a device profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nas.detectors.atlas import Atlas
from nas.detectors.entry import Entry
from nas.devices.profile import DeviceProfile, device_names, load_device
from workbench.errors import BadInput, unknown_name

SIZES: Mapping[str, tuple[str, str, float]] = {
    "params": ("params", "Mparams", 1e6),
    "gflops": ("flops", "GFLOPs", 1e9),
    "activations": ("activations", "Mactivations", 1e6),
}
"""Cost by name: the own size, its label, and its unit."""


@dataclass(frozen=True)
class CostColumn:
    """One cost of every entry that has it: its name, its label with the unit, and how entries are costed."""

    name: str
    label: str
    size: str = ""
    """An own size, in units of ``unit``; else a latency column, else a profile."""
    unit: float = 1.0
    column: str = ""
    profile: DeviceProfile | None = None

    def of(self, atlas: Atlas, entry: Entry) -> float | None:
        """The cost of one entry; None if it is not known."""
        if self.size:
            return atlas.own_size(entry, self.size) / self.unit
        if self.column:
            return entry.latency.get(self.column)
        assert self.profile is not None
        graph = atlas.graphs[entry.name]
        return self.profile.latency_ms(graph, None if graph.fixed_px else entry.input_px)


def cost_column(atlas: Atlas, name: str) -> CostColumn:
    """A cost by name: ``params``, ``gflops``, ``activations``, a latency column by its beginning, or a profile."""
    if name in SIZES:
        size, label, unit = SIZES[name]
        return CostColumn(name, label, size=size, unit=unit)
    if name in device_names() or name.endswith((".yaml", ".yml")):
        profile = load_device(name)
        return CostColumn(profile.name, f"predicted ms, {profile.name}", profile=profile)
    column = latency_column(atlas, name)
    return CostColumn(column, f"ms, {column.removesuffix('_ms')}", column=column)


def latency_column(atlas: Atlas, name: str) -> str:
    """A latency column of the data by the beginning of its name."""
    columns = atlas.latency_columns
    exact = [column for column in columns if name.removesuffix("_ms") == column.removesuffix("_ms")]
    matches = exact or [column for column in columns if column.startswith(name)]
    if not matches:
        known = (*SIZES, *device_names(), *(column.removesuffix("_ms") for column in columns))
        raise unknown_name("cost, latency column or device", name, known)
    if len(matches) > 1:
        raise BadInput(f"latency column {name!r} could be {', '.join(matches)}: write more of the name")
    return matches[0]
