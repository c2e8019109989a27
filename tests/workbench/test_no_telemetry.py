"""Nothing leaves the machine: telemetry of other packages is off, and a traced command connects to nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.no_telemetry import SWITCHES


def test_the_switches_are_set_when_anything_is_imported() -> None:
    code = f"import nas, os; print(all(os.environ.get(k) == v for k, v in {SWITCHES!r}.items()))"
    clean = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    done = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize(
    "command", ["export yolox-nano --format onnx --input 64", "bench yolox-nano --input 64 --seconds 1"]
)
def test_a_command_connects_to_nothing_and_leaves_no_stray_files(command: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("torch")
    for folder in ("home", "tmp", "work"):
        (tmp_path / folder).mkdir()
    clean = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    environment = {**clean, "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}
    trace = tmp_path / "trace"
    words = ["strace", "-f", "-e", "trace=connect", "-o", str(trace), sys.executable, "-m", "nas.cli", *command.split()]
    done = subprocess.run(words, cwd=tmp_path / "work", env=environment, capture_output=True, text=True)
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    calls = [line for line in trace.read_text().splitlines() if "connect(" in line and "AF_UNIX" not in line]
    assert not calls
    assert not [path for folder in ("home", "tmp") for path in (tmp_path / folder).rglob("*") if path.is_file()]
