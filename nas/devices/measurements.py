"""Measured latencies from disk: networks with their graphs, or tables of single convolutions.

A folder of networks holds ``latency.csv`` and the graphs, as ``graphs.jsonl.gz`` or as ``NAME.onnx``
files. A table of ops is one CSV, one convolution a line. Every refusal names the file, the line and the rule.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.graph import Graph
from search_spaces.op_table import NUMERIC, OpTable
from search_spaces.ops import DECODE_PART, VIEW_KINDS
from workbench.errors import BadInput

OP_COLUMNS = ("type", "batch", "cin", "h", "w", "cout", "k", "stride", "fused_add", "latency_ms")
"""Header of a table of ops. ``h`` and ``w`` are those of the input; ``type`` is Regular or Depthwise."""
NOT_MEASURED = -1.0
"""Latency that marks a row which the runtime could not run; such rows are skipped and counted."""


@dataclass(frozen=True)
class MeasuredNetwork:
    """One network with its latency."""

    name: str
    family: str
    input_px: int
    ms: float
    graph: Graph
    table: OpTable
    """The ops that can cost anything, box decoding left out."""

    @property
    def has_attention(self) -> bool:
        """True when activations are multiplied with activations."""
        return "matmul" in self.table.kinds


@dataclass(frozen=True)
class MeasuredOps:
    """Single convolutions with their latencies, ``[rows]`` each; ``skipped`` rows could not be run."""

    table: OpTable
    ms: np.ndarray
    batch: np.ndarray
    skipped: int


def family_of(name: str) -> str:
    """Family from a network's name: all up to and including its first whole number (``yolo6s-d33w25``: ``yolo6``)."""
    found = re.match(r"\D*\d+", name)
    return found.group() if found else name


def is_op_table(path: str | Path) -> bool:
    """True for a file (not a folder): then it is read as a table of ops."""
    return Path(path).is_file()


def read_measured(
    folder: str | Path, column: str | None = None, family_from: str | None = None, fallback: str | None = None
) -> tuple[str, list[MeasuredNetwork]]:
    """Networks with latencies of a folder, and the column that was read.

    ``latency.csv`` has ``model`` (or ``arch``), ``input_px`` and one column of milliseconds whose name ends in
    ``_ms`` (several: ``column`` names one; else ``fallback`` is read if it is there). The family is column ``family_from``, else ``family``, else ``family_of``
    the name. Rows with an empty figure are skipped.
    """
    root = Path(folder)
    if not root.is_dir():
        raise BadInput(f"{str(root)!r} is not a folder: it must hold latency.csv and graphs.jsonl.gz or *.onnx files")
    header, rows = csv_rows(root / "latency.csv")
    column = _column(header, column, fallback)
    named = next((key for key in ("model", "arch") if key in header), None)
    if named is None or "input_px" not in header:
        raise BadInput(f"latency.csv needs the columns 'model' (or 'arch') and 'input_px'; it has {', '.join(header)}")
    if family_from is not None and family_from not in header:
        raise BadInput(f"latency.csv has no column {family_from!r} to take the family from; it has {', '.join(header)}")
    kin = family_from or ("family" if "family" in header else None)
    wanted = {row[named] for row in rows if (row[column] or "").strip()}
    graphs = graphs_of(root, wanted)
    points: list[MeasuredNetwork] = []
    for line, row in enumerate(rows, start=2):
        where = f"latency.csv, line {line}"
        if not (row[column] or "").strip():
            continue
        name = row[named]
        if name not in graphs:
            raise BadInput(f"{where}: model {name!r} has no graph in graphs.jsonl.gz and no file {name}.onnx")
        ms, px = positive(row[column], column, where), positive(row["input_px"], "input_px", where)
        if px != int(px):
            raise BadInput(f"{where}: input_px={row['input_px']!r} must be a whole number of pixels")
        family = ((row[kin] or "").strip() if kin else "") or family_of(name)
        try:
            table = graphs[name].table(int(px))
        except BadInput as error:
            raise BadInput(f"{where}: model {name!r}: {error}") from error
        points.append(MeasuredNetwork(name, family, int(px), ms, graphs[name], costed(table)))
    if not points:
        raise BadInput(f"latency.csv has no latencies in column {column!r}")
    return column, points


def read_ops(path: str | Path) -> MeasuredOps:
    """A table of single FP convolutions (``OP_COLUMNS``), plain or gzipped."""
    file = Path(path)
    header, rows = csv_rows(file)
    missing = [name for name in OP_COLUMNS if name not in header]
    if missing:
        raise BadInput(f"{file.name}: a table of ops has the columns {', '.join(OP_COLUMNS)}; missing: {', '.join(missing)}")
    numbers = np.empty((len(rows), len(OP_COLUMNS) - 1))
    lone = np.zeros(len(rows), dtype=bool)
    for i, row in enumerate(rows):
        where = f"{file.name}, line {i + 2}"
        if row["type"] not in ("Regular", "Depthwise"):
            raise BadInput(f"{where}: type={row['type']!r} must be Regular or Depthwise")
        lone[i] = row["type"] == "Depthwise"
        for j, name in enumerate(OP_COLUMNS[1:]):
            numbers[i, j] = _number(row[name])
        if not np.isfinite(numbers[i]).all() or (numbers[i, :7] < 1).any() or numbers[i, 7] not in (0, 1):
            bad = {name: row[name] for name in OP_COLUMNS[1:-1]}
            raise BadInput(f"{where}: {bad} must be whole numbers of at least 1, fused_add 0 or 1, latency_ms a number")
        if numbers[i, 8] <= 0 and numbers[i, 8] != NOT_MEASURED:
            raise BadInput(f"{where}: latency_ms={row['latency_ms']!r} must be above 0, or -1 where the op could not be run")
    kept = numbers[:, 8] > 0 if len(rows) else np.zeros(0, dtype=bool)
    if not kept.any():
        raise BadInput(f"{file.name} has no measured ops")
    values = {name: numbers[kept, j] for j, name in enumerate(OP_COLUMNS[1:])}
    return MeasuredOps(_op_rows(values, lone[kept]), values["latency_ms"], values["batch"], int((~kept).sum()))


def _op_rows(values: Mapping[str, np.ndarray], lone: np.ndarray) -> OpTable:
    """Columns of same-padded convolutions; a batch is so many times the pixels."""
    batch, cin, cout, k = values["batch"], values["cin"], values["cout"], values["k"]
    in_pixels = batch * values["h"] * values["w"]
    pixels = batch * np.ceil(values["h"] / values["stride"]) * np.ceil(values["w"] / values["stride"])
    groups = np.where(lone, cin, 1.0)
    weights = cin / groups * cout * k * k
    none = ("none",) * len(cin)
    return OpTable(
        kinds=("conv",) * len(cin), acts=none, parts=("",) * len(cin), names=("",) * len(cin),
        cin=cin, cout=cout, k=k, kernel_area=k * k, stride=values["stride"], groups=groups, pixels=pixels, in_pixels=in_pixels,
        macs=weights * pixels, params=weights, in_elems=in_pixels * cin + values["fused_add"] * pixels * cout,
        out_elems=pixels * cout, weight_elems=weights, fused=np.zeros(len(cin)), count=np.ones(len(cin)),
    )  # fmt: skip


def costed(table: OpTable) -> OpTable:
    """The rows that can cost anything; a fit evaluates them hundreds of times."""
    pairs = zip(table.kinds, table.parts, strict=True)
    return taken(table, [i for i, (kind, part) in enumerate(pairs) if kind not in VIEW_KINDS and part != DECODE_PART])


def distinct(tables: Sequence[OpTable]) -> tuple[OpTable, np.ndarray, np.ndarray]:
    """The different rows of several scalar tables, and for every row of all tables its table and its place among them."""
    kinds = sum((t.kinds for t in tables), ())
    acts = sum((t.acts for t in tables), ())
    joined = {name: np.concatenate([getattr(t, name) for t in tables]) for name in NUMERIC}
    codes = {text: code for code, text in enumerate(dict.fromkeys(zip(kinds, acts, strict=True)))}
    code = np.array([codes[pair] for pair in zip(kinds, acts, strict=True)], dtype=np.float64)
    keys = np.stack([code, *(joined[name] for name in NUMERIC if name != "count")])
    _, first, place = np.unique(keys, axis=1, return_index=True, return_inverse=True)
    owner = np.repeat(np.arange(len(tables)), [len(t.kinds) for t in tables])
    blank = ("",) * len(first)
    rows = OpTable(
        kinds=tuple(kinds[i] for i in first), acts=tuple(acts[i] for i in first), parts=blank, names=blank,
        **{name: joined[name][first] for name in NUMERIC},
    )  # fmt: skip
    return rows, owner, place.reshape(-1)


def taken(table: OpTable, keep: Sequence[int] | np.ndarray) -> OpTable:
    """The rows of a table whose numbers ``keep`` lists."""
    texts: dict[str, Any] = {name: tuple(getattr(table, name)[i] for i in keep) for name in ("kinds", "acts", "parts", "names")}
    index = np.asarray(keep, dtype=int)
    return OpTable(**texts, **{name: getattr(table, name)[index] for name in NUMERIC})


def csv_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        raw = path.read_bytes()
        with io.StringIO((gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig"), newline="") as lines:
            reader = csv.DictReader(lines)
            header, rows = list(reader.fieldnames or []), list(reader)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"cannot read {str(path)!r}: {' '.join(str(error).split())}") from error
    if not header:
        raise BadInput(f"{path.name} is empty: its first line must name the columns")
    return header, rows


def _column(header: Sequence[str], column: str | None, fallback: str | None) -> str:
    found = [name for name in header if name.endswith("_ms")]
    if column is not None:
        if column not in header:
            raise BadInput(f"latency.csv has no column {column!r}; columns of milliseconds: {', '.join(found) or 'none'}")
        return column
    if len(found) > 1 and fallback in found:
        return str(fallback)
    if len(found) != 1:
        raise BadInput(f"latency.csv must have exactly one *_ms column, not {found}: name one with --column")
    return found[0]


def graphs_of(root: Path, wanted: set[str]) -> dict[str, Graph]:
    """Graphs by model name, out of ``graphs.jsonl.gz`` and of ONNX files named like the model."""
    graphs: dict[str, Graph] = {}
    packed = root / "graphs.jsonl.gz"
    if packed.exists():
        graphs = {graph.name: graph for graph in _graphs(packed)}
    files = {name: root / f"{name}.onnx" for name in sorted(wanted - graphs.keys())}
    present = {name: path for name, path in files.items() if path.exists()}
    if not graphs and not present:
        raise BadInput(f"{str(root)!r} holds neither graphs.jsonl.gz nor an ONNX file named like a model of latency.csv")
    if present:
        from zoo.graphs.from_onnx import read_onnx

        graphs |= {name: read_onnx(path) for name, path in present.items()}
    return graphs


def _graphs(path: Path) -> Iterator[Graph]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    data = json.loads(line)
                except json.JSONDecodeError as error:
                    raise BadInput(f"{path.name}, line {number} is not JSON: {error}") from error
                if not isinstance(data, Mapping):
                    raise BadInput(f"{path.name}, line {number} must be one graph object, not {type(data).__name__}")
                yield Graph.from_json(data)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {str(path)!r}: {error}") from error


def _number(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        return math.nan


def positive(text: str | None, field: str, where: str) -> float:
    """A number above 0 from a cell, or an error that names the field."""
    value = _number(text)
    if not math.isfinite(value) or value <= 0:
        raise BadInput(f"{where}: {field}={text!r} must be a finite number above 0")
    return value
