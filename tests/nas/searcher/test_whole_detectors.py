"""Searches over whole detectors as users run them: every strategy, files, resuming, and commands on the find."""

from __future__ import annotations

import csv
import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.cli import main
from search_spaces.architecture import Architecture
from search_spaces.tinynas_text import to_text
from tests.nas.process import finish
from tests.nas.process import nas as start_nas
from workbench.errors import BadInput

SPACE = """\
name: whole
style: mixed
act: relu
spp: false
channels: 16
input: [128, 160]
levels: [[8, 16, 32], [8, 16]]
stem: {out: 16..32, focus: true}
stages:
  - {kind: [k1kx, repvgg], stride: 2, out: [32, 48], btn: [16, 32], depth: 1..2}
  - {kind: k1kx, stride: 2, out: 32..64, btn: [16, 48], depth: 1}
  - {kind: k1kx, stride: 2, out: 64, btn: 32..64, depth: 1}
  - kind:
      - {kind: k1kx, btn: 32}
      - {kind: c2f, btn_ratio: 0.5}
    stride: 2
    out: 96
    depth: 1..3
neck:
  out: {8: [32, 48], 16: 64, 32: [64, 96]}
  depth: [0.5, 1.0]
  hidden_ratio: 0.5
head: {classes: 4, reg_max: [0, 7]}
"""
THREE_LEVELS = SPACE.replace("levels: [[8, 16, 32], [8, 16]]\n", "")
BUDGET = ["0.6ms", "2Mparams"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with both spaces."""
    (tmp_path / "whole.yaml").write_text(SPACE)
    (tmp_path / "three.yaml").write_text(THREE_LEVELS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(space: str = "whole.yaml", **options: Any) -> Any:
    settings: dict[str, Any] = {"pictures": False, "quiet": True, "name": "r", "seed": 1, **options}
    return nas.search(BUDGET, "t4", space=space, **settings)


def assert_files_agree(result: Any) -> None:
    """``front.csv``, ``best.yaml`` and ``top/`` say what the result says."""
    best = result.best.architecture
    stored = Architecture.from_yaml((result.folder / "best.yaml").read_text())
    assert stored == best and stored.input_px == best.input_px in (128, 160)
    lines = list(csv.DictReader((result.folder / "front.csv").open()))
    assert len(lines) == len(result.front)
    first = lines[0]
    assert first["digest"] == best.digest()
    assert [first[f"stage{i}.kind"] for i in (1, 4) if i <= len(best.stages)] == [
        best.stages[i].kind for i in (0, 3) if i < len(best.stages)
    ]
    assert int(first["input"]) == best.input_px
    assert float(first["neck.depth"]) == best.neck.depth and int(first["neck.p3"]) == best.neck.out[0]
    assert int(first["head.reg_max"]) == best.head.reg_max
    if "levels" in first:
        assert first["levels"] == "/".join(map(str, best.neck.strides))
        assert (first["neck.p5"] == "") == (len(best.neck.strides) == 2)
    top = sorted((result.folder / "top").iterdir())
    assert top and best.digest() in top[0].name
    assert all(Architecture.from_yaml(file.read_text()).input_px in (128, 160) for file in top)


@pytest.mark.parametrize(
    "strategy", ["exact", "evolution", "random", "tpe", pytest.param("nsga2", marks=pytest.mark.slow)]
)
def test_every_strategy_searches_the_same_genes(strategy: str, folder: Path) -> None:
    sampling: dict[str, Any] = {} if strategy == "exact" else {"steps": 24 if strategy == "tpe" else 160}
    result = run(strategy=strategy, **sampling)
    assert_files_agree(result)
    assert result.problem.score == "maxent" and "reads levels at strides 8, 16 and 32" in result.notes[0]
    text = result.search_text()
    assert f"input: {result.best.architecture.input_px} x" in text and "neck: RepGFPN" in text
    assert (result.certificate is not None) == (strategy == "exact")
    events = list((result.folder / "events").iterdir())
    assert events and all(file.stat().st_size > 0 for file in events)
    data = json.loads(json.dumps(result.to_dict()))
    assert data["best"]["architecture"]["input_px"] == result.best.architecture.input_px
    assert data["best"]["tinynas"] == ""
    with pytest.raises(BadInput):
        to_text(result.best.architecture)


def test_the_proof_is_as_good_as_any_sample(folder: Path) -> None:
    proved = run(strategy="exact")
    sampled = run(strategy="evolution", steps=600, name="e")
    assert proved.certificate["proved"] and proved.certificate["options"] == proved.problem.space.size()
    assert sampled.best.score <= proved.best.score + 1e-9


def test_three_levels_are_scored_by_the_default(folder: Path) -> None:
    result = run("three.yaml")
    assert result.problem.score == "calibrated" and not result.notes
    assert_files_agree(result)
    assert "mAP on VOC" in result.search_text() and "forecast of COCO AP" in result.search_text()


def test_a_side_that_the_search_says_takes_the_place_of_those_of_the_space(folder: Path) -> None:
    result = run("three.yaml", input_px=192)
    assert result.problem.side_of(result.best.architecture) == 192
    assert "input" not in next(csv.reader((result.folder / "front.csv").open()))


@pytest.mark.parametrize("kind", ["evolution", pytest.param("random", marks=pytest.mark.slow)])
def test_a_killed_search_goes_on_to_the_same(kind: str, folder: Path) -> None:
    args = ["search", "--space", "whole.yaml", "--device", "t4", "--budget", "0.6ms", "--strategy", kind]
    args += ["--steps", "1000", "--population", "64", "--no-pictures", "--json", "--quiet"]
    whole = finish(start_nas(*args, "--name", "whole", cwd=folder))
    process = start_nas(*args, "--name", "killed", cwd=folder)
    journal = folder / "runs" / "killed" / "journal.jsonl"
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        if journal.exists() and journal.read_bytes().count(b"\n") >= 2:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    process.communicate()
    again = finish(start_nas(*args, "--name", "killed", cwd=folder))
    assert again["front"] == whole["front"] and again["best"]["digest"] == whole["best"]["digest"]


@pytest.mark.slow
def test_islands_and_workers_search_the_same_genes(folder: Path) -> None:
    pytest.importorskip("ray")
    assert_files_agree(run(strategy="evolution", steps=600, population=32, islands=2, workers=2))


def test_islands_without_ray(folder: Path) -> None:
    assert_files_agree(run(strategy="evolution", steps=600, population=32, islands=2))


def test_commands_use_the_side_of_the_find(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run("three.yaml")
    best, px = str(result.folder / "best.yaml"), result.best.architecture.input_px
    for command in (["show", best], ["latency", best, "--device", "t4"]):
        assert main(command) == 0
        assert f"{px} x {px}" in capsys.readouterr().out
    assert main(["cost", best, "--device", "t4", "--json"]) == 0
    assert result.best.costs["latency_ms"] == pytest.approx(_value(capsys.readouterr().out, "latency_ms"))
    assert main(["score", best, "--score", "calibrated", "--json"]) == 0
    assert result.best.score == pytest.approx(_value(capsys.readouterr().out, "value"))


def _value(text: str, key: str) -> float:
    """The first number of this key in JSON."""
    waiting: list[Any] = [json.loads(text)]
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, dict):
            if isinstance(item.get(key), (int, float)):
                return float(item[key])
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
    raise AssertionError(f"no {key} in {text}")


@pytest.mark.parametrize("name", ["damo", "modern", "nano", "edge-npu"])
def test_shipped_spaces_are_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "show", name]) == 0
    text = capsys.readouterr().out
    assert "neck.p3" in text and "input  " in text and "Neck(" not in text and "inf" not in text
    assert main(["spaces", "show", name, "--json"]) == 0
    assert "input" in json.loads(capsys.readouterr().out)[0]["choices"]


def test_a_grid_reaches_every_variant(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = []
    for grid in ("16", "32"):
        assert main(["spaces", "check", "whole.yaml", "--grid", grid, "--json"]) == 0
        sizes.append(json.loads(capsys.readouterr().out)[0]["size"])
    assert sizes[0] > sizes[1] > 0
