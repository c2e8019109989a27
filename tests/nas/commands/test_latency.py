"""``nas latency``, ``nas bench`` and ``nas calibrate`` as a person meets them."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nas.cli import main
from nas.devices.model import LatencyModel
from nas.devices.profile import DeviceProfile
from nas.devices.session import choose_target, runtime_text
from search_spaces.graph_builder import GraphBuilder

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
ROOT = Path(__file__).resolve().parents[3]
MODEL = LatencyModel(
    conv_tflops=0.05,
    pointwise_tflops=0.04,
    step_ns=30.0,
    depthwise_goutputs=0.4,
    matmul_tflops=0.03,
    bandwidth_gbs=12.0,
    weight_gbs=8.0,
    memory_gbs=6.0,
    kernel_us=8.0,
    memory_kernel_us=5.0,
    element_bytes=4.0,
)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and two devices of one's own."""
    devices = tmp_path / "devices"
    devices.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_DEVICES", str(devices))
    for name, error in (("board", {"mape_percent": 5.0}), ("bare", {})):
        profile = DeviceProfile(name, f"a {name}", "a runtime", "FP32", 1, 0.1, MODEL, 0.25, error=error)
        (devices / f"{name}.yaml").write_text(profile.to_yaml())
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *args: str) -> Any:
    assert main([*args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def small(name: str = "small.json") -> str:
    g = GraphBuilder(3)
    x = g.conv(-1, 16, 3, 2, act="silu")
    x = g.conv(x, 16, 3, act="relu")
    Path(name).write_text(json.dumps(g.finish([x]).to_json()))
    return name


def strange(name: str = "strange.onnx") -> str:
    """An open batch and size, odd names, and an op that nobody knows."""
    import numpy as np

    helper, proto = onnx.helper, onnx.TensorProto
    weight = onnx.numpy_helper.from_array(np.ones((8, 3, 3, 3), dtype=np.float32), "model/0.w:0")
    nodes = [
        helper.make_node("Conv", ["x", "model/0.w:0"], ["a"], name="//model.0::conv (1)", pads=[1, 1, 1, 1]),
        helper.make_node("FancyAlign", ["a"], ["out"], name="", domain="my.tools"),
    ]
    image = helper.make_tensor_value_info("x", proto.FLOAT, ["n", 3, "h", "w"])
    graph = helper.make_graph(
        nodes, "g", [image], [helper.make_tensor_value_info("out", proto.FLOAT, ["n", 8, "h", "w"])], [weight]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("my.tools", 1)])
    onnx.save(model, name)
    return name


def test_latency_adds_up_and_has_an_interval(capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "latency", "damo-yolo-ns", "--device", "board,bare", "--input", "320")["networks"]
    assert [one["device"] for one in found] == ["board", "bare"]
    one = found[0]
    assert (one["height"], one["width"]) == (320, 320)
    assert one["ms"] == pytest.approx(sum(one["parts_ms"].values()))
    assert one["ms"] == pytest.approx(sum(layer["ms"] for layer in one["layers"]) + one["parts_ms"]["fixed"])
    assert one["interval_ms"][0] < one["ms"] < one["interval_ms"][1]
    assert {"backbone", "neck", "head", "fixed"} == set(one["parts_ms"])
    assert found[1]["interval_ms"] is None and found[1]["ms"] == one["ms"]


def test_latency_is_what_cost_says(capsys: pytest.CaptureFixture[str]) -> None:
    whole = said(capsys, "latency", "damo-yolo-t", "--device", "board")["networks"][0]["ms"]
    assert main(["cost", "damo-yolo-t", "--device", "board", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["costs"]["latency_ms"] == pytest.approx(whole)


def test_layers_and_picture(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", "damo-yolo-ns", small(), "--device", "board", "--layers", "--png", "out.png"]) == 0
    out = capsys.readouterr().out
    assert Path("out.png").read_bytes().startswith(b"\x89PNG")
    assert "all" in out and "layers in order" in out and "wrote out.png" in out
    assert "90 % interval" in out and "mean error of 5.0 %" in out


def test_an_unknown_op_is_named_and_costs_its_traffic(capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "latency", strange(), "--device", "board", "--input", "64")["networks"][0]
    assert found["unknown_ops"] == ["FancyAlign"] and found["height"] == 64
    layer = next(layer for layer in found["layers"] if layer["kind"] == "fancyalign")
    traffic = 2 * 8 * 64 * 64 * 4 / 6e9 * 1e3 + 0.005  # read and written once, at 6 GB/s, and a start-up
    assert layer["ms"] == pytest.approx(traffic, abs=1e-4)
    assert main(["latency", "strange.onnx", "--device", "board"]) == 0
    out = capsys.readouterr().out
    assert "warning: strange has ops that the profiles do not know, costed as memory traffic: FancyAlign" in out
    assert "//model.0::conv (1)" in out and "640 x 640" in out


def test_latency_of_files_and_architectures_needs_no_torch() -> None:
    strange()
    code = (
        "import sys; from nas.cli import main; "
        "code = main(['latency', 'strange.onnx', 'damo-yolo-s', '--device', 'board']); "
        "assert 'torch' not in sys.modules and 'scipy' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def over_reference(row: dict[str, Any]) -> float:
    """The median over rounds of a network's time over that of the reference network."""
    return statistics.median(a / b for a, b in zip(row["rounds_ms"], row["reference_rounds_ms"], strict=True))


def test_bench_measures_in_turns_beside_the_forecast(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["--threads", "1", "--seconds", "0.3", "--rounds", "3", "--quiet"]
    found = said(capsys, "bench", "damo-yolo-ns", small(), "--input", "96", *quick)
    assert found["profile"] is None and found["threads"] == 1 and found["precision"] == "FP32" and found["batch"] == 1
    large, little = found["networks"]
    assert large["name"] == "damo-yolo-ns" and (large["height"], large["width"]) == (96, 96)
    for row in (large, little):
        assert row["interval_ms"][0] < row["p50_ms"] < row["interval_ms"][1]
        assert row["best_ms"] <= row["p50_ms"] and len(row["rounds_ms"]) == 3 and row["runs"] >= 9
        assert row["predicted_ms"] is None and isinstance(row["warnings"], list)
    # The ratio is at one speed of the machine: of times over those of the reference network.
    assert large["p50_ms"] > 3 * little["p50_ms"] and large["ratio"] == 1.0
    assert little["ratio"] == pytest.approx(over_reference(little) / over_reference(large)) and found["speed"] is None
    target = choose_target(threads=1)
    own = DeviceProfile(
        "mine", target.hardware(), runtime_text(target), "FP32", 1, 0.1, MODEL, 0.25, error={"mape_percent": 9.0},
        reference_ms=1e3,
    )  # fmt: skip
    (place / "devices" / "mine.yaml").write_text(own.to_yaml())
    (place / "devices" / "broken.yaml").write_text("name: [")
    found = said(capsys, "bench", "small.json", "--input", "96", *quick)
    row = found["networks"][0]
    assert found["profile"] == "mine" and row["predicted_ms"] > 0.25
    # A profile of this machine at another speed: where the reference network takes a second.
    assert found["speed"] == pytest.approx(1e3 / row["reference_ms"])
    assert row["calibrated_ms"] == pytest.approx(1e3 * over_reference(row))
    assert row["predicted_error_percent"] == pytest.approx(100 * (row["predicted_ms"] / row["calibrated_ms"] - 1))
    assert main(["bench", "small.json", "--input", "96", "--profile", "board", *quick]) == 0
    out = capsys.readouterr().out
    assert "predicted for another device: profile board" in out and "p95 ms" in out


BAD = {
    "no device": (["latency", "damo-yolo-s", "--device", "t5"], "did you mean t4"),
    "empty device": (["latency", "damo-yolo-s", "--device", "t4,,"], "empty name"),
    "picture": (["latency", "damo-yolo-s", "--device", "board", "--png", "x.svg"], "must end in .png"),
    "no model": (["latency", "yolo99", "--device", "board"], "unknown"),
    "no file": (["latency", "nothing.onnx", "--device", "board"], "no such file"),
    "input": (["latency", "damo-yolo-s", "--device", "board", "--input", "100"], "multiple of 32"),
    "corrupt": (["latency", "corrupt.onnx", "--device", "board"], "not an ONNX file"),
    "corrupt bench": (["bench", "corrupt.onnx"], "not an ONNX file"),
    "empty file": (["bench", "empty.onnx"], "no node was found"),
    "no image": (["latency", "table.onnx", "--device", "board"], "image batch"),
    "folder": (["bench", "."], "without best.yaml"),
    "bench device": (["bench", "damo-yolo-s", "--device", "t4"], "cpu or cuda"),
    "bench runtime": (["bench", "damo-yolo-s", "--runtime", "tflite"], "unknown runtime"),
    "bench seconds": (["bench", "damo-yolo-s", "--seconds", "nan"], "seconds"),
    "bench rounds": (["bench", "damo-yolo-s", "--rounds", "2"], "at least 3"),
    "bench profile": (["bench", "damo-yolo-s", "--profile", "t5"], "unknown device"),
    "missing field": (["latency", "damo-yolo-s", "--device", "half.yaml"], "'hardware'"),
    "nan": (["latency", "damo-yolo-s", "--device", "nan.yaml"], "fixed_ms"),
    "name": (["calibrate", "--name", "../x"], "must be letters"),
    "shipped name": (["calibrate", "--name", "t4"], "ships with the workbench"),
    "minutes": (["calibrate", "--minutes", "0"], "minutes"),
    "nan minutes": (["calibrate", "--minutes", "nan"], "minutes"),
    "seed": (["calibrate", "--seed", "-1"], "seed -1"),
    "calibrate device": (["calibrate", "--device", "t4"], "cpu or cuda"),
    "calibrate precision": (["calibrate", "--precision", "FP16"], "FP32"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(
    case: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = Path(strange("whole.onnx")).read_bytes()
    Path("whole.onnx").unlink()
    Path("corrupt.onnx").write_bytes(content[: len(content) // 2])
    Path("empty.onnx").write_bytes(b"")
    rows = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 8])
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    onnx.save(
        onnx.helper.make_model(
            onnx.helper.make_graph([node], "g", [rows], [onnx.helper.make_tensor_value_info("y", 1, [1, 8])])
        ),
        "table.onnx",
    )
    text = (place / "devices" / "board.yaml").read_text()
    Path("half.yaml").write_text("\n".join(line for line in text.splitlines() if not line.startswith("hardware")))
    Path("nan.yaml").write_text(text.replace("fixed_ms: 0.25", "fixed_ms: .nan"))
    before = sorted(place.rglob("*"))
    args, words = BAD[case]
    assert main(args) == 2
    err = capsys.readouterr().err
    lines = [line for line in err.splitlines() if not line.startswith("loading")]
    assert len(lines) == 1 and lines[0].startswith("nas: ") and words in lines[0]
    assert sorted(place.rglob("*")) == before


def test_calibrate_with_too_little_time_says_so_and_keeps_what_it_has(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["calibrate", "--threads", "1", "--minutes", "0.05", "--quiet"]
    assert main(command) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "goes on from here" in err
    journal = place / "devices" / "cpu-1t.measured" / "journal.jsonl"
    first = journal.read_text()
    assert first.count("\n") >= 2
    assert not (place / "devices" / "cpu-1t.yaml").exists()
    assert main([*command[:4], "0.15", "--quiet"]) == 2
    assert journal.read_text().startswith(first) and len(journal.read_text()) > len(first)
