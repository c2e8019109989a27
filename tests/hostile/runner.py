"""Hostile cases, and what a run of one must look like."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_SECONDS = 60.0
MOST_MB = 2560.0
"""Above the memory of a run that only prints its version."""
MOST_LINE = 2000
"""Longest line of an error, in characters."""
ESCAPES = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f\u202a-\u202e\u2066-\u2069]")
REFUSED, ANY = (2,), (0, 1, 2)


@dataclass(frozen=True)
class Case:
    """A command on files that ``build`` writes into an empty folder, where it runs."""

    name: str
    argv: tuple[str, ...]
    build: Callable[[Path], None] = field(default=lambda folder: None, repr=False)
    codes: tuple[int, ...] = REFUSED

    @property
    def kind(self) -> str:
        """The class of the case: what stands before its first slash."""
        return self.name.partition("/")[0]


def file_case(name: str, argv: str, file: str, content: str | bytes, codes: tuple[int, ...] = REFUSED) -> Case:
    """A case of one file; ``{}`` in ``argv`` stands for its name."""
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content

    def build(folder: Path) -> None:
        (folder / file).write_bytes(data)

    return Case(name, tuple(word.replace("{}", file) for word in argv.split()), build, codes)


class Server:
    """Runs cases in a process of their own each; use as a context manager."""

    def __init__(self, seconds: float = MOST_SECONDS) -> None:
        self.seconds = seconds

    def __enter__(self) -> Server:
        command, root = [sys.executable, "-m", "tests.hostile.server"], str(Path(__file__).parents[2])
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root},
            cwd=root,
        )
        self.base_mb: float | None = None
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def ask(self, argv: tuple[str, ...], folder: Path) -> dict[str, Any]:
        """Run a command in ``folder``."""
        assert self.process.stdin is not None and self.process.stdout is not None
        (folder / "own").mkdir(parents=True, exist_ok=True)
        request = {"argv": list(argv), "folder": str(folder), "seconds": self.seconds}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return dict(json.loads(self.process.stdout.readline()))

    def faults(self, case: Case, folder: Path) -> list[str]:
        """Run a case in the empty ``folder``; every promise that it broke, one line each."""
        if self.base_mb is None:
            plain = folder.parent / "plain"
            plain.mkdir()
            self.base_mb = self.ask(("--version",), plain)["mb"]
        folder.mkdir()
        case.build(folder)
        done = self.ask(case.argv, folder)
        texts = {
            name: (folder / "own" / name).read_bytes().decode("utf-8", "backslashreplace") for name in ("out", "err")
        }
        found = []
        if done["late"]:
            found.append(f"ran over {self.seconds:g} s")
        if done["mb"] - self.base_mb > MOST_MB:
            found.append(f"took {done['mb'] - self.base_mb:.0f} MB")
        if "Traceback (most recent call last)" in texts["err"]:
            found.append("traceback: " + " | ".join(texts["err"].strip().splitlines()[-7:]))
        elif done["code"] not in case.codes and not done["late"]:
            found.append(f"exit code {done['code']}: {texts['err'][-200:]!r}")
        if done["code"] == 2 and not error_line(texts["err"]):
            found.append(f"no single line of error: {texts['err'][-300:]!r}")
        for name, text in texts.items():
            if ESCAPES.search(text):
                found.append(f"raw escape on {name}: {text[-200:]!r}")
        strays = (folder / "own" / "strays").read_text(encoding="utf-8")
        if strays:
            found.append(f"strays: {strays.splitlines()[:3]}")
        if (folder / "PAYLOAD").exists():
            found.append("a payload ran")
        return found


def error_line(text: str) -> bool:
    """Whether an error is one line that begins with ``nas``, after the usage where words are wrong."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("usage:", " "))]
    errors = [line for line in lines if re.match(r"nas[ :]", line)]
    return len(errors) == 1 and lines[-1] == errors[0] and len(errors[0]) <= MOST_LINE
