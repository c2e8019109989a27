"""Measurements of every form through one reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.devices.measured.exchange_file import MeasurementSet, write_exchange
from nas.devices.measured.measurement import Device, Measurement, Protocol, Runtime
from nas.devices.measured.network_hash import network_hash
from nas.devices.measured.read import is_measurements, read_measurements, read_points, the_op_table
from nas.devices.measured.selection import Selection
from search_spaces.graph import Graph
from tests.nas.devices.measured.test_exchange_file import net
from tests.nas.devices.measured.test_published import graphs, table
from workbench.errors import BadInput

SHARED = Path(__file__).resolve().parents[5] / "shared"


def row(graph: Graph, ms: float, source: str = "lab", hardware: str = "A box", **more: object) -> Measurement:
    device, runtime = Device(hardware, "cpu"), Runtime("ONNX Runtime", "1.2", "FP32", 2)
    fields = {"device": device, "runtime": runtime, "input_px": (64, 96), "source": source} | more
    return Measurement(network_hash(graph), graph.name, ms, **fields)  # type: ignore[arg-type]


def write(file: Path, *rows: Measurement, keep: tuple[Graph, ...] = ()) -> Path:
    found = MeasurementSet(rows=list(rows))
    for graph in keep:
        found.add_graph(graph)
    write_exchange(file, found)
    return file


def test_repeats_are_one_point_and_graphs_of_one_file_serve_the_other(tmp_path: Path) -> None:
    small, wide = net(8, "small"), net(16, "wide")
    a = write(tmp_path / "a.jsonl", row(small, 1.0), row(small, 3.0), row(small, 2.0), keep=(small, wide))
    b = write(tmp_path / "b.jsonl", row(wide, 5.0, "other", protocol=Protocol("mean", host_work=True)))
    told: list[str] = []
    first, second = read_measurements([a, b], log=told.append)
    assert (first.ms, first.repeats, first.source, first.input_px) == (2.0, 3, "lab", 78)
    assert first.table.macs.sum() == small.table((64, 96)).macs.sum() and first.network == network_hash(small)
    assert (second.source, second.protocol, second.host_work) == ("other", "mean; with host work", True)
    assert second.runtime == "ONNX Runtime 1.2, 2 threads" and second.device == "A box"
    assert told == ["4 measurements are 2 points: repeats count once, by their median"]
    with pytest.raises(BadInput, match=r"'wide' .* has no graph here: add the file that has it"):
        read_measurements(b)


def test_a_figure_that_is_printed_twice_is_one_a_run_that_is_repeated_is_two(tmp_path: Path) -> None:
    graph = net()
    table = [row(graph, 1.5, cite="x", protocol=Protocol(note)) for note in ("distilled", "not distilled")]
    other = row(graph, 1.6, cite="x", protocol=Protocol("distilled"), source="else")
    (first, second) = read_measurements(write(tmp_path / "a.jsonl", *table, other, keep=(graph,)))
    assert (first.repeats, first.protocol, second.ms) == (1, "distilled", 1.6)
    (point,) = read_measurements(write(tmp_path / "b.jsonl", row(graph, 1.5), row(graph, 1.5), keep=(graph,)))
    assert point.repeats == 2


def test_several_devices_are_refused_until_one_is_chosen(tmp_path: Path) -> None:
    graph = net()
    file = write(tmp_path / "a.jsonl", row(graph, 1.0), row(graph, 9.0, hardware="A board"), keep=(graph,))
    with pytest.raises(BadInput, match=r"2 combinations .* --select, for instance device=A box"):
        read_measurements(file)
    assert [p.ms for p in read_measurements(file, Selection("A board"))] == [9.0]
    assert len(read_measurements(file, several=True)) == 2
    with pytest.raises(BadInput, match="none of 2 measurements is chosen: devices here are A board, A box"):
        read_measurements(file, Selection("T4"))


def test_equal_networks_are_of_one_family(tmp_path: Path) -> None:
    graph = net()
    file = write(tmp_path / "a.jsonl", row(graph, 1.0, family="x"), row(graph, 2.0, "b", family="y"), keep=(graph,))
    assert [p.family for p in read_measurements(file)] == ["x", "x"]


def test_forms_are_told_apart(tmp_path: Path) -> None:
    facts = table(tmp_path, "Net One,net1,64,NVIDIA T4,TensorRT 8.4,FP16,1,1.5,inference only,lab/repo@1:x")
    assert is_measurements(facts) and is_measurements("m.jsonl.gz") and not is_measurements(tmp_path)
    ops = tmp_path / "ops.csv"
    ops.write_text("type,batch\n")
    assert the_op_table(ops) == ops and the_op_table(facts) is None and the_op_table([ops, ops]) is None
    with pytest.raises(BadInput, match="holds no measurements of networks"):
        read_measurements([facts, ops])
    with pytest.raises(BadInput, match="--column is for one folder"):
        read_points(facts, column="x_ms")


def test_a_folder_alone_is_read_as_before_and_with_a_selection_by_its_words(tmp_path: Path) -> None:
    graphs(tmp_path)
    (tmp_path / "latency.csv").write_text("model,input_px,t4_trt_fp16_ms,pi_ort_fp32_ms\nnet1,64,1,2\nnet2,64,3,4\n")
    assert read_points(tmp_path, "pi_ort_fp32_ms")[0] == "pi_ort_fp32_ms"
    text, points = read_points([tmp_path], select=Selection("T4"))
    assert text == tmp_path.name and [p.ms for p in points] == [1.0, 3.0]


@pytest.mark.slow
def test_the_figures_of_a_t4_of_all_publishers() -> None:
    if not (SHARED / "atlas").exists() or not (SHARED / "t4").exists():
        pytest.skip("needs ../shared/atlas and ../shared/t4")
    chosen = Selection("T4", "TensorRT", "FP16")
    points = read_measurements([SHARED / "t4", SHARED / "atlas" / "latency_facts.csv"], chosen, several=True)
    sources = [p.source for p in points]
    assert sources.count("ultralytics") == 35 and sources.count("open-mmlab") == 13 and len(set(sources)) >= 7
    assert all(p.host_work is not True and p.ms > 0 for p in points)
