"""Fitting: a known device is found again; the shipped T4 error is reproduced from its data."""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import pytest

from nas.commands import devices
from nas.latency.fit import fit_profile, fit_report, read_measured
from nas.latency.profile import load_device
from search_spaces.errors import BadInput
from search_spaces.graph import Graph, GraphBuilder

T4 = load_device("t4")
DATA = Path(__file__).resolve().parents[3].parent / "shared" / "t4"


def network(name: str, width: int, depth: int) -> Graph:
    g = GraphBuilder(3)
    x = -1
    for level in range(5):
        x = g.conv(x, width * 2**level, 3, 2, act="silu")
        for _ in range(depth):
            x = g.join("add", x, g.conv(g.conv(x, width * 2**level // 2, 1), width * 2**level, 3))
    return Graph(g.ops, g.inputs, [x], name)


def write(folder: Path, slower: float = 1.0, header: str = "model,family,input_px,my_ms") -> Path:
    sizes = [(8, 1), (16, 2), (32, 1), (32, 4), (64, 3), (24, 9)]
    graphs = [network(f"net{i}", width, depth) for i, (width, depth) in enumerate(sizes)]
    lines = [header]
    with gzip.open(folder / "graphs.jsonl.gz", "wt") as file:
        for i, graph in enumerate(graphs):
            file.write(json.dumps(graph.to_json()) + "\n")
            lines.append(f"{graph.name},family{i % 3},640,{T4.latency_ms(graph, 640) * slower}")
    (folder / "latency.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("slower", [1.0, 30.0])
def test_a_device_that_obeys_the_model_is_found_again(tmp_path: Path, slower: float) -> None:
    profile, rows = fit_report(write(tmp_path, slower), name="found")
    assert profile.points == len(rows) == 6
    assert profile.error["mape_percent"] < 8
    assert profile.error["fitted_mape_percent"] < 5
    assert all(row.fitted_ms > 0 for row in rows)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("model,family,input_px,speed", r"exactly one \*_ms column"),
        ("model,kin,input_px,my_ms", "no column 'family'"),
    ],
)
def test_a_bad_table_is_named(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        fit_profile(write(tmp_path, header=header))


def test_bad_cells_and_missing_graphs_are_named(tmp_path: Path) -> None:
    write(tmp_path)
    table = tmp_path / "latency.csv"
    good = table.read_text()
    table.write_text(good + "net0,family0,640,nan\n")
    with pytest.raises(BadInput, match="line 8: my_ms='nan'"):
        fit_profile(tmp_path)
    table.write_text(good + "ghost,family0,640,1\n")
    with pytest.raises(BadInput, match="'ghost' has no graph"):
        fit_profile(tmp_path)
    with pytest.raises(BadInput, match="no column 'v100_ms'"):
        fit_profile(tmp_path, "v100_ms")
    with pytest.raises(BadInput, match="is not a folder"):
        fit_profile(tmp_path / "nowhere")


def test_the_shipped_t4_profile_is_its_fit_and_its_error_is_honest() -> None:
    if not DATA.is_dir():
        pytest.skip("needs ../shared/t4")
    profile, _ = fit_report(DATA, name="t4", hardware=T4.hardware, runtime=T4.runtime, precision=T4.precision)
    assert profile.error["mape_percent"] == pytest.approx(T4.error["mape_percent"], abs=0.1)
    assert profile.error["kendall_tau"] == pytest.approx(T4.error["kendall_tau"], abs=0.02)
    for name, value in T4.model.to_dict().items():
        assert getattr(profile.model, name) == pytest.approx(value, rel=0.02)
    assert T4.error["mape_percent"] <= 8 and T4.error["mape_percent_without_attention"] <= 6


def test_the_shipped_t4_profile_foretells_its_own_data() -> None:
    if not DATA.is_dir():
        pytest.skip("needs ../shared/t4")
    _, points = read_measured(DATA)
    error = [abs(T4.latency_ms(p.graph, p.input_px) / p.ms - 1) for p in points]
    assert 100 * sum(error) / len(error) == pytest.approx(T4.error["fitted_mape_percent"], abs=0.05)


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    devices.add_arguments(parser)
    return devices.run(parser.parse_args(words))


def test_commands_list_show_and_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command() == 0
    assert "t4" in capsys.readouterr().out
    assert command("--json", "list") == 0
    assert "t4" in [item["name"] for item in json.loads(capsys.readouterr().out)]
    assert command("show", "t4") == 0
    assert "kernel_us" in capsys.readouterr().out
    assert command("show", "t4", "--json") == 0
    assert json.loads(capsys.readouterr().out)["name"] == "t4"
    out = tmp_path / "mine.yaml"
    assert command("fit", str(write(tmp_path)), "--out", str(out), "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["networks"]) == 6
    assert load_device(out).name == "mine"
    with pytest.raises(BadInput, match="--out"):
        command("fit", str(tmp_path), "--out", str(tmp_path / "mine.txt"))


def test_a_lowered_architecture_costs_what_its_traced_network_costs() -> None:
    if not DATA.is_dir():
        pytest.skip("needs ../shared/t4")
    from search_spaces.lowering import lower
    from search_spaces.published import PUBLISHED

    with gzip.open(DATA / "graphs.jsonl.gz", "rt") as lines:
        traced = {graph.name: graph for graph in (Graph.from_json(json.loads(line)) for line in lines)}
    for size in "tsl":
        lowered = T4.latency_ms(lower(PUBLISHED[f"damo-yolo-{size}"]), 640)
        assert lowered == pytest.approx(T4.latency_ms(traced[f"DAMO-YOLO{size}"]), rel=0.002)
