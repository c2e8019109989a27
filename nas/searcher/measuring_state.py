"""The file in which a measurement of finalists keeps its rounds, so that it can resume."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from nas.devices.timing import Plan, Rounds
from workbench.doors.json import read_json
from workbench.errors import BadInput
from workbench.files import write_atomic


class MeasuringState:
    """Rounds measured so far, written after each; those of another measurement, or a damaged file, are dropped."""

    def __init__(self, path: Path, key: dict[str, Any]) -> None:
        self.path, self.key = path, json.loads(json.dumps(key))
        self.rounds: Rounds | None = None
        self.warnings: list[str] = []
        if not path.exists():
            return
        try:
            data = read_json(path, "measured rounds")
        except BadInput as error:
            raise BadInput(f"{error}; delete it to measure anew") from error
        if not isinstance(data, dict) or data.get("asked") != self.key:
            return
        if data.get("sum") == _checksum(data.get("rounds"), data.get("warnings")):
            self.rounds = [[tuple(values) for values in rounds] for rounds in data["rounds"]]
            self.warnings = list(data["warnings"])

    def whole(self, plan: Plan) -> bool:
        """Whether nothing is left to measure."""
        return self.rounds is not None and all(len(rounds) >= plan.rounds for rounds in self.rounds)

    def keep(self, rounds: Rounds) -> None:
        """Write the rounds to the file."""
        self.rounds = rounds
        checksum = _checksum(rounds, self.warnings)
        data = {"asked": self.key, "rounds": rounds, "warnings": self.warnings, "sum": checksum}
        write_atomic(self.path, json.dumps(data))

    def keep_warnings(self, warnings: list[str]) -> None:
        """Add the warnings of this process to those of earlier ones."""
        self.warnings += [warning for warning in warnings if warning not in self.warnings]
        self.keep(self.rounds or [])


def _checksum(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
