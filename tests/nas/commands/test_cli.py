"""The command line as a person meets it: help, one-line errors, a real search, kill and resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from nas.cli import COMMANDS, main
from search_spaces.architecture import Architecture

NAS = [sys.executable, "-m", "nas.cli"]


def run(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run([*NAS, *args], capture_output=True, text=True, cwd=cwd, env=env, timeout=120)


def test_help_lists_every_command() -> None:
    done = run("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert command in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "usage: nas" in capsys.readouterr().out


BAD = {
    "unit": (["search", "--budget", "3m"], "no unit I know"),
    "no device": (["search", "--budget", "3ms"], "needs a device"),
    "device": (["search", "--budget", "3ms", "--device", "t5"], "did you mean t4"),
    "space": (["search", "--budget", "3ms", "--device", "t4", "--space", "rez"], "did you mean res"),
    "space file": (["search", "--budget", "3ms", "--device", "t4", "--space", "no/such.yaml"], "cannot read space"),
    "strategy": (["search", "--budget", "3ms", "--device", "t4", "--strategy", "exat"], "did you mean exact"),
    "score": (["search", "--budget", "3ms", "--device", "t4", "--score", "zenn"], "did you mean zen"),
    "contradiction": (["search", "--budget", "2ms", "--budget", "3..4ms", "--device", "t4"], "contradict"),
    "impossible": (["search", "--budget", "1ms", "--device", "t4"], "least reachable is 2.0"),
    "unwritable": (["search", "--budget", "3ms", "--device", "t4", "--runs", "/proc/nope"], "cannot write run folder"),
    "exact deepmad": (
        ["search", "--budget", "3ms", "--device", "t4", "--score", "deepmad", "--strategy", "exact"],
        "not a sum over blocks",
    ),
    "input": (["search", "--budget", "3ms", "--device", "t4", "--input", "100"], "multiple of 32"),
    "weights": (["search", "--budget", "3ms", "--device", "t4", "--weights", "x"], "weights"),
    "weights of the default": (
        ["search", "--budget", "3ms", "--device", "t4", "--weights", "1,1,1"],
        "score 'calibrated' has none",
    ),
    "scope": (["search", "--budget", "3ms", "--device", "t4", "--scope", "head"], "scope"),
    "name": (["search", "--budget", "3ms", "--device", "t4", "--name", "../x"], "plain folder name"),
    "other device": (["search", "--budget", "pi:3ms", "--device", "t4"], "'pi'"),
    "which device": (
        ["search", "--budget", "3ms", "--device", "t4", "--device", "a40"],
        "names no device, and there are 2: write t4:3ms",
    ),
    "device twice": (["search", "--budget", "t4:3ms", "--device", "t4", "--device", "t4"], "named twice"),
    "device of parameters": (
        ["search", "--budget", "t4:9Mparams", "--device", "t4"],
        "only a latency belongs to a device",
    ),
    "model": (["cost", "damo-yolo-x"], "did you mean"),
    "file": (["cost", "nothing.yaml"], "no such file"),
    "spaces": (["spaces", "show"], "needs a space"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_2(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    args, words = BAD[case]
    assert main(args) == 2
    assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").iterdir())
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert words in err


def test_wrong_tinynas_text_and_corrupt_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.txt").write_text("[{'class': 'ConvKXBNRELU', 'in': 3, 'out': 8, 'kk': 3}, {}]")
    assert main(["cost", "net.txt"]) == 2
    assert "'kk'" in capsys.readouterr().err
    search = ["search", "--budget", "3ms", "--device", "t4", "--grid", "32", "--name", "x", "--no-pictures", "--quiet"]
    assert main(search) == 0
    capsys.readouterr()
    journal = tmp_path / "runs" / "x" / "journal.jsonl"
    journal.write_text(journal.read_text().replace("score", "scare", 1))
    assert main(search) == 2
    err = capsys.readouterr().err
    assert "line 1" in err and "--fresh" in err and err.count("\n") == 1


def test_search_end_to_end(tmp_path: Path) -> None:
    done = run("search", "--budget", "3ms", "--device", "t4", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result) == {
        "format",
        "folder",
        "best",
        "anchor",
        "certificate",
        "front",
        "candidates",
        "seconds",
        "settings",
        "notes",
        "forecast",
    }
    assert result["forecast"]["ap_low"] < result["forecast"]["ap"] < result["forecast"]["ap_high"]
    assert result["certificate"]["proved"] and result["certificate"]["front"] == "complete"
    assert result["best"]["costs"]["latency_ms"] <= 3.0
    assert result["best"]["score"] > result["anchor"]["score"]
    assert result["settings"]["score"] == "calibrated", "the default follows the evidence"
    for one in (result["best"], result["anchor"]):
        assert list(one["scores"]) == ["calibrated", "forecast", "maxent"]
        assert one["scores"]["calibrated"] == pytest.approx(one["score"], rel=1e-9)
    folder = tmp_path / result["folder"]
    for name in ("settings.yaml", "journal.jsonl", "front.csv", "front.png", "best.yaml", "best.png", "result.json"):
        assert (folder / name).stat().st_size > 0
    assert list((folder / "events").rglob("*tfevents*"))
    assert len(list((folder / "top").glob("*.yaml"))) == 5
    assert Architecture.load(folder / "best.yaml").digest() == result["best"]["digest"]
    assert yaml.safe_load((folder / "settings.yaml").read_text())["budget"] == ["3ms"]
    again = run("search", "--budget", "3ms", "--device", "t4", "--json", cwd=tmp_path)
    stored = json.loads(again.stdout)
    assert stored["best"] == result["best"] and "finished already" in stored["notes"][0]


def test_the_search_path_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from nas.cli import main; "
        "code = main(['search', '--budget', '3ms', '--device', 't4', '--quiet']); "
        "guests = [m for m in ('torch', 'ray', 'optuna', 'tensorflow', 'onnx') if m in sys.modules]; "
        "assert not guests, guests; sys.exit(code)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("strategy", ["evolution", "random"])
def test_kill_nine_and_resume_to_the_same_answer(strategy: str, tmp_path: Path) -> None:
    args = [
        "search",
        "--budget",
        "3ms",
        "--device",
        "t4",
        "--strategy",
        strategy,
        "--steps",
        "150000",
        "--seed",
        "3",
        "--quiet",
        "--no-pictures",
    ]
    whole = run(*args, "--name", "whole", "--json", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    victim = subprocess.Popen([*NAS, *args, "--name", "killed"], cwd=tmp_path, env=env, stdout=subprocess.DEVNULL)
    journal = tmp_path / "runs" / "killed" / "journal.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and victim.poll() is None and not (journal.exists() and journal.stat().st_size):
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert not (tmp_path / "runs" / "killed" / "best.yaml").exists(), "the victim finished before it was killed"
    with journal.open("ab") as torn:
        torn.write(b'{"n": 99, "kind": "checkp')
    resumed = run(*args, "--name", "killed", "--json", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    first, second = json.loads(whole.stdout), json.loads(resumed.stdout)
    assert first["front"] == second["front"]
    assert first["candidates"] == second["candidates"]
    assert any("resumed after" in note for note in second["notes"])
    assert any("torn" in note for note in second["notes"])


def hear_ctrl_c() -> None:
    """A shell lets its background jobs ignore Ctrl-C, and their children with them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_interrupt_leaves_a_resumable_run(tmp_path: Path) -> None:
    args = [
        "search",
        "--budget",
        "3ms",
        "--device",
        "t4",
        "--strategy",
        "random",
        "--steps",
        "100000000",
        "--name",
        "r",
    ]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen(
        [*NAS, *args], cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c
    )
    journal = tmp_path / "runs" / "r" / "journal.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not journal.exists():
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "resumes from here" in err and "Traceback" not in err
    assert '"kind": "checkpoint"' in journal.read_text()


def test_budgets_without_a_device(tmp_path: Path) -> None:
    done = run("search", "--budget", "20GFLOPs", "--grid", "32", "--scope", "backbone", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "proved best" in done.stdout and "forecast of COCO AP" in done.stdout and "maxent" in done.stdout


def test_a_space_that_ends_elsewhere_is_searched_by_maxent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = yaml.safe_load(
        (Path(__file__).parents[3] / "search_spaces" / "spaces" / "res.yaml").read_text(encoding="utf-8")
    ) | {"name": "shallow", "levels": [8, 16]}
    space["neck"]["out"] = [128, 256]
    (tmp_path / "shallow.yaml").write_text(yaml.safe_dump(space))
    args = [
        "search",
        "--budget",
        "20GFLOPs",
        "--space",
        str(tmp_path / "shallow.yaml"),
        "--grid",
        "32",
        "--runs",
        str(tmp_path),
        "--no-pictures",
    ]
    assert main([*args, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["settings"]["score"] == "maxent" and list(result["best"]["scores"]) == ["maxent"]
    assert any("'shallow'" in note and "calibrated" in note for note in result["notes"]), result["notes"]
    assert main([*args, "--score", "calibrated"]) == 2
    assert "strides 8, 16 and 32" in capsys.readouterr().err


def test_python_api(tmp_path: Path) -> None:
    import nas

    result = nas.search(budget="3ms", device="t4", grid=32, runs=tmp_path, quiet=True)
    assert result.certificate["proved"]
    assert nas.score(result.best.architecture).value == pytest.approx(result.best.score, rel=1e-9)
    assert nas.cost(result.best.architecture, device="t4").costs["latency_ms"] == result.best.costs["latency_ms"]
    assert nas.cost("damo-yolo-s").costs["params"] == 16_242_751


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in COMMANDS)
    assert "budget" in out


def test_an_unknown_option_shows_its_own_command(capsys: pytest.CaptureFixture[str]) -> None:
    for words, usage, nearest in (
        (["search", "--budget", "3ms", "--devise", "t4"], "usage: nas search ", "--device"),
        (["devices", "show", "t4", "--jsn"], "usage: nas devices show ", "--json"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(words)
        error = capsys.readouterr().err
        assert stopped.value.code == 2
        assert error.startswith(usage) and f"did you mean {nearest}?" in error


@pytest.mark.parametrize("output", ["> /dev/full", ">&-"])
def test_output_that_cannot_be_written_is_one_line(output: str) -> None:
    command = f"{sys.executable} -m nas.cli devices {output}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("nas: ") and len(done.stderr.strip().splitlines()) == 1


def test_what_no_command_foresaw_is_one_line_and_a_traceback_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import nas.commands.spaces

    full = OSError(28, "No space left on device", "x")
    for error in (MemoryError(), RecursionError("deep"), full, OverflowError("x")):

        def fail(args: object, error: Exception = error) -> int:
            raise error

        monkeypatch.setattr(nas.commands.spaces, "run", fail)
        monkeypatch.delenv("NAS_DEBUG", raising=False)
        assert main(["spaces"]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
        monkeypatch.setenv("NAS_DEBUG", "1")
        with pytest.raises(type(error)):
            main(["spaces"])
