"""The result of a trained shortlist: which models dominate which, as text, table and data."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.budgets import LATENCY, format_cost, quantity_of
from nas.shortlist.rungs import Point, pareto
from workbench.tables import Result, Table

FORMAT = "nas-trained-1"


@dataclass(frozen=True, slots=True)
class ShortlistEntry:
    """One trained detector; AP (0 to 1) is that of the averaged weights after ``epochs``."""

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
        """AP and cost, by which it is compared."""
        return Point(self.ap, self.cost)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "name": self.name,
            "stock": self.stock,
            "ap": self.ap,
            "cost": self.cost,
            "epochs": self.epochs,
            "seconds": self.seconds,
            "score": self.score,
            "checkpoint": self.checkpoint,
        }


@dataclass(frozen=True)
class ShortlistResult(Result):
    """``rows`` were trained to the end; ``dropped`` were not, and are not compared with them."""

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
        """Names that nothing else trained to the end dominates."""
        return pareto({row.name: row.point for row in self.rows})

    def beaten_by(self) -> list[tuple[str, str | None]]:
        """Every stock model with the most accurate candidate that dominates it, or None."""
        candidates = sorted((row for row in self.rows if not row.stock), key=lambda row: -row.ap)
        return [
            (stock.name, next((row.name for row in candidates if row.point.dominates(stock.point)), None))
            for stock in self.rows
            if stock.stock
        ]

    def summary(self) -> str:
        """Whether the search found better models than the stock ones."""
        pairs = self.beaten_by()
        if not pairs:
            return "no stock model was trained beside the candidates, so nothing says what the search was worth"
        beaten = [(stock, by) for stock, by in pairs if by is not None]
        lines = [f"{by} beats {stock} (at least as accurate at no greater cost)" for stock, by in beaten]
        unbeaten = [stock for stock, by in pairs if by is None]
        if unbeaten:
            reason = "no trained candidate is at least as accurate at no greater cost"
            lines.insert(0, f"SEARCH DID NOT BEAT {', '.join(unbeaten)}: {reason}")
        stock_rows = [row for row in self.rows if row.stock]
        dominated = [
            row.name
            for row in self.rows
            if not row.stock and any(stock.point.dominates(row.point) for stock in stock_rows)
        ]
        if dominated:
            lines.append(f"a stock model beats {', '.join(dominated)}")
        seeds = "differences as small as those between seeds mean nothing (nas distill --control shows them)"
        return "\n".join([*lines, f"one training each: {seeds}"])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, as in ``trained.json``."""
        return {
            "format": FORMAT,
            "folder": str(self.folder),
            "cost": self.cost_name,
            "epochs": self.epochs,
            "teachers": list(self.teachers),
            "rungs": [{"epoch": epoch, "candidates": count} for epoch, count in self.plan],
            "front": self.front,
            "trained": [row.to_dict() for row in self.rows],
            "dropped": [row.to_dict() for row in self.dropped],
            "against": [{"stock": stock, "beaten_by": by} for stock, by in self.beaten_by()],
        }

    def to_csv(self) -> str:
        """One line per detector."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        header = ("name", "stock", "ap", self.cost_name, "epochs", "seconds", "score", "front", "checkpoint")
        writer.writerow(header)
        for row in (*self.rows, *self.dropped):
            score = "" if row.score is None else row.score
            figures = (row.ap, row.cost, row.epochs, row.seconds, score)
            writer.writerow((row.name, row.stock, *figures, row.name in self.front, row.checkpoint))
        return out.getvalue()

    def to_table(self) -> Table:
        """Header and one row per detector, by cost, those that were dropped last."""
        front = self.front
        rows = []
        for row in (*sorted(self.rows, key=lambda row: row.cost), *self.dropped):
            kind, cost = "stock" if row.stock else "found", format_cost(self.cost_name, row.cost)
            place = "front" if row.name in front else "" if row in self.rows else "dropped"
            rows.append([row.name, kind, row.ap, cost, row.epochs, place])
        return Table(["", "", "AP", cost_label(self.cost_name), "epochs", ""], rows)

    def __str__(self) -> str:
        teachers = f" with {', '.join(self.teachers)} as teacher" if self.teachers else ""
        rungs = ", ".join(f"{count} to epoch {epoch}" for epoch, count in self.plan)
        picture = "front.png, " if (self.folder / "front.png").is_file() else ""
        files = f"trained.json, trained.csv, {picture}runs/ (every training with its best.safetensors)"
        return "\n".join([
            f"trained for {self.epochs} epochs{teachers}; rungs: {rungs}",
            str(self.to_table()),
            "",
            self.summary(),
            f"written to {self.folder}: {files}",
        ])  # fmt: skip


def cost_label(cost_name: str) -> str:
    """The heading of a column with that cost."""
    if quantity_of(cost_name) != LATENCY:
        return cost_name
    device = cost_name.partition("@")[2]
    return f"latency on {device}" if device else "latency"
