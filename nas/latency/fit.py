"""Fit a device profile to measured or published latencies, and say how well it foretells strangers.

The error that counts is that of families the fit has not seen: each family is left out in turn, the
profile is fitted to the others, and the left-out networks are foretold.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.latency.model import DECODE_PART, FREE_KINDS, LatencyModel
from nas.latency.profile import DeviceProfile
from search_spaces.errors import BadInput
from search_spaces.graph import Graph, OpTable

START: dict[str, tuple[float, float]] = {
    "conv_tflops": (25.0, 0.5),
    "idle_outputs": (40_000.0, 0.7),
    "depthwise_goutputs": (60.0, 0.7),
    "matmul_tflops": (15.0, 0.5),
    "bandwidth_gbs": (600.0, 0.3),
    "kernel_us": (3.0, 0.5),
    "memory_kernel_us": (3.0, 0.5),
    "fixed_ms": (0.6, 0.4),
}
"""Where the search starts, and how far (standard deviation of the logarithm) a coefficient may be led away
by the data: few networks cannot tell every coefficient apart, so what they do not say stays plausible.
The values suit a GPU with tensor cores; they are first scaled to the speed of the device at hand."""
PRIOR_WEIGHT = 0.1
"""Relative error of one network that weighs as much as one standard deviation of one coefficient."""
ROBUST_AT = 0.05
"""Relative error above which a network counts linearly, not squared: published figures disagree by more."""
SLOWER_WHEN_LARGER = frozenset({"kernel_us", "memory_kernel_us", "fixed_ms"})
ELEMENT_BYTES = {"FP32": 4.0, "FP16": 2.0, "BF16": 2.0, "INT8": 1.0}


@dataclass(frozen=True)
class Measured:
    """One network with its latency."""

    name: str
    family: str
    input_px: int
    ms: float
    graph: Graph
    table: OpTable

    @property
    def has_attention(self) -> bool:
        """True when activations are multiplied with activations."""
        return "matmul" in self.table.kinds


@dataclass(frozen=True)
class Prediction:
    """One network: measured, foretold by the fit to all, and by the fit that left its family out (ms)."""

    name: str
    family: str
    attention: bool
    measured_ms: float
    fitted_ms: float
    left_out_ms: float

    @property
    def left_out_percent(self) -> float:
        """Error when left out, percent of the measured figure; positive = foretold too slow."""
        return 100.0 * (self.left_out_ms / self.measured_ms - 1.0)

    @property
    def fitted_percent(self) -> float:
        """Error of the fit to all, percent of the measured figure."""
        return 100.0 * (self.fitted_ms / self.measured_ms - 1.0)


def fit_profile(folder: str | Path, column: str | None = None, **facts: Any) -> DeviceProfile:
    """Fit a profile to a folder with ``latency.csv`` and ``graphs.jsonl.gz``. See ``fit_report``."""
    return fit_report(folder, column, **facts)[0]


def fit_report(
    folder: str | Path,
    column: str | None = None,
    *,
    name: str = "device",
    hardware: str = "not stated",
    runtime: str = "not stated",
    precision: str = "FP16",
    batch: int = 1,
    resolution_us: float = 0.1,
    command: str = "",
) -> tuple[DeviceProfile, list[Prediction]]:
    """Fit a profile; give it back with the prediction for every network.

    ``latency.csv`` has ``model``, ``family``, ``input_px`` and one column of milliseconds whose name ends
    in ``_ms`` (or is ``column``). ``graphs.jsonl.gz`` has one graph a line, named like the model.
    """
    if precision not in ELEMENT_BYTES:
        raise BadInput(f"precision {precision!r} is not known: use one of {', '.join(ELEMENT_BYTES)}")
    column, points = read_measured(folder, column)
    # Only half precision runs on matrix units that want whole groups of channels.
    held = {"channel_pad": 16.0 if ELEMENT_BYTES[precision] == 2.0 else 1.0, "element_bytes": ELEMENT_BYTES[precision]}
    families = list(dict.fromkeys(p.family for p in points))
    groups = [p.family for p in points] if len(families) > 1 else [p.name for p in points]
    left_out = np.zeros(len(points))
    for group in dict.fromkeys(groups):
        rest = [p for p, g in zip(points, groups, strict=True) if g != group]
        if not rest:
            raise BadInput(f"{str(folder)!r} holds one network: a fit needs at least two")
        model, fixed_ms = _fit(rest, held)
        for i, point in enumerate(points):
            if groups[i] == group:
                left_out[i] = predict_ms(model, fixed_ms, [point])[0]
    model, fixed_ms = _fit(points, held)
    fitted = predict_ms(model, fixed_ms, points)
    rows = [
        Prediction(p.name, p.family, p.has_attention, p.ms, float(f), float(o))
        for p, f, o in zip(points, fitted, left_out, strict=True)
    ]
    what = "family" if len(families) > 1 else "network (there is only one family)"
    profile = DeviceProfile(
        name=name, hardware=hardware, runtime=runtime, precision=precision, batch=batch,
        resolution_us=resolution_us, model=model, fixed_ms=fixed_ms,
        fitted_on=f"{len(points)} networks of {len(families)} families, column {column}; "
        f"errors with each {what} left out",
        points=len(points), error=errors(rows), command=command,
    )  # fmt: skip
    return profile, rows


def errors(rows: Sequence[Prediction]) -> dict[str, Any]:
    """The honest error of a fit: left-out MAPE (all, without attention, by family), Kendall's tau, in-sample MAPE."""
    from scipy.stats import kendalltau  # type: ignore[import-untyped]

    def mape(chosen: Sequence[Prediction]) -> float:
        return round(float(np.mean([abs(r.left_out_percent) for r in chosen])), 3)

    def tau(chosen: Sequence[Prediction]) -> float:
        return round(float(kendalltau([r.left_out_ms for r in chosen], [r.measured_ms for r in chosen]).statistic), 4)

    found: dict[str, Any] = {"mape_percent": mape(rows)}
    plain = [r for r in rows if not r.attention]
    if plain:
        found["mape_percent_without_attention"] = mape(plain)
    found["kendall_tau"] = tau(rows)
    if plain:
        found["kendall_tau_without_attention"] = tau(plain)
    found["fitted_mape_percent"] = round(float(np.mean([abs(r.fitted_percent) for r in rows])), 3)
    names = dict.fromkeys(r.family for r in rows)
    found["mape_percent_by_family"] = {f: mape([r for r in rows if r.family == f]) for f in names}
    # One network, or equal figures, have no order: no tau rather than NaN.
    return {key: value for key, value in found.items() if isinstance(value, dict) or math.isfinite(value)}


def predict_ms(model: LatencyModel, fixed_ms: float, points: Sequence[Measured]) -> np.ndarray:
    """Milliseconds of each network, ``[points]``."""
    whole = _join([p.table for p in points])
    owner = np.repeat(np.arange(len(points)), [len(p.table.kinds) for p in points])
    return np.bincount(owner, model.op_ms(whole) * whole.count, minlength=len(points)) + fixed_ms


def read_measured(folder: str | Path, column: str | None = None) -> tuple[str, list[Measured]]:
    """Networks with latencies of a folder (see ``fit_report``), and the column that was read."""
    root = Path(folder)
    if not root.is_dir():
        raise BadInput(f"{str(root)!r} is not a folder: it must hold latency.csv and graphs.jsonl.gz")
    try:
        with (root / "latency.csv").open(newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines)
            header, rows = list(reader.fieldnames or []), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"cannot read {str(root / 'latency.csv')!r}: {error}") from error
    column = _column(header, column)
    for needed in ("model", "family", "input_px"):
        if needed not in header:
            raise BadInput(f"latency.csv has no column {needed!r}; it has {', '.join(header)}")
    graphs = {graph.name: graph for graph in _graphs(root / "graphs.jsonl.gz")}
    points: list[Measured] = []
    for line, row in enumerate(rows, start=2):
        where = f"latency.csv, line {line}"
        if not (row[column] or "").strip():
            continue
        name = row["model"]
        if name not in graphs:
            raise BadInput(f"{where}: model {name!r} has no graph in graphs.jsonl.gz")
        ms, px = _positive(row[column], column, where), _positive(row["input_px"], "input_px", where)
        table = graphs[name].table(int(px))
        points.append(Measured(name, row["family"], int(px), ms, graphs[name], _costed(table)))
    if len(points) < 2:
        raise BadInput(f"latency.csv has {len(points)} latencies in column {column!r}: a fit needs at least two")
    return column, points


def _column(header: Sequence[str], column: str | None) -> str:
    found = [name for name in header if name.endswith("_ms")]
    if column is not None:
        if column not in header:
            known = ", ".join(found) or "none"
            raise BadInput(f"latency.csv has no column {column!r}; columns of milliseconds: {known}")
        return column
    if len(found) != 1:
        raise BadInput(f"latency.csv must have exactly one *_ms column, not {found}: name one with --column")
    return found[0]


def _graphs(path: Path) -> Iterator[Graph]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    data = json.loads(line)
                except json.JSONDecodeError as error:
                    raise BadInput(f"{path.name}, line {number} is not JSON: {error}") from error
                yield Graph.from_json(data)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {str(path)!r}: {error}") from error


def _positive(text: str | None, field: str, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value <= 0:
        raise BadInput(f"{where}: {field}={text!r} must be a finite number above 0")
    return value


_COLUMNS = tuple(f.name for f in dataclasses.fields(OpTable) if f.name not in ("kinds", "acts", "parts", "names"))


def _costed(table: OpTable) -> OpTable:
    """The rows that can cost anything; the fit evaluates them hundreds of times."""
    pairs = zip(table.kinds, table.parts, strict=True)
    keep = [i for i, (kind, part) in enumerate(pairs) if kind not in FREE_KINDS and part != DECODE_PART]
    return OpTable(
        kinds=tuple(table.kinds[i] for i in keep), acts=tuple(table.acts[i] for i in keep),
        parts=tuple(table.parts[i] for i in keep), names=tuple(table.names[i] for i in keep),
        **{name: getattr(table, name)[keep] for name in _COLUMNS},
    )  # fmt: skip


def _join(tables: Sequence[OpTable]) -> OpTable:
    """All rows of several scalar tables, one after the other."""
    return OpTable(
        kinds=sum((t.kinds for t in tables), ()), acts=sum((t.acts for t in tables), ()),
        parts=sum((t.parts for t in tables), ()), names=sum((t.names for t in tables), ()),
        **{name: np.concatenate([getattr(t, name) for t in tables]) for name in _COLUMNS},
    )  # fmt: skip


def _fit(points: Sequence[Measured], held: dict[str, float]) -> tuple[LatencyModel, float]:
    """Robust least squares on logarithms; coefficients stay positive because their logarithms are fitted."""
    from scipy.optimize import least_squares  # type: ignore[import-untyped]

    names = list(START)
    spread = np.array([START[name][1] for name in names])
    whole = _join([p.table for p in points])
    owner = np.repeat(np.arange(len(points)), [len(p.table.kinds) for p in points])
    target = np.log([p.ms for p in points])

    def unpack(logs: np.ndarray) -> tuple[LatencyModel, float]:
        values = dict(zip(names, np.exp(logs).tolist(), strict=True))
        fixed_ms = values.pop("fixed_ms")
        return LatencyModel(**values, **held), fixed_ms

    def log_ms(logs: np.ndarray) -> np.ndarray:
        model, fixed_ms = unpack(logs)
        return np.log(np.bincount(owner, model.op_ms(whole) * whole.count, minlength=len(points)) + fixed_ms)

    start = np.log([START[name][0] for name in names])
    # A device ten times slower than the start is slower in everything before it differs in anything.
    slower = float(np.median(target - log_ms(start)))
    start += np.array([slower if n in SLOWER_WHEN_LARGER else 0.0 if n == "idle_outputs" else -slower for n in names])

    def residuals(logs: np.ndarray) -> np.ndarray:
        return np.concatenate([log_ms(logs) - target, PRIOR_WEIGHT * (logs - start) / spread])

    found = least_squares(residuals, start, loss="soft_l1", f_scale=ROBUST_AT, max_nfev=200)
    return unpack(found.x)
