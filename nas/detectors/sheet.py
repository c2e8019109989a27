"""One network of the atlas: sizes beside the published ones, its trainings, latencies with protocol, INT8 accuracy."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nas.detectors.atlas import Atlas, folded
from nas.detectors.cost_columns import SIZES
from nas.detectors.entry import Entry
from nas.detectors.listing import entry_dict
from nas.detectors.marks import mark_of
from nas.devices.interval import interval_ms
from nas.devices.profile import DeviceProfile
from workbench.console import table
from workbench.errors import BadInput
from workbench.tables import Result, Table


@dataclass(frozen=True)
class NetworkSheet(Result):
    """A network with its entries (at least one, of one graph), own sizes by input size, and predicted latencies."""

    name: str
    entries: tuple[Entry, ...]
    sizes: dict[int, dict[str, float]]
    """Own sizes in base units by input size in pixels."""
    predicted: tuple[tuple[str, int, float, float | None, float | None], ...] = ()
    """Device, input size, ms, and the ends of its 90 % interval."""

    def to_table(self) -> Table:
        """One row a training."""
        rows = [
            [e.model, e.input_px, e.column, round(100 * e.ap, 2), e.recipe.tag or "not stated",
             ", ".join(e.recipe.traits()), _further(e), e.source or "not known"]
            for e in self.entries
        ]  # fmt: skip
        return Table(["training", "px", "task", "AP", "recipe", "traits", "further figures", "source"], rows)

    def size_table(self) -> Table:
        """Own and published parameters and GFLOPs at every input size."""
        rows = []
        for px, own in self.sizes.items():
            size = next(entry.size for entry in self.entries if entry.input_px == px)
            told = {
                "params": (size.params_m, size.params_diff_percent),
                "gflops": (size.gflops, size.gflops_diff_percent),
            }
            for name, (key, label, unit) in SIZES.items():
                published, percent = told.get(name, (None, None))
                rows.append([px, label, own[key] / unit, published, percent])
        return Table(["px", "size", "own", "published", "difference, %"], rows)

    def latency_table(self) -> Table:
        """Measured, published and predicted latencies with what is known of the protocol."""
        rows: list[list[Any]] = []
        for px in self.sizes:
            entry = next(entry for entry in self.entries if entry.input_px == px)
            columns = {column.removesuffix("_ms"): ms for column, ms in entry.latency.items()}
            rows += [[ms, px, device, "a column of the data", entry.data] for device, ms in columns.items()]
            for fact in entry.facts:
                device = ", ".join(filter(None, (fact.device, fact.runtime, fact.precision)))
                batch = "" if fact.batch in (None, 1) else f"batch {fact.batch}; "
                rows.append([fact.ms, px, device, f"{batch}{fact.what}", fact.source])
        for device, px, ms, low, high in self.predicted:
            interval = "" if low is None or high is None else f", 90 % interval {low:.3g} to {high:.3g} ms"
            rows.append([ms, px, device, f"predicted{interval}", "device profile"])
        return Table(["ms", "px", "device, runtime, precision", "protocol", "source"], rows)

    def int8_table(self) -> Table:
        """Accuracy before and after quantization."""
        pairs = dict.fromkeys(pair for entry in self.entries for pair in entry.int8)
        rows = [
            [100 * p.float_ap, 100 * p.int8_ap, 100 * (p.int8_ap - p.float_ap), p.device_tool, p.method, p.source]
            for p in pairs
        ]
        return Table(["float AP", "INT8 AP", "change", "device and tool", "method", "source"], rows)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        entry = self.entries[0]
        return {
            "name": self.name,
            "family": entry.family,
            "sizes": {str(px): own for px, own in self.sizes.items()},
            "trainings": [entry_dict(entry) for entry in self.entries],
            "latency_facts": [asdict(fact) for entry in self.entries[:1] for fact in entry.facts],
            "int8": [asdict(pair) for pair in entry.int8],
            "predicted": [
                {"device": device, "input_px": px, "ms": ms, "interval_ms": None if low is None else [low, high]}
                for device, px, ms, low, high in self.predicted
            ],
        }

    def __str__(self) -> str:
        entry = self.entries[0]
        mark = mark_of(entry.size)
        licence = f"licence {entry.licence}" if entry.licence else "licence not known"
        lines = [f"{self.name}  ({entry.family}, {licence}, from {entry.data})", "", str(self.size_table())]
        reason = entry.size.reason or mark.reason
        use = "serves a fit" if mark.serves else "does not serve a fit"
        verdict = f" ({entry.size.verdict})" if entry.size.verdict not in ("", mark.name) else ""
        lines += [f"size: {mark.name}{verdict}: {reason}; {use}", "", str(self.to_table())]
        for part in (self.latency_table(), self.int8_table()):
            if part.rows:
                lines += ["", table(*part)]
        return "\n".join(lines)


def _further(entry: Entry) -> str:
    """The other accuracies of one training."""
    others = {name: value for name, value in entry.figures.items() if name != entry.column}
    return ", ".join(f"{name} {100 * value:.2f}" for name, value in others.items()) or "-"


def network_sheet(atlas: Atlas, name: str, profiles: Sequence[DeviceProfile] = ()) -> NetworkSheet:
    """The sheet of one network, found by its name or that of one of its trainings; case and dashes do not count."""
    entries = [entry for entry in atlas.entries if folded(name) in (folded(entry.name), folded(entry.model))]
    if not entries:
        near = difflib.get_close_matches(folded(name), [folded(known) for known in atlas.graphs], 3, 0.5)
        close = [known for known in atlas.graphs if folded(known) in near]
        hint = f": did you mean {', '.join(close)}?" if close else ": nas atlas lists them"
        raise BadInput(f"the atlas has no network {name!r}{hint}")
    network = entries[0].name
    entries = [entry for entry in atlas.entries if entry.name == network]
    first = {entry.input_px: entry for entry in reversed(entries)}
    sizes = {
        px: {size: atlas.own_size(entry, size) for size, _, _ in SIZES.values()}
        for px, entry in sorted(first.items())
    }
    graph, predicted = atlas.graphs[network], []
    for profile in profiles:
        for px in sizes:
            ms = profile.latency_ms(graph, None if graph.fixed_px else px)
            interval = interval_ms(profile, ms)
            ends = (None, None) if interval is None else (interval.low_ms, interval.high_ms)
            predicted.append((profile.name, px, ms, *ends))
    return NetworkSheet(network, tuple(entries), sizes, tuple(predicted))
