"""``nas.cost``: parameters, FLOPs, activations, layers and predicted latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas.api.arguments import Subject, subjects_of
from nas.costs import Costs, graph_costs
from search_spaces.lowering import count_layers
from workbench.tables import Result, Table

if TYPE_CHECKING:
    from nas.devices.profile import DeviceProfile


@dataclass(frozen=True)
class CostResult(Result):
    """Costs of one or several networks, in the order in which they were named."""

    names: tuple[str, ...]
    rows: tuple[Costs, ...]
    sides: tuple[int, ...]
    """Input side of each network in pixels."""
    device: str | None

    @property
    def costs(self) -> dict[str, float]:
        """Costs of the first network: ``flops``, ``params``, ``act_bytes``, ``layers`` and ``latency_ms``."""
        return self.rows[0].costs

    @property
    def parts_ms(self) -> dict[str, float]:
        """Latency of the first network by part, in milliseconds; empty without a device."""
        return self.rows[0].parts_ms

    @property
    def input_px(self) -> int:
        """Input side of the first network in pixels."""
        return self.sides[0]

    def to_table(self) -> Table:
        """One row a network."""
        parts = list(dict.fromkeys(part for row in self.rows for part in row.parts_ms))
        header = ["", "px", "GFLOPs", "Mparams", "MBact", "layers"]
        if self.device is not None:
            header += ["ms", *(f"ms {part}" for part in parts)]
        rows = []
        for name, side, row in zip(self.names, self.sides, self.rows, strict=True):
            costs = row.costs
            sizes = [costs["flops"] / 1e9, costs["params"] / 1e6, costs["act_bytes"] / 1e6]
            cells = [name, side, *sizes, costs.get("layers")]
            if self.device is not None:
                cells += [costs.get("latency_ms"), *(row.parts_ms.get(part) for part in parts)]
            rows.append(cells)
        return Table(header, rows)

    def to_dict(self) -> dict[str, Any]:
        """Costs in base units, by network."""
        return {"device": self.device, "networks": self.to_list()}

    def to_list(self) -> list[dict[str, Any]]:
        """What ``nas cost --json`` prints."""
        return [
            {"name": name, "input_px": side, "costs": row.costs, "latency_ms_by_part": row.parts_ms}
            for name, side, row in zip(self.names, self.sides, self.rows, strict=True)
        ]


def cost(
    subject: Subject | Sequence[Subject], device: str | None = None, *, input_px: int | None = None,
    scope: str | None = None,
) -> CostResult:
    """Cost networks in their deployed form: FLOPs, parameters, activation bytes, layers and, on a ``device``, latency.

    Args:
        subject: an architecture YAML, a run folder, a TinyNAS text, an ONNX file, a graph JSON, a checkpoint, a model
            of the zoo, an ``Architecture`` or a ``Graph``; or several of them.
        device: name or file of a latency profile.
        input_px: side of the square input in pixels; None takes each network's own.
        scope: ``detector`` or ``backbone``; None takes the detector where there is one.
    """
    profile: DeviceProfile | None = None
    if device is not None:
        from nas.devices.profile import load_device

        profile = load_device(device)
    names, rows, sides = [], [], []
    for name, network in subjects_of(subject):
        layers = None if network.arch is None else count_layers(network.arch)
        side = input_px or network.input_px
        graph = network.graph(scope or network.default_scope(), side)
        names.append(name)
        sides.append(side)
        rows.append(graph_costs(graph, side, profile, layers))
    return CostResult(tuple(names), tuple(rows), tuple(sides), device)
