"""Measurements from ``nas bench`` to a file, from the file to a fit."""

from __future__ import annotations

import getpass
import json
import platform
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.cli import main
from nas.devices.measured.exchange_file import read_exchange
from nas.devices.measured.merge import merge_files
from nas.devices.measured.network_hash import network_hash
from search_spaces.graph import Graph
from tests.nas.devices.foreign import chain

pytest.importorskip("onnxruntime")

QUICK: dict[str, Any] = {"threads": 1, "seconds": 0.03, "rounds": 3, "quiet": True}


def saved(folder: Path, width: int, depth: int) -> Path:
    graph = chain(width, depth)
    path = folder / f"chain{width}x{depth}.json"
    path.write_text(json.dumps({**graph.to_json(), "name": path.stem}))
    return path


def test_measured_merged_and_fitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [saved(tmp_path, width, depth) for width in (8, 16, 32) for depth in (1, 2, 3)]
    out = tmp_path / "mine.jsonl.gz"
    first = nas.bench(files, input_px=64, out=out, source="test lab", **QUICK)
    assert first.file == out and "added 9 measurements" in str(first)
    nas.bench(files[0], input_px=96, out=out, source="test lab", **QUICK)
    found = read_exchange(out)
    assert len(found.rows) == 10 and len(found.graphs) == 9
    row = found.rows[0]
    assert row.network == network_hash(chain(8, 1)) and row.input_px == (64, 64) and row.source == "test lab"
    assert row.ms == pytest.approx(first.ms) and len(row.rounds_ms) == 3 and row.runs >= 9
    assert (row.runtime.name, row.runtime.precision, row.runtime.threads) == ("ONNX Runtime", "FP32", 1)
    assert row.protocol.host_work is False and row.protocol.decoding is False and row.protocol.rounds == 3
    assert row.device.processor == "cpu" and row.device.cores and row.tool.startswith("nas-workbench ")
    copy = tmp_path / "copy.jsonl"
    merge_files([out], copy)
    both = merge_files([out, copy], tmp_path / "both.jsonl")
    assert both.duplicates == 10 and (tmp_path / "both.jsonl").read_bytes() == copy.read_bytes()
    profile = tmp_path / "mine.yaml"
    words = ["devices", "fit", str(out), str(copy), "--out", str(profile), "--kind", "cpu", "--json"]
    assert main(words) == 0
    fitted = json.loads(capsys.readouterr().out)["profile"]
    assert fitted["points"] == 10 and fitted["precision"] == "FP32"  # a copy adds no point
    assert fitted["hardware"] == row.device.hardware and fitted["runtime"].endswith(", 1 thread")
    assert main(["devices", "check", str(profile), str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["points"] == 10


def test_nothing_says_whose_machine_it_was(tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    nas.bench(saved(tmp_path, 8, 1), input_px=64, out=out, **QUICK)
    text = out.read_text()
    for secret in (platform.node(), getpass.getuser(), str(tmp_path), str(Path.home())):
        assert f'"{secret}' not in text and f"/{secret}" not in text
    assert json.loads(text.splitlines()[1])["source"] == "unnamed"


def test_a_renamed_network_has_its_hash_a_changed_kernel_has_another() -> None:
    graph = chain(8, 2)
    assert network_hash(Graph(graph.ops, graph.inputs, graph.outputs, "else")) == network_hash(graph)
    assert network_hash(chain(8, 3)) != network_hash(graph) != network_hash(chain(9, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "m.csv"], "must end in .jsonl"),
        (["--source", "me"], "add --out FILE"),
        (["--out", "old.jsonl"], "is not JSON"),
        (["--out", "m.jsonl", "--source", "\x1b[2J"], "cannot be printed"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_measuring(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.jsonl").write_text("notes of mine\n")
    monkeypatch.setattr("nas.devices.bench.bench", lambda *args: pytest.fail("measured"))
    assert main(["bench", "damo-yolo-s", *options]) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err and err.count("\n") == 1 and err.strip().isprintable()
    assert (tmp_path / "old.jsonl").read_text() == "notes of mine\n" and not (tmp_path / "m.jsonl").exists()
