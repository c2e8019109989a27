"""The commands that the pages, the README and the help texts show."""

from __future__ import annotations

import importlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tutorial import commands
from nas.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent.parent
SYNOPSIS = re.compile(r"\[-|\.\.\.(\s|$)|\s[A-Z]{4,}\s|^nas COMMAND")
"""What stands for a form of command and not for one: options in brackets, dots, a placeholder such as STUDENT or PATH."""


@dataclass(frozen=True)
class Shown:
    """A command on a page, ready for ``nas.cli.main``."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        """Without ``nas``, a redirection and a pipe."""
        words = shlex.split(self.text)[1:]
        ends = [words.index(sign) for sign in (">", "|") if sign in words]
        return words[: min(ends)] if ends else words

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def shown() -> list[Shown]:
    """Every command, in the order of the pages."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = [Shown(page.relative_to(ROOT).as_posix(), command) for page in pages for command in commands(page.read_text(encoding="utf-8"))]
    for name in COMMANDS:
        module = importlib.import_module("nas.commands." + name.replace("-", "_"))
        lines = re.findall(r"^  (nas .*)$", module.__doc__ or "", re.MULTILINE)
        found += [Shown(f"nas {name} --help", re.split(r"\s{2,}|\s\(", line)[0]) for line in lines]
    return [one for one in found if not SYNOPSIS.search(one.text)]
