"""``nas devices``: list, show, fit, check, through the command line; hostile input is one line and code 2."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from nas.cli import main
from nas.devices.measured.ops import read_ops
from nas.devices.profile import load_device
from tests.nas.devices.test_latency_fit import write

T4 = load_device("t4")


def said(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["devices", *map(str, words)]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line on stderr; nothing on stdout."""
    assert main(["devices", *map(str, words)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("nas: ") and err.count("\n") == 1
    return err


def test_list_shows_every_device_with_its_error(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys)
    for name in ("t4", "a40", "v100", "raspberry-pi-5", "khadas-vim3-npu"):
        assert name in text
    listed = {item["name"]: item for item in json.loads(said(capsys, "--json", "list"))}
    assert listed["t4"]["error"]["mape_percent"] == T4.error["mape_percent"]


def test_show_prints_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert "kernel_us" in said(capsys, "show", "t4")
    assert json.loads(said(capsys, "show", "t4", "--json"))["name"] == "t4"
    picture = tmp_path / "t4.png"
    said(capsys, "show", "t4", "--png", picture, "--data", write(tmp_path))
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 10_000


def test_fit_writes_a_profile_that_loads_and_says_how_it_was_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.yaml"
    found = json.loads(
        said(capsys, "fit", write(tmp_path), "--out", out, "--kind", "cpu", "--hardware", "A box", "--json")
    )
    assert len(found["forecasts"]) == 6
    mine = load_device(out)
    assert mine.name == "mine" and mine.hardware == "A box"
    assert mine.command == f"nas devices fit {tmp_path} --out {out} --kind cpu --hardware 'A box' --precision FP16"
    assert "family2" in said(capsys, "fit", tmp_path, "--out", out)


def test_fit_on_a_table_of_ops_finds_a_device_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    file = tmp_path / "ops.csv"

    def store(ms: np.ndarray) -> None:
        lines = ["type,batch,cin,h,w,cout,k,stride,fused_add,latency_ms"]
        lines += [
            f"Regular,1,{cin},{side},{side},{cout},{k},1,0,{value:.7f}"
            for (cin, cout, side, k), value in zip(shapes, ms, strict=True)
        ]
        file.write_text("\n".join(lines) + "\n")

    choices = ([16, 32, 64, 96, 128, 192, 256, 512], [16, 64, 256, 512], [10, 20, 40, 80], [1, 3])
    shapes = [tuple(int(rng.choice(values)) for values in choices) for _ in range(300)]
    store(np.ones(300))
    store(T4.model.op_ms(read_ops(file).table))
    found = json.loads(said(capsys, "fit", file, "--out", tmp_path / "gpu.yaml", "--json"))
    error = found["profile"]["error"]
    assert found["profile"]["points"] == 300 and 30 < len(found["forecasts"]) < 90
    assert error["mape_percent"] < 5 and error["mape_percent_channels_held_out"] < 10
    judged = json.loads(said(capsys, "check", tmp_path / "gpu.yaml", file, "--json"))
    assert judged["points"] == 300 and judged["mape_percent"] < 5


def test_check_judges_without_fitting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, "check", "t4", write(tmp_path, slower=2.0), "--json", "--worst", 2))
    assert found["mape_percent"] == pytest.approx(50, abs=0.01) and found["kendall_tau"] == 1
    assert found["device"] == "t4" and found["column"] == "my_ms" and len(found["worst"]) == 2
    assert set(found["mape_percent_by_family"]) == {"family0", "family1", "family2"}
    text = said(capsys, "check", "t4", tmp_path)
    assert "worst predictions" in text and "family1" in text


def test_check_reads_the_column_that_the_profile_was_fitted_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write(tmp_path) / "latency.csv"
    head, *rows = table.read_text().splitlines()
    table.write_text(
        "\n".join(
            [
                head.replace("my_ms", "other_ms") + ",nvidia_a40_gpu_tensorrt_ms",
                *(f"{row},{row.split(',')[3]}" for row in rows),
            ]
        )
        + "\n"
    )
    found = json.loads(said(capsys, "check", "a40", tmp_path, "--json"))
    assert found["column"] == "nvidia_a40_gpu_tensorrt_ms"
    assert "exactly one *_ms column" in refused(capsys, "check", "t4", tmp_path)


def test_hostile_input_is_one_line_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path)
    out = tmp_path / "out.yaml"
    good = (folder / "latency.csv").read_text()
    for text, message in (
        (good + "net0,family0,640,nan\n", "line 8: my_ms='nan'"),
        (good + "net0,family0,640,-2\n", "my_ms='-2'"),
        ("", "empty"),
    ):
        (folder / "latency.csv").write_text(text)
        assert message in refused(capsys, "fit", folder, "--out", out)
        assert message in refused(capsys, "check", "t4", folder)
    (folder / "latency.csv").write_text(good)
    assert "must end in .yaml" in refused(capsys, "fit", folder, "--out", tmp_path / "out.txt")
    assert "--batch 0" in refused(capsys, "fit", folder, "--out", out, "--batch", 0)
    assert "--worst -1" in refused(capsys, "check", "t4", folder, "--worst", -1)
    assert "kind of device 'tpu'" in refused(capsys, "fit", folder, "--out", out, "--kind", "tpu")
    assert "precision 'FP9'" in refused(capsys, "fit", folder, "--out", out, "--precision", "FP9")
    assert "must end in .png" in refused(capsys, "show", "t4", "--png", tmp_path / "x.jpg", "--data", folder)
    assert not out.exists()


@pytest.mark.parametrize("change", ["missing", "nan", "text"])
def test_a_broken_profile_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str) -> None:
    data = T4.to_dict()
    if change == "missing":
        del data["model"]["kernel_us"]
    else:
        data["model"]["kernel_us"] = float("nan") if change == "nan" else "quick"
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(data))
    for words in (("show", tmp_path / "bad.yaml"), ("check", tmp_path / "bad.yaml", tmp_path)):
        assert "kernel_us" in refused(capsys, *words)


def test_a_picture_needs_its_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = T4.to_dict() | {"command": ""}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(data))
    assert "name them with --data" in refused(capsys, "show", tmp_path / "own.yaml", "--png", tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()
