"""A child of AGPL weights, made up: every command that meets it says so, and training it further keeps it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("pycocotools")

from nas.cli import main
from nas.report.cut_text import cut_text
from tests.distill.tiny import furnish, tiny_detector
from tests.nas.process import nas
from tests.zoo.pruning.children import AGPL_LINEAGE, AGPL_PROVENANCE, cut_file
from workbench.events import PNG_SIGNATURE
from zoo.pruning.summary import summarize_cuts
from zoo.resolve import load_checkpoint
from zoo.weights.checkpoint import read_manifest, save

FLAG = "commercial use: flagged: weights under a copyleft licence are in the lineage"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``parent.safetensors``, ``child.safetensors``, data, and the child trained further in ``runs``."""
    folder = tmp_path_factory.mktemp("cut")
    furnish(folder, 12)
    parent = tiny_detector()
    parent.info = dataclasses.replace(parent.info, input_px=64, provenance=AGPL_PROVENANCE, lineage=AGPL_LINEAGE)
    save(parent, folder / "parent.safetensors")
    cut_file(folder / "parent.safetensors", folder / "child.safetensors")
    options = ["--name", "further", "--epochs", "1", "--batch", "4", "--data-workers", "1", "--quiet"]
    done = nas("train", "child.safetensors", "--data", "data", *options, cwd=folder)
    out, err = done.communicate(timeout=300)
    assert done.returncode == 0, err
    (folder / "trained.txt").write_text(out)
    return folder


def test_the_run_ends_with_the_flag_and_its_checkpoint_keeps_cuts_and_lineage(home: Path) -> None:
    assert f"{FLAG} (yolo11n, AGPL-3.0; tiny, AGPL-3.0)" in (home / "trained.txt").read_text()
    child = read_manifest(home / "child.safetensors")
    further = read_manifest(home / "runs" / "further" / "best.safetensors")
    assert further.recipe.cuts == child.recipe.cuts and further.info.lineage == child.info.lineage
    assert further.info.provenance["cut_from"] == child.info.provenance["cut_from"]
    digest = hashlib.sha256((home / "parent.safetensors").read_bytes()).hexdigest()
    assert further.info.provenance["cut_from"]["sha256"] == digest == further.info.lineage[-1]["sha256"]


@pytest.mark.parametrize("file", ["child.safetensors", "runs/further/best.safetensors"])
def test_zoo_show_names_the_cut_and_the_licence(home: Path, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "show", str(home / file)]) == 0
    out = capsys.readouterr().out
    summary = summarize_cuts(read_manifest(home / file).recipe)
    assert summary.text() in out and "commercial use: flagged" in out
    assert "lineage: tiny under AGPL-3.0, its parent, sha256" in out
    assert "lineage: yolo11n under AGPL-3.0, sha256" in out
    assert main(["zoo", "show", str(home / file), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["cut"] == json.loads(json.dumps(summary.to_dict()))
    assert data["commercial_use"]["answer"] == "flagged" and data["cuts"]["skipped"] == list(summary.skipped)


def test_show_draws_the_widths_that_it_has(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, picture = str(home / "child.safetensors"), home / "cuts.png"
    assert main(["show", file, "--device", "t4", "--png", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "cut from tiny: " in out and FLAG in out and "latency on t4" in out
    summary = summarize_cuts(load_checkpoint(file).recipe)
    for module in {width.module for width in summary.widths}:
        widths = " ".join("-" if w.removed else str(w.kept) for w in summary.widths if w.module == module)
        (line,) = [line for line in out.splitlines() if line.startswith(f"{module} ")]
        assert line.endswith(f" {widths}")
    assert all(len(line) <= 110 for line in out.splitlines()[:4])
    assert picture.read_bytes().startswith(PNG_SIGNATURE)
    assert "#####" in cut_text(summary, ascii=True) and cut_text(summary, ascii=True).isascii()
    assert main(["show", file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cut"]["channels_kept"] == summary.channels_kept
    assert main(["show", file, "--yaml"]) == 2
    assert "is a cut network" in capsys.readouterr().err


def test_eval_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["eval", str(home / "runs" / "further" / "best.safetensors"), "--data", str(home / "data")]
    call += ["--data-workers", "1", "--quiet"]
    assert main(call) == 0
    assert FLAG in capsys.readouterr().out
    assert main([*call, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["licence"].startswith(FLAG)


def test_the_comparison_says_so(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(home / name) for name in ("parent.safetensors", "child.safetensors", "runs/further")]
    assert main(["compare", *files, "--no-zoo", "--out", str(tmp_path), "--quiet"]) == 0
    assert "child and further are cut from parent." in capsys.readouterr().out
    for name in ("compare.html", "compare.md"):
        text = (tmp_path / name).read_text()
        assert text.count("cut from parent") >= 3 and FLAG in text
        assert "yours, from yolo11n (AGPL-3.0), tiny (AGPL-3.0)" in text
