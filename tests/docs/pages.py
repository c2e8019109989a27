"""What the pages, the README and the help texts show: commands, and code in Python."""

from __future__ import annotations

import importlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tutorial import commands
from nas.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent.parent
OPTIONAL = re.compile(r"\[([^\]]*)\]")
AND_SO_ON = re.compile(r"\s\.\.\.(?=\s|$)")
STANDS_FOR = {
    "MODEL": "yolox-s",
    "STUDENT": "yolox-s",
    "M": "yolox-nano",
    "T": "damo-yolo-l.safetensors",
    "CHECKPOINT": "best.safetensors",
    "PARENT": "best.safetensors",
    "B": "0.5Mparams",
    "RECIPE": "small",
    "R": "small",
    "KEY=VALUE": "lr=0.001",
    "FILE": "damo-yolo-l.safetensors",
    "PATH": "my-data",
    "OUT": "repaired",
    "DATA": "../shared/t4",
    "DIR": "../shared/atlas",
}
"""Words of a page that a reader puts something else for, and what stands there when the command is done. NAME is a run
that is called so."""


@dataclass(frozen=True)
class Shown:
    """A command on a page, ready for ``nas.cli.main``."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        """Without ``nas``, what stands in brackets, a redirection and a pipe; with real names in place of
        placeholders."""
        return self._words(OPTIONAL.sub("", self.text))

    @property
    def all_words(self) -> list[str]:
        """The same with what stands in brackets."""
        return self._words(OPTIONAL.sub(r"\1", self.text))

    @staticmethod
    def _words(text: str) -> list[str]:
        words = shlex.split(AND_SO_ON.sub("", text))[1:]
        ends = [words.index(sign) for sign in (">", "|") if sign in words]
        return [STANDS_FOR.get(word, word) for word in (words[: min(ends)] if ends else words)]

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def pages() -> list[Path]:
    """What people read, the README first."""
    return [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "runs" / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    ]


def named(page: Path) -> str:
    """A page as tests call it."""
    return page.relative_to(ROOT).as_posix()


def shown() -> list[Shown]:
    """Every ``nas`` command, in the order of the pages."""
    found = [Shown(named(page), command) for page in pages() for command in commands(page.read_text(encoding="utf-8"))]
    for name in COMMANDS:
        module = importlib.import_module("nas.commands." + name.replace("-", "_"))
        lines = re.findall(r"^  (nas .*)$", module.__doc__ or "", re.MULTILINE)
        found += [Shown(f"nas {name} --help", re.split(r"\s{2,}|\s\(", line)[0]) for line in lines]
    return found


def blocks(page: Path, language: str) -> list[str]:
    """Code blocks of one language; those without a name have the language ``""``."""
    found = re.findall(r"^```([a-z]*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]
