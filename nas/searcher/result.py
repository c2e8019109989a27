"""What a search returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.searcher.candidate import Candidate
from nas.searcher.problem import SearchProblem


@dataclass(frozen=True)
class SearchResult:
    """The problem and what was found for it.

    Args:
        folder: The run folder.
        problem: The search problem.
        best: The candidate of the highest score.
        front: The Pareto front, cheapest first: score, costs, digest and row of each architecture.
        anchor: The published detector nearest to the main budget, if there is one of the same style.
        certificate: The proof, where the strategy makes one.
        candidates: Number of candidates evaluated.
        seconds: Time spent, over all runs of the same search.
        settings: The settings as the run folder keeps them.
        notes: Remarks for people.
    """

    folder: Path
    problem: SearchProblem
    best: Candidate
    front: tuple[dict[str, Any], ...]
    anchor: Candidate | None
    certificate: dict[str, Any] | None
    candidates: int
    seconds: float
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()

    @staticmethod
    def of(problem: SearchProblem, data: dict[str, Any], folder: Path, settings: dict[str, Any]) -> SearchResult:
        """Read the result record of a finished run."""
        return SearchResult(
            folder=folder,
            problem=problem,
            best=Candidate.of(data["best"]),
            front=tuple(data["front"]),
            anchor=None if data["anchor"] is None else Candidate.of(data["anchor"]),
            certificate=data["certificate"],
            candidates=data["candidates"],
            seconds=data["seconds"],
            settings=settings,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the stable keys of ``--json``."""
        return {
            "format": "nas-search-1",
            "folder": str(self.folder),
            "best": self.best.to_dict(),
            "anchor": None if self.anchor is None else self.anchor.to_dict(),
            "certificate": self.certificate,
            "front": list(self.front),
            "candidates": self.candidates,
            "seconds": self.seconds,
            "settings": self.settings,
            "notes": list(self.notes),
        }
