"""Folders of measured networks: ``latency.csv`` and the graphs, as ``graphs.jsonl.gz`` or ``NAME.onnx`` files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.devices.measured.csv_file import csv_rows, positive
from nas.devices.measured.op_table import costed
from search_spaces.graph import Graph
from search_spaces.op_table import OpTable
from workbench.doors.bytes import read_lines
from workbench.doors.json import parse_json
from workbench.errors import BadInput

MOST_BYTES = 1024 * 2**20
"""Largest file of graphs, unpacked."""
MOST_LINE = 32 * 2**20
"""Longest line of it, in bytes."""


@dataclass(frozen=True)
class MeasuredNetwork:
    """One network with its latency; who measured it, where and how, as far as the data say so."""

    name: str
    family: str
    input_px: int
    """Side of the input in pixels; of a rectangle, that of the square of the same area."""
    ms: float
    """Milliseconds an image."""
    graph: Graph
    table: OpTable
    """The ops that can take time, without box decoding."""
    source: str = ""
    """Who measured or published it."""
    protocol: str = ""
    """How the time was taken, one line."""
    host_work: bool | None = None
    """Whether pre- and post-processing on the host is in the time; None where that is not stated."""
    device: str = ""
    runtime: str = ""
    precision: str = ""
    batch: int | None = 1
    network: str = ""
    """Hash of the network; empty where it was not computed."""
    repeats: int = 1
    """Measurements of which ``ms`` is the median."""

    @property
    def source_level(self) -> str:
        """What shares one level in a fit: a source, its times with and without work on the host apart."""
        return f"{self.source}, with host work" if self.host_work else self.source

    @property
    def has_attention(self) -> bool:
        """Whether activations are multiplied with activations."""
        return "matmul" in self.table.kinds


def family_of(name: str) -> str:
    """Family from a network's name: up to and including its first integer (``yolo6s-d33w25``: ``yolo6``)."""
    match = re.match(r"\D*\d+", name)
    return match.group() if match else name


def read_measured(
    folder: str | Path, column: str | None = None, family_from: str | None = None, fallback: str | None = None
) -> tuple[str, list[MeasuredNetwork]]:
    """Networks with latencies of a folder, and the column that was read.

    ``latency.csv`` has ``model`` (or ``arch``), ``input_px`` and a column of milliseconds whose name ends in ``_ms``.
    If there are several, ``column`` is read, or ``fallback`` if it is there. The family is read from column
    ``family_from``, else ``family``, else it is ``family_of`` the name. Rows without a latency are skipped.
    """
    root = Path(folder)
    if not root.is_dir():
        raise BadInput(f"{str(root)!r} is not a folder: it must hold latency.csv and graphs.jsonl.gz or *.onnx files")
    header, rows = csv_rows(root / "latency.csv")
    columns = _columns(header, column, family_from, fallback)
    graphs = graphs_of(root, {row[columns.name] for row in rows if (row[columns.ms] or "").strip()})
    networks = [
        _measured_network(row, columns, graphs, f"latency.csv, line {line}")
        for line, row in enumerate(rows, start=2)
        if (row[columns.ms] or "").strip()
    ]
    if not networks:
        raise BadInput(f"latency.csv has no latencies in column {columns.ms!r}")
    return columns.ms, networks


@dataclass(frozen=True)
class _Columns:
    """Names of the columns that are read; ``family`` None takes the family from the network's name."""

    name: str
    ms: str
    family: str | None


def _columns(header: Sequence[str], column: str | None, family_from: str | None, fallback: str | None) -> _Columns:
    ms = _ms_column(header, column, fallback)
    name = next((key for key in ("model", "arch") if key in header), None)
    if name is None or "input_px" not in header:
        raise BadInput(f"latency.csv needs the columns 'model' (or 'arch') and 'input_px'; it has {', '.join(header)}")
    if family_from is not None and family_from not in header:
        raise BadInput(
            f"latency.csv has no column {family_from!r} to take the family from; it has {', '.join(header)}"
        )
    return _Columns(name, ms, family_from or ("family" if "family" in header else None))


def _measured_network(
    row: Mapping[str, str], columns: _Columns, graphs: Mapping[str, Graph], where: str
) -> MeasuredNetwork:
    name = row[columns.name]
    if name not in graphs:
        raise BadInput(f"{where}: model {name!r} has no graph in graphs.jsonl.gz and no file {name}.onnx")
    ms, px = positive(row[columns.ms], columns.ms, where), positive(row["input_px"], "input_px", where)
    if px != int(px):
        raise BadInput(f"{where}: input_px={row['input_px']!r} must be a whole number of pixels")
    family = ((row[columns.family] or "").strip() if columns.family else "") or family_of(name)
    try:
        table = graphs[name].table(int(px))
    except BadInput as error:
        raise BadInput(f"{where}: model {name!r}: {error}") from error
    return MeasuredNetwork(name, family, int(px), ms, graphs[name], costed(table))


def _ms_column(header: Sequence[str], column: str | None, fallback: str | None) -> str:
    candidates = [name for name in header if name.endswith("_ms")]
    if column is not None:
        if column not in header:
            raise BadInput(
                f"latency.csv has no column {column!r}; columns of milliseconds: {', '.join(candidates) or 'none'}"
            )
        return column
    if len(candidates) > 1 and fallback in candidates:
        return str(fallback)
    if len(candidates) != 1:
        raise BadInput(f"latency.csv must have exactly one *_ms column, not {candidates}: name one with --column")
    return candidates[0]


def graphs_of(root: Path, wanted: set[str]) -> dict[str, Graph]:
    """Graphs by model name, from ``graphs.jsonl.gz`` and from ONNX files named like the model."""
    graphs: dict[str, Graph] = {}
    packed = root / "graphs.jsonl.gz"
    if packed.exists():
        graphs = {graph.name: graph for graph in _graphs(packed)}
    files = {name: root / f"{name}.onnx" for name in sorted(wanted - graphs.keys())}
    present = {name: path for name, path in files.items() if path.exists()}
    if not graphs and not present:
        raise BadInput(
            f"{str(root)!r} holds neither graphs.jsonl.gz nor an ONNX file named like a model of latency.csv"
        )
    if present:
        from zoo.graphs.from_onnx import read_onnx

        graphs |= {name: read_onnx(path) for name, path in present.items()}
    return graphs


def _graphs(path: Path) -> Iterator[Graph]:
    for number, line in read_lines(path, "graphs", MOST_BYTES, MOST_LINE):
        data = parse_json(line, f"{path.name}, line {number}")
        if not isinstance(data, Mapping):
            raise BadInput(f"{path.name}, line {number} must be one graph object, not {type(data).__name__}")
        yield Graph.from_json(data)
