"""Hook: ``results.csv``, a row an epoch, for spreadsheets and pandas."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from distill.train.hooks.base import Hook
from workbench.files import write_atomic

if TYPE_CHECKING:
    from distill.train.run_context import Run

RESULTS = "results.csv"
NAMES = {"rate": "lr", "steps_fed": None}
"""Columns that are named differently than in the history; None leaves one out."""


class ResultsCsv(Hook):
    """Writes the file anew after every epoch."""

    def after_epoch(self, run: Run) -> None:
        if run.group.writes:
            write_atomic(run.folder.folder / RESULTS, results_csv(run.progress.history))


def results_csv(history: Sequence[dict[str, Any]]) -> str:
    """One line an epoch: losses and their total, learning rate, speed, and AP and AR where the epoch was evaluated."""
    rows = []
    for record in history:
        row: dict[str, Any] = {}
        for name, value in record.items():
            if name == "losses":
                row |= {f"loss/{loss}": amount for loss, amount in value.items()}
                row["loss/total"] = sum(value.values())
            elif NAMES.get(name, name) is not None:
                row[NAMES.get(name, name) or name] = value
        rows.append(row)
    out = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
