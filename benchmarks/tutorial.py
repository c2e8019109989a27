"""Run every command of a page of the docs, in order, and put what they printed and how long they took into it.

    python benchmarks/tutorial.py docs/tutorial/index.md            # fills the page (idle machine, seed 0)
    python benchmarks/tutorial.py docs/tutorial/index.md --short    # few images, one epoch; writes nothing

The commands are the lines that begin with ``nas`` in the page's code blocks; they run in a fresh folder, beside a copy
of the files that lie beside the page. A command that fails stops it all.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from workbench.files import write_atomic
from workbench.hardware import cpus

BEGIN, END = "<!-- printed: begin -->", "<!-- printed: end -->"
MOST_LINES = 14
"""Of what a command printed, so many lines from its start and its end are kept."""
SHORT = {"--images": "40", "--epochs": "1", "--steps": "2000"}


@dataclass(frozen=True)
class Ran:
    """One command, what it printed, and how long it took."""

    command: str
    printed: str
    seconds: float


def commands(page: str) -> list[str]:
    """The ``nas`` lines of the page's code blocks, without the part that this script writes."""
    own = page.split(BEGIN)[0] + page.partition(END)[2]
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", own, re.MULTILINE | re.DOTALL)
    return [
        line.split(" #")[0].rstrip()
        for block in blocks
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith(("nas ", ".venv/bin/nas "))
    ]


def shortened(command: str) -> str:
    """The same command with little to do."""
    words = shlex.split(command)
    for option, value in SHORT.items():
        if option in words:
            words[words.index(option) + 1] = value
    return shlex.join(words)


def run_all(chosen: list[str], folder: Path) -> list[Ran]:
    """Run the commands in ``folder``; the first that fails ends it, with its output."""
    done = []
    root = Path(__file__).resolve().parent.parent
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    for command in chosen:
        print(f"$ {command}", flush=True)
        began = time.monotonic()
        words = [sys.executable, "-m", "nas.cli", *shlex.split(command)[1:]]
        process = subprocess.run(
            words, cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - began
        if process.returncode:
            raise SystemExit(f"{command} ended with {process.returncode}:\n{process.stdout}{process.stderr[-2000:]}")
        print(f"{process.stdout.rstrip()}\n({seconds:.0f} s)\n", flush=True)
        done.append(Ran(command, process.stdout.rstrip(), seconds))
    return done


def page_text(done: list[Ran]) -> str:
    """What the page shows."""
    total = sum(ran.seconds for ran in done)
    lines = [
        f"Measured on {datetime.date.today():%-d %B %Y}, {cpus()} CPUs, no GPU: {total / 60:.1f} minutes in all.",
        "",
    ]
    for ran in done:
        printed = ran.printed.splitlines()
        if len(printed) > 2 * MOST_LINES:
            printed = [*printed[:MOST_LINES], f"... ({len(printed) - 2 * MOST_LINES} lines)", *printed[-MOST_LINES:]]
        lines += ["```text", f"$ {ran.command}    # {ran.seconds:.0f} s", *printed, "```", ""]
    return "\n".join(lines)


def main() -> None:
    """Run the page; fill it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--short", action="store_true", help="few images, one epoch; the page stays as it is")
    args = parser.parse_args()
    page = args.page.read_text(encoding="utf-8")
    chosen = commands(page)
    with tempfile.TemporaryDirectory() as name:
        for beside in args.page.parent.iterdir():
            if beside.is_file() and beside != args.page:
                shutil.copy(beside, name)
        done = run_all([shortened(command) for command in chosen] if args.short else chosen, Path(name))
    if not args.short:
        head, _, rest = page.partition(BEGIN)
        write_atomic(args.page, f"{head}{BEGIN}\n\n{page_text(done)}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
