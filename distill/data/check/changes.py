"""The list of what a repair changed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = "nas-repair-1"
DROPPED = "left out"


@dataclass(frozen=True, slots=True)
class Change:
    """One change, and why."""

    split: str
    code: str
    """Of the finding."""
    where: str
    before: Any
    after: Any

    def lines(self) -> str:
        """As a diff shows it."""
        new = "" if self.after == DROPPED else f"+ {self.split} {self.where}: {_text(self.after)}\n"
        return f"# {self.code}\n- {self.split} {self.where}: {_text(self.before)}\n{new}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "split": self.split, "code": self.code, "where": self.where, "before": self.before, "after": self.after,
        }  # fmt: skip


def _text(value: Any) -> str:
    return " ".join(f"{v:.6g}" for v in value) if isinstance(value, list) else str(value)


def write_changes(changes: Sequence[Change], folder: Path) -> None:
    """Write ``changes.json`` and ``changes.diff``."""
    counts = dict(Counter(change.code for change in changes))
    data = {"format": FORMAT, "counts": counts, "changes": [change.to_dict() for change in changes]}
    (folder / "changes.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    (folder / "changes.diff").write_text("".join(change.lines() for change in changes), encoding="utf-8")
