"""The journal of a calibration: measurements on disk as they are made, so that a killed calibration resumes.

Every visit has the time of the reference network at the same moment; results are ratios to it, times its median.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import BadInput
from workbench.files import write_atomic


@dataclass(frozen=True)
class Visit:
    """Median time of one network in one pass, and of the reference network between its runs, milliseconds."""

    network: str
    number: int
    ms: float
    runs: int
    reference_ms: float

    @property
    def ratio(self) -> float:
        """The network's time over that of the reference network."""
        return self.ms / self.reference_ms


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
                self.visits.append(Visit(row["task"], row["pass"], row["ms"], row["runs"], row["reference_ms"]))
        return True

    def add(self, visit: Visit, spent_s: float) -> None:
        """Record a visit."""
        self.visits.append(visit)
        row = {"task": visit.network, "pass": visit.number, "ms": visit.ms, "runs": visit.runs}
        self._write(row | {"reference_ms": visit.reference_ms, "spent_s": spent_s})

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

    @property
    def reference_ms(self) -> float:
        """The reference network's time: the median of all visits, the machine's usual speed."""
        return statistics.median(visit.reference_ms for visit in self.visits)

    def times_ms(self) -> dict[str, float]:
        """Time of every network at the machine's usual speed: the median ratio of its visits times the reference."""
        if not self.visits:
            return {}
        reference_ms = self.reference_ms
        by_network = self._by_network(lambda visit: visit.ratio)
        return {name: statistics.median(ratios) * reference_ms for name, ratios in by_network.items()}

    def rounds_ms(self, network: str) -> tuple[float, ...]:
        """Times of the visits to one network at the machine's usual speed, in the order of time."""
        reference_ms = self.reference_ms
        return tuple(visit.ratio * reference_ms for visit in self.visits if visit.network == network)

    def noise_percent(self) -> float:
        """Mean difference of the ratios of consecutive visits to a network; NaN if none was visited twice."""
        return self._mean_difference(lambda visit: visit.ratio)

    def drift_percent(self) -> float:
        """The same of the plain times: with the changes of the machine's speed, which ratios leave out."""
        return self._mean_difference(lambda visit: visit.ms)

    def _mean_difference(self, value: Callable[[Visit], float]) -> float:
        by_network = self._by_network(value)
        logs = [abs(math.log(a / b)) for values in by_network.values() for a, b in itertools.pairwise(values)]
        return 100 * math.expm1(statistics.fmean(logs)) if logs else math.nan

    def _by_network(self, value: Callable[[Visit], float]) -> dict[str, list[float]]:
        """A value of every visit, by network, in the order of time."""
        values: dict[str, list[float]] = {}
        for visit in self.visits:
            values.setdefault(visit.network, []).append(value(visit))
        return values


def _is_entry(row: Any) -> bool:
    """Whether a line is one that ``Journal`` writes."""
    if not isinstance(row, dict) or not isinstance(row.get("task"), str) or not _is_time(row.get("spent_s")):
        return False
    if "failed" in row:
        return isinstance(row["failed"], str)
    whole = all(isinstance(row.get(key), int) and row[key] >= 1 for key in ("pass", "runs"))
    return whole and all(_is_time(row.get(key)) and row[key] > 0 for key in ("ms", "reference_ms"))


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value >= 0
