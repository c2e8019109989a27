"""What a calibration has measured so far, on disk from the moment it is there: a killed one goes on where it stood."""

from __future__ import annotations

import itertools
import json
import math
import os
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import BadInput
from workbench.files import write_atomic


@dataclass(frozen=True)
class Visit:
    """Median time of one network in one pass, milliseconds."""

    task: str
    number: int
    ms: float
    runs: int


class Journal:
    """Visits so far, one JSON line each after a header; a torn last line, as a kill leaves it, is cut off."""

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path = path
        self.visits: list[Visit] = []
        self.failed: dict[str, str] = {}
        self.spent_s = 0.0
        plain = json.loads(json.dumps(header))  # as it will be read back
        self.resumed = self._read(plain)
        if not self.resumed:
            write_atomic(path, json.dumps(plain) + "\n")
        self._lines = path.open("a", encoding="utf-8")

    def _read(self, header: dict[str, Any]) -> bool:
        """Whether the file holds the beginnings of this very calibration, which are then taken over."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise BadInput(f"cannot read {str(self.path)!r}: {error.strerror or error}") from error
        whole = text[: text.rfind(b"\n") + 1]
        try:
            rows = [json.loads(line) for line in whole.decode("utf-8").splitlines()]
        except ValueError:
            return False
        if not rows or rows[0] != header or not all(_is_entry(row) for row in rows[1:]):
            return False
        if len(whole) != len(text):
            write_atomic(self.path, whole)
        for row in rows[1:]:
            self.spent_s = float(row["spent_s"])
            if "failed" in row:
                self.failed[row["task"]] = row["failed"]
            else:
                self.visits.append(Visit(row["task"], row["pass"], row["ms"], row["runs"]))
        return True

    def add(self, visit: Visit, spent_s: float) -> None:
        """One more figure."""
        self.visits.append(visit)
        self._write({"task": visit.task, "pass": visit.number, "ms": visit.ms, "runs": visit.runs, "spent_s": spent_s})

    def fail(self, task: str, reason: str, spent_s: float) -> None:
        """A network that this runtime does not run, and why."""
        self.failed[task] = reason
        self._write({"task": task, "failed": reason, "spent_s": spent_s})

    def _write(self, row: dict[str, Any]) -> None:
        self.spent_s = row["spent_s"]
        try:
            self._lines.write(json.dumps(row) + "\n")
            self._lines.flush()
            os.fsync(self._lines.fileno())
        except OSError as error:
            raise BadInput(f"cannot write {str(self.path)!r}: {error.strerror or error}") from error

    def close(self) -> None:
        """Let go of the file."""
        self._lines.close()

    def figures(self) -> dict[str, float]:
        """The lowest of every network's visits, ms: what disturbs a measurement only ever adds to it."""
        found: dict[str, float] = {}
        for visit in self.visits:
            found[visit.task] = min(visit.ms, found.get(visit.task, math.inf))
        return found

    def noise_percent(self) -> float:
        """By how much two visits to the same network differ, on average; NaN where nothing was visited twice."""
        by_task: dict[str, list[float]] = {}
        for visit in self.visits:
            by_task.setdefault(visit.task, []).append(visit.ms)
        apart = [abs(math.log(a / b)) for found in by_task.values() for a, b in itertools.pairwise(found)]
        return 100 * math.expm1(statistics.fmean(apart)) if apart else math.nan


def _is_entry(row: Any) -> bool:
    """Whether a line is one that this class writes."""
    if not isinstance(row, dict) or not isinstance(row.get("task"), str) or not _at_least_0(row.get("spent_s")):
        return False
    if "failed" in row:
        return isinstance(row["failed"], str)
    whole = all(isinstance(row.get(key), int) and row[key] >= 1 for key in ("pass", "runs"))
    return whole and _at_least_0(row.get("ms")) and row["ms"] > 0


def _at_least_0(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value >= 0
