"""Files of measurements: written, appended to, read; broken and malicious ones are one line."""

from __future__ import annotations

import gzip
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from nas.devices.measured import exchange_file
from nas.devices.measured.exchange_file import (
    MeasurementSet,
    append_exchange,
    check_target_file,
    read_exchange,
    write_exchange,
)
from nas.devices.measured.measurement import Measurement
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from workbench.errors import BadInput


def net(width: int = 8, name: str = "net") -> Graph:
    g = GraphBuilder(3)
    x = g.conv(g.conv(-1, width, 3, 2, act="silu"), width, 3, act="relu")
    return Graph(g.ops, g.inputs, [x], name)


def measured(*times: float, width: int = 8, name: str = "net", **more: Any) -> MeasurementSet:
    """One network with these times."""
    found = MeasurementSet()
    key = found.add_graph(net(width, name))
    found.rows += [Measurement(key, name, ms, (64, 64), **more) for ms in times]
    return found


@pytest.mark.parametrize("name", ["m.jsonl", "m.jsonl.gz"])
def test_appending_adds_repeats_and_keeps_each_graph_once(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    append_exchange(file, measured(1.0))
    append_exchange(file, measured(1.1))
    append_exchange(file, measured(2.0, width=16, name="wide"))
    found = read_exchange(file)
    assert [row.ms for row in found.rows] == [1.0, 1.1, 2.0] and len(found.graphs) == 2
    assert found.graphs[found.rows[0].network].to_json()["nodes"][0]["cout"] == 8
    assert sorted(p.name for p in tmp_path.iterdir()) == [name]


def test_files_one_after_the_other_are_a_file(tmp_path: Path) -> None:
    write_exchange(tmp_path / "a.jsonl", measured(1.0))
    write_exchange(tmp_path / "b.jsonl", measured(2.0))
    (tmp_path / "c.jsonl").write_bytes((tmp_path / "a.jsonl").read_bytes() + (tmp_path / "b.jsonl").read_bytes())
    found = read_exchange(tmp_path / "c.jsonl")
    assert [row.ms for row in found.rows] == [1.0, 2.0] and len(found.graphs) == 1


def test_names_of_ops_and_free_texts_of_graphs_are_not_written(tmp_path: Path) -> None:
    graph = net()
    named = Graph(graph.ops, graph.inputs, graph.outputs, "net", {"variant": "/home/me/secret.yaml"})
    found = MeasurementSet()
    found.rows.append(Measurement(found.add_graph(named), "net", 1.0, (64, 64)))
    write_exchange(tmp_path / "m.jsonl", found)
    text = (tmp_path / "m.jsonl").read_text()
    assert "secret" not in text and '"variant"' not in text
    nodes = json.loads(text.splitlines()[0])["graph"]["nodes"]
    assert nodes and not any("name" in node for node in nodes)


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "m.jsonl"
    threads = [threading.Thread(target=append_exchange, args=(file, measured(1.0 + i))) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(row.ms for row in read_exchange(file).rows) == [1.0 + i for i in range(8)]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "m.jsonl"
    append_exchange(file, measured(1.0))
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"not JSON compliant|Out of range"):
        append_exchange(file, measured(float("nan")))
    assert file.read_bytes() == before


def lines() -> tuple[dict[str, Any], dict[str, Any]]:
    """A network's line and a measurement's."""
    found = measured(1.0)
    network = json.loads(exchange_file._lines(found.graphs, []))
    return network, found.rows[0].to_json()


def graph_with(**changes: Any) -> dict[str, Any]:
    """The network's line with fields of its first node changed."""
    network = lines()[0]
    network["graph"]["nodes"][0] |= changes
    return network


NETWORK, ROW = lines()
BAD: dict[str, tuple[Any, str]] = {
    "empty": (b"", "holds no measurements"),
    "no measurement": ([NETWORK], "holds no measurements"),
    "no json": (b"hello\n", "line 1 is not JSON"),
    "not utf-8": (b"\xff\xfe\n", "line 1 is not UTF-8"),
    "list": (b"[]\n", "one JSON object"),
    "other object": ([{"name": "x"}], "line 1 is no measurement"),
    "other record": ([ROW | {"record": "secret"}], "no measurement"),
    "newer schema": ([ROW | {"schema": 2}], "schema 2 is not known .*: update the workbench, or ask for 1"),
    "text as schema": ([ROW | {"schema": "1"}], "schema '1' is not known"),
    "bool as schema": ([ROW | {"schema": True}], "schema True is not known"),
    "second line": ([NETWORK, ROW | {"ms": -1}], "line 2: ms -1"),
    "escape": ([ROW | {"name": "\x1b[2J"}], "cannot be printed"),
    "wrong hash": ([NETWORK | {"network": "0" * 20}, ROW], "not the hash of this graph"),
    "no graph": ([NETWORK | {"graph": None}], "'graph' must be an object"),
    "no nodes": ([NETWORK | {"graph": {"nodes": []}}], "non-empty list"),
    "node no object": ([NETWORK | {"graph": {"nodes": [1]}}], "every node"),
    "many channels": ([graph_with(cout=10**7)], "1000000 at most"),
    "inputs of text": ([NETWORK | {"graph": NETWORK["graph"] | {"inputs": [["x"]]}}], "input='x' must be a whole"),
    "inputs of nothing": ([NETWORK | {"graph": NETWORK["graph"] | {"inputs": 5}}], "'inputs' 5 must list"),
    "outputs of text": ([NETWORK | {"graph": NETWORK["graph"] | {"outputs": "no"}}], "must be indices of its 2 nodes"),
    "stride 0": ([graph_with(s=[0, 0])], "s=0 must be a whole number of at least 1"),
    "shape of text": ([graph_with(op="matmul", shape="x")], "cannot be computed|unknown|no shape"),
    "forward reference": ([graph_with(**{"in": [5]})], "must list earlier nodes"),
    "deep": (b'{"a":' * 50 + b"1" + b"}" * 50, "nested"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_broken_file_is_one_printable_line(tmp_path: Path, case: str) -> None:
    content, message = BAD[case]
    raw = content if isinstance(content, bytes) else "".join(json.dumps(line) + "\n" for line in content).encode()
    file = tmp_path / "m.jsonl"
    file.write_bytes(raw)
    with pytest.raises(BadInput, match=message) as caught:
        read_exchange(file)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 600
    with pytest.raises(BadInput):
        append_exchange(file, measured(1.0))
    assert file.read_bytes() == raw


def test_growing_shapes_and_bombs_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "m.jsonl"
    for count, message in ((300, "cannot be computed"), (1001, "1001 ops that enlarge a map: 1000 at most")):
        nodes = [{"op": "upsample", "scale": 1000, "in": [i - 1]} for i in range(count)]
        graph = {"name": "g", "inputs": [[3]], "nodes": nodes, "outputs": [count - 1]}
        file.write_text(json.dumps({"record": "network", "schema": 1, "network": "0" * 20, "graph": graph}) + "\n")
        with pytest.raises(BadInput, match=message):
            read_exchange(file)
    monkeypatch.setattr(exchange_file, "MOST_BYTES", 1000)
    packed = tmp_path / "m.jsonl.gz"
    packed.write_bytes(gzip.compress(b"\n" * 10_000_000))
    with pytest.raises(BadInput, match="at most 1,000 are read"):
        read_exchange(packed)
    packed.write_bytes(gzip.compress(b"x")[:-4])
    with pytest.raises(BadInput, match="cannot read"):
        read_exchange(packed)
    packed.write_bytes(b"not gzip")
    with pytest.raises(BadInput, match="cannot read"):
        read_exchange(packed)
    with pytest.raises(BadInput, match=r"cannot read .*No such file"):
        read_exchange(tmp_path / "none.jsonl")


def test_what_cannot_be_appended_to_is_refused_first(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--out 'm.csv' must end in .jsonl"):
        check_target_file(Path("m.csv"), None)
    with pytest.raises(BadInput, match="add --out FILE"):
        check_target_file(None, "me")
    with pytest.raises(BadInput, match="cannot be printed"):
        check_target_file(tmp_path / "m.jsonl", "\x1b")
    (tmp_path / "m.jsonl").write_text("something else\n")
    with pytest.raises(BadInput, match="line 1 is not JSON"):
        check_target_file(tmp_path / "m.jsonl", "me")
    check_target_file(tmp_path / "new.jsonl", "me")
