"""The journal of a calibration: measurements on disk as they are made, so that a killed calibration resumes."""

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

    network: str
    number: int
    ms: float
    runs: int


class Journal:
    """Visits so far, one JSON line each after a header; an incomplete last line, as a kill leaves it, is cut off.

    A file with another header belongs to another calibration and is replaced.
    """

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
        """Read the visits of an interrupted calibration with this header; whether there was one."""
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
        """Record a visit."""
        self.visits.append(visit)
        row = {"task": visit.network, "pass": visit.number, "ms": visit.ms, "runs": visit.runs, "spent_s": spent_s}
        self._write(row)

    def fail(self, network: str, reason: str, spent_s: float) -> None:
        """Record a network that this runtime does not run, and why."""
        self.failed[network] = reason
        self._write({"task": network, "failed": reason, "spent_s": spent_s})

    def _write(self, row: dict[str, Any]) -> None:
        self.spent_s = row["spent_s"]
        try:
            self._lines.write(json.dumps(row) + "\n")
            self._lines.flush()
            os.fsync(self._lines.fileno())
        except OSError as error:
            raise BadInput(f"cannot write {str(self.path)!r}: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the file."""
        self._lines.close()

    def times_ms(self) -> dict[str, float]:
        """The fastest visit of every network: disturbances only ever add time."""
        times: dict[str, float] = {}
        for visit in self.visits:
            times[visit.network] = min(visit.ms, times.get(visit.network, math.inf))
        return times

    def noise_percent(self) -> float:
        """The mean difference of consecutive visits to the same network; NaN if none was visited twice."""
        by_network: dict[str, list[float]] = {}
        for visit in self.visits:
            by_network.setdefault(visit.network, []).append(visit.ms)
        logs = [abs(math.log(a / b)) for times in by_network.values() for a, b in itertools.pairwise(times)]
        return 100 * math.expm1(statistics.fmean(logs)) if logs else math.nan


def _is_entry(row: Any) -> bool:
    """Whether a line is one that ``Journal`` writes."""
    if not isinstance(row, dict) or not isinstance(row.get("task"), str) or not _is_time(row.get("spent_s")):
        return False
    if "failed" in row:
        return isinstance(row["failed"], str)
    whole = all(isinstance(row.get(key), int) and row[key] >= 1 for key in ("pass", "runs"))
    return whole and _is_time(row.get("ms")) and row["ms"] > 0


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value >= 0
