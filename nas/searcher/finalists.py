"""Finalists of a search with measured times: their order, and FLOPs savings that save no time."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.architecture import Architecture
from workbench.console import cell, table

FORMAT = "nas-measured-1"
NOT_FASTER = "not faster on this device"


@dataclass(frozen=True, slots=True)
class Finalist:
    """One network with its measured time.

    Args:
        searched: Its place before measuring, 0 for the anchor.
        interval_ms: Confidence interval of ``p50_ms``.
        over_ms: By how much it exceeds the latency budget of this machine; None without such a budget.
    """

    name: str
    digest: str
    searched: int
    score: float
    flops: float
    p50_ms: float
    interval_ms: tuple[float, float]
    p95_ms: float
    predicted_ms: float | None
    over_ms: float | None
    architecture: Architecture

    def clearly_faster(self, other: Finalist) -> bool:
        """Whether the intervals do not overlap and this one is faster."""
        return self.interval_ms[1] < other.interval_ms[0]

    def label(self, others: Sequence[Finalist]) -> str:
        """``NOT_FASTER`` and than which network, where fewer FLOPs save no time; else empty.

        Only a saving that could have been seen counts: had time fallen as FLOPs did, the intervals would not overlap.
        Of several such networks, the one with most FLOPs is named.
        """
        high = self.interval_ms[1]
        for other in sorted(others, key=lambda finalist: -finalist.flops):
            share = self.flops / other.flops
            visible = share * other.p50_ms * (high / self.p50_ms) < other.interval_ms[0]
            if share < 1 and visible and not self.clearly_faster(other):
                change = 100 * (self.p50_ms / other.p50_ms - 1)
                took = "as long" if self.interval_ms[0] <= other.interval_ms[1] else f"{change:.1f} % longer"
                return f"{NOT_FASTER}: {100 * (1 - share):.1f} % fewer FLOPs than {other.name}, takes {took}"
        return ""


@dataclass(frozen=True, slots=True)
class Finalists:
    """Finalists in their measured order; ``anchor`` is the published neighbour, measured beside them."""

    hardware: str
    runtime: str
    threads: int
    input_px: int
    budget_ms: float | None
    ranked: tuple[Finalist, ...]
    anchor: Finalist | None
    warnings: tuple[str, ...]

    def labels(self) -> list[str]:
        """One label a ranked finalist, empty where there is nothing to say."""
        everyone = [*self.ranked, *([] if self.anchor is None else [self.anchor])]
        return [finalist.label([other for other in everyone if other is not finalist]) for finalist in self.ranked]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, as in ``measured.json``."""
        labelled = zip(self.ranked, self.labels(), strict=True)
        rows = [
            _row(finalist) | {"rank": place, "label": label}
            for place, (finalist, label) in enumerate(labelled, start=1)
        ]
        return {
            "format": FORMAT,
            "hardware": self.hardware,
            "runtime": self.runtime,
            "threads": self.threads,
            "input_px": self.input_px,
            "budget_ms": self.budget_ms,
            "finalists": rows,
            "anchor": None if self.anchor is None else _row(self.anchor),
            "warnings": list(self.warnings),
        }

    def to_csv(self) -> str:
        """The table of ``measured.csv``."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        names = (
            "rank", "searched", "name", "score", "flops", "p50_ms", "low_ms", "high_ms", "p95_ms", "predicted_ms",
            "over_ms", "label", "digest",
        )  # fmt: skip
        writer.writerow(names)
        for row in self.to_dict()["finalists"]:
            flat = row | {"low_ms": row["interval_ms"][0], "high_ms": row["interval_ms"][1]}
            writer.writerow(["" if flat[name] is None else flat[name] for name in names])
        return out.getvalue()

    def text(self) -> str:
        """A table for the terminal."""
        rows = [
            _cells(place, finalist, label)
            for place, (finalist, label) in enumerate(zip(self.ranked, self.labels(), strict=True), start=1)
        ]
        if self.anchor is not None:
            rows.append(_cells(None, self.anchor, ""))
        header = [
            "rank", "searched", "", "score", "GFLOPs", "predicted ms", "p50 ms", "interval ms", "budget", "",
        ]  # fmt: skip
        lines = [f"measured on {self.hardware}; {self.runtime}; {self.input_px} px, batch 1", table(header, rows)]
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines.append("written to measured.json and measured.csv in the run folder")
        return "\n".join(lines)


def _cells(place: int | None, finalist: Finalist, label: str) -> list[Any]:
    """One row of the table for the terminal."""
    low, high = finalist.interval_ms
    over = finalist.over_ms
    budget = "-" if over is None else "kept" if over <= 0 else f"over by {cell(over)} ms"
    gflops, interval = finalist.flops / 1e9, f"{cell(low)} to {cell(high)}"
    return [
        place, finalist.searched or None, finalist.name, f"{finalist.score:.6g}", gflops, finalist.predicted_ms,
        finalist.p50_ms, interval, budget, label,
    ]  # fmt: skip


def rank(finalists: Sequence[Finalist]) -> list[Finalist]:
    """The measured order.

    Finalists within the budget of this machine stand before those that exceed it, which are ordered by time. Within the
    budget (or without one), a finalist is dominated by each that is clearly faster and scores no less, and those
    dominated by fewer stand first. Ties go to the higher score, then to the earlier place.
    """
    within = [finalist for finalist in finalists if finalist.over_ms is None or finalist.over_ms <= 0]
    dominated = {
        finalist.digest: sum(other.clearly_faster(finalist) and other.score >= finalist.score for other in within)
        for finalist in within
    }
    over = [finalist for finalist in finalists if finalist.over_ms is not None and finalist.over_ms > 0]
    within.sort(key=lambda finalist: (dominated[finalist.digest], -finalist.score, finalist.searched))
    return [*within, *sorted(over, key=lambda finalist: (finalist.p50_ms, finalist.searched))]


def _row(finalist: Finalist) -> dict[str, Any]:
    return {
        "name": finalist.name,
        "digest": finalist.digest,
        "searched": finalist.searched,
        "score": finalist.score,
        "flops": finalist.flops,
        "p50_ms": finalist.p50_ms,
        "interval_ms": list(finalist.interval_ms),
        "p95_ms": finalist.p95_ms,
        "predicted_ms": finalist.predicted_ms,
        "over_ms": finalist.over_ms,
        "architecture": finalist.architecture.to_dict(),
    }
