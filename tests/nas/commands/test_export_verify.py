"""``nas export --verify`` as a user runs it: what it prints, its exit codes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("pycocotools")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from distill.data.synthetic.synth import make
from nas.cli import main
from tests.distill.taught import FIRST, overflowing, taught, untaught, write_pictures
from zoo.weights.checkpoint import save


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, a detector that knows them, the same with numbers too large for FP16, and one that has learned
    nothing."""
    folder = tmp_path_factory.mktemp("home")
    write_pictures(folder / "pictures")
    save(taught(), folder / "taught.safetensors")
    save(overflowing(taught()), folder / "large.safetensors")
    save(untaught(), folder / "fresh.safetensors")
    return folder


@pytest.fixture(autouse=True)
def _there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def nas_export(model: str, *args: str) -> int:
    return main(["export", model, "--format", "onnx", *args])


def test_verified(capsys: pytest.CaptureFixture[str]) -> None:
    assert nas_export("taught.safetensors", "--nms", "--verify", "pictures", "--json") == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert main(["eval", "taught.safetensors", "--data", "pictures", "--json", "--data-workers", "0"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    found = report["verify"]
    assert (
        found["ap"] == {"torch": evaluated["ap"], "file": pytest.approx(evaluated["ap"], abs=1e-6)}
        and evaluated["ap"] > 0.8
    )
    assert (
        found["ap50"]["torch"] == evaluated["ap50"]
        and found["images"] == 16
        and found["ap_tolerance"] == 0.001
        and not found["drifts"]
    )
    assert found["repaired"] == [] and found["before_repair"] is None and report["keep"] == []
    assert Path(report["file"]).is_file() and "writing" in err


def test_repaired(capsys: pytest.CaptureFixture[str]) -> None:
    assert nas_export("large.safetensors", "--half", "--verify", "pictures", "--quiet") == 0
    out, err = capsys.readouterr()
    assert err == "" and f"repaired: {FIRST}.conv in FP32" in out and "verified" in out and "DRIFTS" not in out
    lines = {line.split("  ")[0]: line.split() for line in out.splitlines()}
    ap, before, after = (float(lines[name][-3]) for name in ("torch", "file before the repair", "file"))
    assert ap > 0.8 and before == 0.0 and abs(after - ap) <= 0.005
    # The layer can be named from the start; without --verify nothing is repaired.
    assert nas_export("large.safetensors", "--half", "--fp32-layers", FIRST, "--quiet") == 0
    assert nas_export("large.safetensors", "--half", "--quiet") == 1
    assert "NaN or infinite" in capsys.readouterr().out


def test_what_still_drifts_says_why_and_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--half", "--fp32-layers", FIRST, "--tolerance", "0", "--verify", "pictures", "--quiet"]
    assert nas_export("large.safetensors", *args) == 1
    out = capsys.readouterr().out
    assert (
        "not repaired: with every layer in FP32" in out
        and "DRIFTS: boxes on synthetic scenes differ by" in out
        and "\nverified" not in out
    )
    assert nas_export("large.safetensors", *args, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert (
        report["verify"]["drifts"]
        and report["verify"]["reasons"]
        and report["verify"]["note"]
        and report["keep"] == [FIRST]
    )


def test_an_untrained_detector_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert nas_export("fresh.safetensors", "--verify", "pictures", "--quiet") == 0
    assert "AP says nothing here" in capsys.readouterr().out


BAD: dict[str, tuple[list[str], str]] = {
    "tolerance alone": (["--ap-tolerance", "0.01"], "give both or neither"),
    "negative tolerance": (["--verify", "pictures", "--ap-tolerance", "-1"], "AP tolerance -1.0 must be"),
    "no data": (["--verify", "nowhere"], "nowhere"),
    "other classes": (["--verify", "shapes"], "is unknown to the model"),
    "layer": (["--half", "--fp32-layers", "backbone.stem"], "unknown layer"),
    "layer without half": (["--fp32-layers", FIRST], "without --half"),
    "tinynas": (["--format", "tinynas", "--verify", "pictures"], "cannot run"),
    "half torchscript": (["--format", "torchscript", "--half", "--verify", "pictures"], "written in FP32"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(
    case: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args, words = BAD[case]
    if not (home / "shapes").exists():
        make(home / "shapes", 8, 0)
    before = sorted(home.iterdir())
    assert (
        nas_export(
            "taught.safetensors", "--quiet", "--out", "bad.onnx" if "--format" not in args else "bad.torchscript", *args
        )
        == 2
    )
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("nas: ") and err.count("\n") == 1 and words in err
    assert sorted(home.iterdir()) == before
