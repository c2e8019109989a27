"""Whatever a command raises, the command line ends with one printable line and exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas import cli
from nas.commands import spaces


def outcome(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Exit code and standard error of a command that raises ``error``."""

    def fail(args: object) -> int:
        raise error

    monkeypatch.setattr(spaces, "run", fail)
    return cli.main(["spaces"]), capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(28, "No space left on device", "a\x1b[2J"), r"nas: 'a\x1b[2J': No space left on device"),
        (MemoryError(), "nas: out of memory"),
        (RecursionError(), "nas: the input is nested too deeply"),
        (UnicodeEncodeError("ascii", "é", 0, 1, "no"), "nas: UnicodeEncodeError:"),
        (KeyError("x\x1b\n"), "nas: internal error, please report it: KeyError:"),
    ],
)
def test_one_line_and_two(
    error: Exception, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NAS_DEBUG", raising=False)
    code, said = outcome(error, monkeypatch, capsys)
    assert code == 2 and said.startswith(text) and said.endswith("(NAS_DEBUG=1 shows where)\n")
    assert said.count("\n") == 1 and said.strip().isprintable()
    monkeypatch.setenv("NAS_DEBUG", "1")
    with pytest.raises(type(error)):
        outcome(error, monkeypatch, capsys)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_and_closed_outputs() -> None:
    root = str(Path(cli.__file__).parents[1])
    for ends, code, line in (
        ("> /dev/full", 2, "No space left"),
        (">&-", 2, "closed"),
        ("2>&-", 0, ""),
        (">&- 2>&-", 2, ""),
    ):
        command = f"{sys.executable} -m nas.cli spaces {ends}"
        environment = {**os.environ, "PYTHONPATH": root}
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment)
        assert done.returncode == code, done
        assert line in done.stderr and done.stderr.count("\n") <= 1 and "Traceback" not in done.stderr
