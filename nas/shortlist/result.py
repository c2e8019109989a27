"""What came of a trained shortlist: who beats whom, in words, as a table and as data."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.budgets import LATENCY, format_cost, quantity_of
from nas.shortlist.rungs import Point, pareto
from workbench.console import table

FORMAT = "nas-trained-1"


@dataclass(frozen=True, slots=True)
class ShortlistEntry:
    """One trained detector. AP (0 to 1) is that of the averaged weights after ``epochs``."""

    name: str
    stock: bool
    ap: float
    cost: float
    epochs: int
    seconds: float
    score: float | None
    checkpoint: str
    """Below the run folder."""

    @property
    def point(self) -> Point:
        """What it is compared by."""
        return Point(self.ap, self.cost)


@dataclass(frozen=True)
class ShortlistResult:
    """``rows`` went to the end, ``dropped`` did not and are not compared with them."""

    folder: Path
    cost_name: str
    epochs: int
    plan: tuple[tuple[int, int], ...]
    """Epoch and number of candidates of each rung."""
    rows: tuple[ShortlistEntry, ...]
    dropped: tuple[ShortlistEntry, ...]
    teachers: tuple[str, ...]

    @property
    def front(self) -> list[str]:
        """Names that nothing else trained beats."""
        return pareto({row.name: row.point for row in self.rows})

    def verdicts(self) -> list[tuple[str, str | None]]:
        """Every stock model with the find that beats it (the most accurate of them), or None."""
        finds = sorted((row for row in self.rows if not row.stock), key=lambda row: -row.ap)
        return [(stock.name, next((find.name for find in finds if find.point.beats(stock.point)), None)) for stock in self.rows if stock.stock]

    def says(self) -> str:
        """What the search was worth, plainly."""
        verdicts = self.verdicts()
        if not verdicts:
            return "no stock model was trained beside the finds, so nothing says what the search was worth"
        beaten, others = [(stock, by) for stock, by in verdicts if by is not None], [stock for stock, by in verdicts if by is None]
        told = [f"{by} beats {stock} (at least as accurate at no greater cost)" for stock, by in beaten]
        if others:
            told.insert(0, f"SEARCH DID NOT BEAT {', '.join(others)}: no trained find is at least as accurate at no greater cost")
        dominated = [row.name for row in self.rows if not row.stock and any(one.stock and one.point.beats(row.point) for one in self.rows)]
        if dominated:
            told.append(f"a stock model beats {', '.join(dominated)}")
        return "\n".join([*told, "one training each: differences as small as those between seeds say nothing (nas distill --control shows them)"])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, as in ``trained.json``."""
        return {
            "format": FORMAT, "folder": str(self.folder), "cost": self.cost_name, "epochs": self.epochs, "teachers": list(self.teachers),
            "rungs": [{"epoch": epoch, "candidates": count} for epoch, count in self.plan], "front": self.front,
            "trained": [_row(row) for row in self.rows], "dropped": [_row(row) for row in self.dropped],
            "against": [{"stock": stock, "beaten_by": by} for stock, by in self.verdicts()],
        }  # fmt: skip

    def to_csv(self) -> str:
        """One row a detector."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("name", "stock", "ap", self.cost_name, "epochs", "seconds", "score", "front", "checkpoint"))
        for row in (*self.rows, *self.dropped):
            writer.writerow((row.name, row.stock, row.ap, row.cost, row.epochs, row.seconds, "" if row.score is None else row.score, row.name in self.front, row.checkpoint))
        return out.getvalue()

    def text(self) -> str:
        """What the terminal shows."""
        rows = [
            [row.name, "stock" if row.stock else "found", row.ap, format_cost(self.cost_name, row.cost), row.epochs, "front" if row.name in self.front else "" if row in self.rows else "dropped"]
            for row in (*sorted(self.rows, key=lambda row: row.cost), *self.dropped)
        ]
        taught = f" with {', '.join(self.teachers)} as teacher" if self.teachers else ""
        lines = [f"trained for {self.epochs} epochs{taught}; rungs: " + ", ".join(f"{count} to epoch {epoch}" for epoch, count in self.plan)]
        lines += [table(["", "", "AP", label(self.cost_name), "epochs", ""], rows), "", self.says()]
        lines.append(f"written to {self.folder}: trained.json, trained.csv, front.png, runs/ (every training with its best.safetensors)")
        return "\n".join(lines)


def label(cost_name: str) -> str:
    """What heads a column of that cost."""
    device = cost_name.partition("@")[2]
    return cost_name if quantity_of(cost_name) != LATENCY else f"latency on {device}" if device else "latency"


def _row(row: ShortlistEntry) -> dict[str, Any]:
    return {
        "name": row.name, "stock": row.stock, "ap": row.ap, "cost": row.cost, "epochs": row.epochs, "seconds": row.seconds, "score": row.score,
        "checkpoint": row.checkpoint,
    }  # fmt: skip
