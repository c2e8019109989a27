"""``nas.score``: zero-shot scores of any network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas.api.arguments import Subject, subjects_of, texts_of
from nas.scores import SCORES, WEIGHTS, ScoreResult, additive_scores, get_score
from workbench.tables import Result, Table


@dataclass(frozen=True)
class ScoreRow:
    """One score of one network."""

    name: str
    score: str
    result: ScoreResult

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with stable keys."""
        return {
            "name": self.name, "score": self.score, "value": self.result.value,
            "per_stage": list(self.result.per_stage), "notes": dict(self.result.notes),
        }  # fmt: skip


@dataclass(frozen=True)
class ScoresResult(Result):
    """Scores network by network, in the order in which they were asked for."""

    rows: tuple[ScoreRow, ...]

    @property
    def value(self) -> float:
        """The first score of the first network."""
        return self.rows[0].result.value

    def to_table(self) -> Table:
        """One row a network and score."""
        rows = [
            [row.name, row.score, f"{row.result.value:.6f}", "  ".join(f"{v:.2f}" for v in row.result.per_stage)]
            for row in self.rows
        ]
        return Table(["", "score", "value", "by level"], rows)

    def to_list(self) -> list[dict[str, Any]]:
        """What ``nas score --json`` prints."""
        return [row.to_dict() for row in self.rows]

    def to_dict(self) -> dict[str, Any]:
        """Scores with their terms and notes."""
        return {"scores": self.to_list()}

    def __str__(self) -> str:
        """The table, and what results mean, for scores that explain theirs."""
        explanations = []
        for row in self.rows:
            explain = get_score(row.score).explain
            if explain is not None:
                explanations.append(f"{row.name}: {explain(row.result)}")
        return "\n".join([str(self.to_table()), *explanations])


def score(
    subject: Subject | Sequence[Subject], score: str | Sequence[str] | None = None, *,
    weights: Sequence[float] = WEIGHTS, input_px: int | None = None, seed: int = 0,
) -> ScoresResult:  # fmt: skip
    """Zero-shot scores; closed forms take milliseconds and no torch, the others build the network and run it.

    Args:
        subject: what ``nas.cost`` takes.
        score: names from ``nas.scores.SCORES``, or ``all``; None: the additive ones.
        weights: stage weights, coarsest last.
        input_px: side of the square input in pixels; None takes each network's own.
        seed: of the scores that run the network.
    """
    names = texts_of(score) or tuple(additive.name for additive in additive_scores())
    scores = [get_score(name) for name in (SCORES if "all" in names else names)]
    rows = []
    for name, network in subjects_of(subject):
        for chosen in scores:
            graph, px = network.score_graph(input_px or network.input_px, chosen.deployed)
            result = chosen(graph, px, **chosen.own(weights=tuple(weights), seed=seed))
            rows.append(ScoreRow(name, chosen.name, result))
    return ScoresResult(tuple(rows))
