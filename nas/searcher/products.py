"""The files of a finished search: front, best architecture, finalists, pictures, TensorBoard events, result."""

from __future__ import annotations

import csv
import io
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import workbench
from nas.budgets import format_cost
from nas.searcher.candidate import Candidate, cost_candidate, nearest_anchor, plain_number
from nas.searcher.evaluator import Evaluator
from nas.searcher.front import Front
from nas.strategies.strategy import SearchState
from search_spaces.architecture import Architecture
from search_spaces.space import Space
from search_spaces.tinynas_text import to_text
from workbench.doors.yaml import yaml_text
from workbench.files import write_atomic
from workbench.run_folder import RunFiles

if TYPE_CHECKING:
    from workbench.events import EventWriter

RUN_FILES = RunFiles(
    "search",
    (
        "front.csv", "front.png", "best.yaml", "best.png", "result.json", "optuna.log*",
        "measured.json", "measured.csv", "measuring.json", "data.png", "report.html", "latency.png",
    ),
    ("top", "events", "trained"),
)  # fmt: skip
"""What a search and the steps after it may leave in a run folder."""


@dataclass(frozen=True)
class Products:
    """Writes the files of a finished search into ``folder``; ``top_k``: number of finalists."""

    folder: Path
    settings: dict[str, Any]
    evaluator: Evaluator
    top_k: int = 5
    pictures: bool = True

    @property
    def score_title(self) -> str:
        """The score as pictures name it."""
        return f"zero-shot score {self.evaluator.score.name}"

    def write(self, search: SearchState, certificate: dict[str, Any] | None, events: EventWriter) -> dict[str, Any]:
        """Write everything; returns the result record."""
        front, space = search.front, self.evaluator.space_costs.space
        lines = front_lines(self.evaluator, front)
        best_arch = space.decode(front.rows[-1], name=self.folder.name)
        best = cost_candidate(self.evaluator, best_arch, "found", float(front.score[-1]))
        anchor = nearest_anchor(self.evaluator)
        write_atomic(self.folder / "front.csv", _front_csv(lines, space))
        provenance = {"settings": self.settings, "versions": versions(), "certificate": certificate}
        top = [space.decode(row) for row in front.rows[::-1][: self.top_k]]
        for place, arch in enumerate(top, start=1):
            write_atomic(self.folder / "top" / f"{place:02d}-{arch.digest()}.yaml", arch.to_yaml())
        write_atomic(self.folder / "best.yaml", _best_yaml(best, provenance))
        result: dict[str, Any] = {
            "best": best.to_dict(),
            "anchor": None if anchor is None else anchor.to_dict(),
            "certificate": certificate,
            "front": lines,
            "candidates": search.candidates,
            "seconds": round(search.seconds, 3),
        }
        if self.pictures:
            self._draw(events, best, anchor, lines, search.candidates)
        self._show(events, best, top, search)
        write_atomic(self.folder / "result.json", json.dumps(result, indent=1, allow_nan=False))
        return result

    def _draw(
        self, events: EventWriter, best: Candidate, anchor: Candidate | None, lines: list[dict[str, Any]], step: int
    ) -> None:
        """``front.png`` and ``best.png``."""
        from nas.report.architecture_plot import architecture_png
        from nas.report.front_plot import front_png
        from nas.report.search_board import Scale

        scale = Scale(self.evaluator.space_costs, self.evaluator.limits[0])
        xs = [scale.of_costs(line) for line in lines]
        references = [] if anchor is None else [(anchor.name, scale.of_costs(anchor.costs), anchor.score)]
        picture = front_png(
            xs, [line["score"] for line in lines], scale.label, best=(xs[-1], lines[-1]["score"]),
            budget_x=scale.budget, references=references, title=self.folder.name, score=self.score_title,
        )  # fmt: skip
        write_atomic(self.folder / "front.png", picture)
        events.image("views/front", picture, step)
        facts = [f"score {best.score:.6g}", *(format_cost(name, value) for name, value in best.costs.items())]
        write_atomic(self.folder / "best.png", architecture_png(best.architecture, ["   ".join(facts)]))

    def _show(self, events: EventWriter, best: Candidate, top: list[Architecture], search: SearchState) -> None:
        """The best architecture, the finalists and the whole front in TensorBoard."""
        from nas.report.search_board import show_embedding, show_finalists

        space_costs = self.evaluator.space_costs
        rows, scores = search.front.rows, search.front.score
        costs = {name: value * space_costs.unit(name) for name, value in space_costs.costs(rows).items()}
        finalists = [
            (arch, float(scores[-place]), {name: float(value[-place]) for name, value in costs.items()})
            for place, arch in enumerate(top, start=1)
        ]
        latencies = list(space_costs.profiles)
        show_finalists(events, finalists, latencies, space_costs.scope, space_costs.input_px, self.pictures)
        show_embedding(events, space_costs.space, rows, scores, costs)
        events.text("best_architecture", "```\n" + best.architecture.to_yaml() + "```", search.candidates)


def front_lines(evaluator: Evaluator, front: Front) -> list[dict[str, Any]]:
    """The front as records, cheapest first: rank, score, costs in base units, digest and row."""
    space_costs = evaluator.space_costs
    costs = space_costs.costs(front.rows)
    lines = []
    for i, row in enumerate(front.rows):
        line: dict[str, Any] = {"rank": len(front.rows) - i, "score": float(front.score[i])}
        line |= {name: plain_number(value[i] * space_costs.unit(name)) for name, value in costs.items()}
        digest = space_costs.space.decode(row).digest()
        lines.append({**line, "digest": digest, "row": [int(v) for v in row]})
    return lines


def versions() -> dict[str, str]:
    """Versions of what computes a search."""
    return {"nas": workbench.__version__, "python": platform.python_version(), "numpy": np.__version__}


def _front_csv(lines: list[dict[str, Any]], space: Space) -> str:
    """One line an architecture: costs and its TinyNAS text, or its genes where that text cannot say all of them."""
    out = io.StringIO()
    names = [name for name in lines[0] if name != "row"]
    writer = csv.writer(out, lineterminator="\n")
    genes = [] if space.is_plain else [name for name, _ in space.gene_choices()]
    writer.writerow([*names, *(genes or ["structure"])])
    for line in reversed(lines):
        if genes:
            structure = list(space.described(line["row"]).values())
        else:
            structure = [" ".join(to_text(space.decode(line["row"])).split())]
        writer.writerow([*(line[name] for name in names), *structure])
    return out.getvalue()


def _best_yaml(best: Candidate, provenance: dict[str, Any]) -> str:
    data = {
        "architecture": best.architecture.to_dict(),
        "score": best.score,
        "costs": best.costs,
        "latency_ms_by_part": best.parts_ms,
        "provenance": provenance,
    }
    return yaml_text(data, default_flow_style=None)
