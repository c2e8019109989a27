"""Damaged run folders: whole checksums over another schema, missing files, foreign values."""

from __future__ import annotations

import contextlib
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

from tests.hostile.runner import ANY, Case
from tests.hostile.values import BYTES, JSON, damaged, paths, replaced
from workbench.run_folder import _line

SEARCH = ("search", "--budget", "3ms", "--device", "t4", "--strategy", "random", "--steps", "256", "--population", "64")
SEARCH += ("--name", "s", "--no-pictures", "--quiet")
READERS = (SEARCH, ("show", "runs/s"), ("compare", "runs/s", "--no-zoo", "--quiet"), ("cost", "runs/s"))


def make_search(folder: Path) -> Path:
    """A finished search in ``folder``."""
    from nas.cli import main

    with contextlib.redirect_stdout(io.StringIO()):
        assert main([*SEARCH, "--runs", str(folder / "runs")]) == 0
    return folder / "runs"


def run_cases(folder: Path) -> list[Case]:
    """Cases on copies of a finished search, made in ``folder``."""
    made = make_search(folder)
    journal = (made / "s" / "journal.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in journal]
    result = json.loads((made / "s" / "result.json").read_text())

    def write(file: str, content: bytes | None) -> Callable[[Path], None]:
        def build(place: Path) -> None:
            copytree(made, place / "runs")
            target = place / "runs" / "s" / file
            target.unlink(missing_ok=True)
            if content is not None:
                target.write_bytes(content)

        return build

    cases: list[Case] = []

    def add(name: str, file: str, content: bytes | None) -> None:
        reader = READERS[len(cases) % len(READERS)] if file != "journal.jsonl" else SEARCH
        cases.append(Case(f"runs/{name}", reader, write(file, content), ANY))

    draw = random.Random("runs")
    for name, value in JSON.items():
        for number, record in enumerate(records):
            places = sorted(paths(record["data"]), key=repr)
            for place in draw.sample(places, min(3, len(places))):
                lines = [_line(i + 1, r["kind"], r["data"]) for i, r in enumerate(records)]
                lines[number] = _line(number + 1, record["kind"], replaced(record["data"], place, value))
                add(f"journal-{name}-{number}-{len(cases)}", "journal.jsonl", "".join(lines).encode())
        places = sorted(paths(result), key=repr)
        for place in draw.sample(places, 4):
            add(f"result-{name}-{len(cases)}", "result.json", json.dumps(replaced(result, place, value)).encode())
    for file in sorted(path.name for path in (made / "s").iterdir() if path.is_file() and path.suffix in TEXTS):
        whole = (made / "s" / file).read_bytes()
        add(f"missing-{file}", file, None)
        for name in ("empty", "zeros", "no-utf8", "brackets", "anchors", "escape"):
            add(f"{file}-{name}", file, BYTES[name])
        for seed in range(6):
            add(f"{file}-damaged-{seed}", file, damaged(whole, seed))
    add("other-kind", "journal.jsonl", _line(1, "done", {"x": 1}).encode())
    add("deep", "journal.jsonl", _line(1, "state", _deep(90)).encode())
    add("many", "journal.jsonl", b"".join(_line(i + 1, "x", {}).encode() for i in range(5000)))
    return cases


TEXTS = (".json", ".jsonl", ".yaml", ".csv")


def _deep(levels: int) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for _ in range(levels):
        data = {"a": data}
    return data
