"""``nas show`` in all its spellings, and ``nas board`` from start to Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from nas.cli import main
from nas.devices.profile import load_device
from search_spaces.architecture import Architecture
from search_spaces.lowering import lower
from search_spaces.published import PUBLISHED
from search_spaces.tinynas_text import parse
from workbench.events import PNG_SIGNATURE, EventWriter

ROOT = Path(__file__).parents[3]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "damo-yolo-s", "--device", "t4", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert Architecture.from_dict(data["architecture"]) == PUBLISHED["damo-yolo-s"]
    assert (data["name"], data["input_px"], data["device"], data["scope"]) == ("damo-yolo-s", 640, "t4", "detector")
    assert data["digest"] == PUBLISHED["damo-yolo-s"].digest()
    assert list(data["stages"]) == ["stem", "stage1", "stage2", "stage3", "stage4", "stage5", "neck", "head"]
    assert sum(stage["params"] for stage in data["stages"].values()) == data["costs"]["params"]
    assert data["costs"]["latency_ms"] > sum(stage["ms"] for stage in data["stages"].values())


def test_json_without_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "damo-yolo-ns", "--json", "--input", "416"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["device"] is None and "latency_ms" not in data["costs"] and data["input_px"] == 416


def test_yaml_and_tinynas_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    arch = PUBLISHED["damo-yolo-s"]
    assert main(["show", "damo-yolo-s", "--yaml"]) == 0
    assert Architecture.from_yaml(capsys.readouterr().out) == arch
    for spelling in ("tinynas", "damo"):
        assert main(["show", "damo-yolo-s", "--tinynas", spelling]) == 0
        assert parse(capsys.readouterr().out).stages == arch.stages


def test_png_beside_the_drawing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "best.png"
    assert main(["show", "damo-yolo-t", "--png", str(file), "--device", "t4"]) == 0
    assert file.read_bytes().startswith(PNG_SIGNATURE)
    assert f"wrote {file}" in capsys.readouterr().out
    assert [f.name for f in file.parent.iterdir()] == ["best.png"]


def test_graph_and_what_it_cannot_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "net.json"
    graph = lower(PUBLISHED["damo-yolo-ns"])
    file.write_text(json.dumps(graph.to_json()))
    assert main(["show", str(file), "--device", "t4"]) == 0
    out = capsys.readouterr().out
    assert "total" in out and f"latency on t4: {load_device('t4').latency_ms(graph, 640):.3f} ms" in out
    assert main(["show", str(file), "--yaml"]) == 2
    assert "is a graph, not an architecture" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--png", "x.jpg"], "must end in .png"),
        (["--input", "650"], "multiple of 32"),
        (["--input", "-1"], "at least 1 pixel"),
        (["--device", "nope"], "nope"),
    ],
)
def test_bad_options(words: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "damo-yolo-s", *words]) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1


@pytest.mark.parametrize(("encoding", "plain"), [("ascii", True), ("latin-1", True), ("utf-8", False)])
def test_ascii_where_the_terminal_needs_it(encoding: str, plain: bool) -> None:
    env = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "nas.cli", "show", "damo-yolo-ns"], env=env, capture_output=True, check=True
    )
    assert done.stdout.isascii() is plain


@pytest.mark.parametrize("words", [["nowhere"], ["--port", "0", "."], ["--port", "70000", "."]])
def test_board_refuses(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["board", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_board_refuses_a_taken_port(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["board", ".", "--port", str(port)]) == 2
    out, err = capsys.readouterr()
    assert not out and f"port {port}" in err and "--port" in err and err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("number", "studies"), [(signal.SIGINT, 2), (signal.SIGTERM, 1)])
def test_board_serves_until_interrupted(tmp_path: Path, number: signal.Signals, studies: int) -> None:
    folders = [tmp_path / str(i) / "same-name" for i in range(studies)]
    for folder in folders:
        with EventWriter(folder / "events") as writer:
            writer.scalar("search/best_score", 1.0, 0)
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "nas.cli", "board", *map(str, folders), "--port", str(port)]
    log = tmp_path / "stderr.txt"
    with log.open("w") as errors:
        board = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert board.stdout is not None and f"http://localhost:{port}/" in board.stdout.readline(), log.read_text()
        runs = wait_for_runs(port, studies, board)
        assert len(runs) == studies, f"exit code {board.poll()}\n{log.read_text()}"
        board.send_signal(number)
        assert board.wait(timeout=20) == 0
    finally:
        if board.poll() is None:
            board.kill()
            board.wait()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://localhost:{port}/", timeout=5)
    assert not list(tmp_path.glob("nas-board-*"))


def wait_for_runs(port: int, count: int, board: subprocess.Popen[str]) -> list[str]:
    runs: list[str] = []
    end = time.monotonic() + 60
    while time.monotonic() < end and len(runs) < count and board.poll() is None:
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/data/runs", timeout=5) as answer:
                runs = json.load(answer)
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.3)
    return runs
