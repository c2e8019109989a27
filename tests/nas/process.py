"""The command in a process of its own, as tests kill, interrupt and restart it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def nas(*args: str, cwd: Path, before: Callable[[], object] = lambda: None) -> subprocess.Popen[str]:
    """Start it in ``cwd``, on one thread. It hears Ctrl-C, whatever shell runs the tests; ``before`` is done in it
    first."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def start() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        before()

    return subprocess.Popen(
        [sys.executable, "-m", "nas.cli", *args],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=start,
    )


def finish(process: subprocess.Popen[str], timeout_s: float = 300) -> dict[str, Any]:
    """Wait until it has ended well: the JSON that it printed."""
    out, err = process.communicate(timeout=timeout_s)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    found: dict[str, Any] = json.loads(out)
    return found
