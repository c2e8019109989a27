"""Files of measurements that users exchange: JSON lines, plain or gzipped.

A line is a network (``"record": "network"``, its hash and its graph, once a file) or a measurement of one. Each line
states the schema, so that two files one after the other are a file too. Files come from strangers: sizes, depths, texts
and numbers are checked, and every hash is computed again.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.devices.measured.measurement import SCHEMA, Measurement
from nas.devices.measured.network_hash import network_hash
from nas.devices.measured.untrusted import check_text, parse_line, quoted
from search_spaces.graph import Graph
from search_spaces.ops import RESIZE_KINDS
from workbench.doors.bytes import read_bytes
from workbench.errors import BadInput
from workbench.files import write_atomic
from workbench.locks import file_turn

SUFFIXES = (".jsonl", ".jsonl.gz")
MOST_BYTES = 512 * 2**20
"""Largest file, unpacked."""
MOST_LINE = 32 * 2**20
"""Longest line in bytes."""
MOST_NODES = 50_000
MOST_RESIZES = 1000
"""Most ops of a graph that enlarge a map: sizes grow with their number as a power."""
MOST_CHANNELS = 1_000_000
"""Largest whole number in a graph, but for its counts of parameters."""


@dataclass
class MeasurementSet:
    """Measurements and the graphs of their networks by hash; a graph may be missing."""

    graphs: dict[str, Graph] = field(default_factory=dict)
    rows: list[Measurement] = field(default_factory=list)

    def add_graph(self, graph: Graph) -> str:
        """Keep a graph, unless an equal one is there; its hash."""
        key = network_hash(graph)
        self.graphs.setdefault(key, graph)
        return key

    def extend(self, other: MeasurementSet) -> None:
        """Add the graphs and rows of another set."""
        self.graphs = other.graphs | self.graphs
        self.rows += other.rows


def is_exchange_file(path: str | Path) -> bool:
    """Whether a path is named like a file of measurements."""
    return str(path).endswith(SUFFIXES)


def check_name(path: str | Path, option: str = "--out") -> Path:
    """``path`` if it is named like a file of measurements, or the error for this option."""
    if not is_exchange_file(path):
        raise BadInput(f"{option} {str(path)!r} must end in .jsonl or .jsonl.gz")
    return Path(path)


def check_target_file(file: Path | None, source: str | None, option: str = "--out") -> None:
    """Refuse a file that cannot be appended to, before anything is measured, and a bad name of a source."""
    if source is not None:
        if file is None:
            raise BadInput(f"--source {source!r} names who measured, in the file of {option}: add {option} FILE")
        if not check_text(source, "--source").strip():
            raise BadInput("--source must not be empty")
    if file is not None and check_name(file, option).exists():
        read_exchange(file)


def read_exchange(path: str | Path) -> MeasurementSet:
    """All networks and measurements of a file."""
    file = Path(path)
    found = MeasurementSet()
    for number, line in enumerate(_unpacked(file).split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"{file.name}, line {number}"
        if len(line) > MOST_LINE:
            raise BadInput(f"{where} has {len(line):,} bytes: {MOST_LINE:,} at most")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadInput(f"{where} is not UTF-8") from error
        _read_line(found, parse_line(text, where), where)
    if not found.rows:
        raise BadInput(f"{file.name} holds no measurements: nas bench MODEL --out {file.name} writes some")
    return found


def append_exchange(path: str | Path, added: MeasurementSet) -> None:
    """Append networks and measurements to a file, atomically; graphs that it has are not written again."""
    file = check_name(path)
    with file_turn(file):
        earlier = read_exchange(file) if file.exists() else MeasurementSet()
        text = _unpacked(file) if file.exists() else b""
        if text and not text.endswith(b"\n"):
            text += b"\n"
        new = {key: graph for key, graph in added.graphs.items() if key not in earlier.graphs}
        _write(file, text + _lines(new, added.rows))


def write_exchange(path: str | Path, found: MeasurementSet) -> None:
    """Write a file of these networks and measurements."""
    _write(check_name(path), _lines(found.graphs, found.rows))


def _write(file: Path, text: bytes) -> None:
    write_atomic(file, gzip.compress(text, mtime=0) if file.suffix == ".gz" else text)


def _lines(graphs: Mapping[str, Graph], rows: Iterable[Measurement]) -> bytes:
    """Networks first; NaN and infinities are refused."""
    lines = [_network_line(key, graph) for key, graph in graphs.items()] + [row.to_json() for row in rows]
    texts = [json.dumps(line, allow_nan=False, ensure_ascii=False, separators=(",", ":")) for line in lines]
    return "".join(f"{text}\n" for text in texts).encode()


def _network_line(key: str, graph: Graph) -> dict[str, Any]:
    """A network's line. Names of its ops, which other tools make from file and variable names, are left out."""
    data = graph.to_json()
    nodes = [{name: value for name, value in node.items() if name != "name"} for node in data["nodes"]]
    kept = {"name": graph.name, "inputs": data["inputs"], "nodes": nodes, "outputs": data["outputs"]}
    return {"record": "network", "schema": SCHEMA, "network": key, "graph": kept}


def _unpacked(file: Path) -> bytes:
    """The content of a file, unpacked and at most ``MOST_BYTES`` long."""
    return read_bytes(file, "measurements", MOST_BYTES)


def _read_line(found: MeasurementSet, data: Mapping[str, Any], where: str) -> None:
    record, schema = data.get("record"), data.get("schema")
    if record not in ("network", "measurement") or "schema" not in data:
        raise BadInput(f"{where} is no measurement: it needs 'record' (network or measurement) and 'schema'")
    if type(schema) is not int or schema != SCHEMA:
        known = f"this workbench reads schema {SCHEMA}"
        raise BadInput(f"{where}: schema {schema!r} is not known ({known}): update the workbench, or ask for {SCHEMA}")
    try:
        if record == "measurement":
            found.rows.append(Measurement.from_json(data))
            return
        graph = _graph(data.get("graph"))
        if found.add_graph(graph) != data.get("network"):
            raise BadInput("field 'network' is not the hash of this graph: the line was changed or damaged")
    except BadInput as error:
        raise BadInput(f"{where}: {quoted(str(error))}") from error


def _graph(data: Any) -> Graph:
    """A graph from a stranger: bounded numbers, and shapes that can be computed."""
    if not isinstance(data, Mapping) or not isinstance(data.get("nodes"), list):
        raise BadInput("field 'graph' must be an object with 'nodes'")
    if len(data["nodes"]) > MOST_NODES:
        raise BadInput(f"the graph has {len(data['nodes'])} nodes: {MOST_NODES} at most")
    plain = {name: data[name] for name in ("name", "inputs", "nodes", "outputs") if name in data}
    _check_numbers([plain.get("inputs"), plain.get("outputs")])
    for node in plain["nodes"]:
        if not isinstance(node, Mapping):
            raise BadInput("every node of a graph must be an object")
        _check_numbers({name: value for name, value in node.items() if name != "params"})
    resizes = sum(str(node.get("op")) in RESIZE_KINDS for node in plain["nodes"])
    if resizes > MOST_RESIZES:
        raise BadInput(f"the graph has {resizes} ops that enlarge a map: {MOST_RESIZES} at most")
    try:
        graph = Graph.from_json(plain)
        graph.table()
    except BadInput:
        raise
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError) as error:
        raise BadInput(f"the graph cannot be computed ({type(error).__name__}): a field has a wrong type") from error
    return graph


def _check_numbers(value: Any) -> None:
    """Whole numbers of a graph are channels, pixels and indices."""
    if isinstance(value, int) and abs(value) > MOST_CHANNELS:
        raise BadInput(f"the graph holds the number {value}: {MOST_CHANNELS} at most")
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        _check_numbers(inner)
