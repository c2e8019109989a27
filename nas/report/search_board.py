"""What a search shows in TensorBoard besides its curves: the front as it grew, and every finalist from all sides."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.budgets import format_cost
from nas.report.graph_nodes import graph_nodes
from nas.report.plots import architecture_png, front_png
from search_spaces.architecture import Architecture
from search_spaces.lowering import lower
from search_spaces.space import Space

if TYPE_CHECKING:
    from nas.costs import SpaceCosts
    from nas.searcher.evaluator import Limit
    from nas.searcher.front import Front
    from workbench.events import EventWriter

FIRST_FRAME_S, GROWTH, DRAWING_SHARE = 2.0, 1.6, 0.05
"""The first picture of the growing front comes after so many seconds, the next ones after so many times the last moment;
and none while pictures have taken more than this share of the time."""
MOST_EMBEDDED = 2000
"""Points of the Projector tab; a longer front is thinned to about so many."""


class Scale:
    """The primary cost as an axis: its label, and what a whole number of it is in the label's unit."""

    def __init__(self, rulers: SpaceCosts, limit: Limit) -> None:
        label = {"flops": "GFLOPs", "params": "parameters (M)", "act_bytes": "activations (MB)"}
        label |= {name: f"latency on {profile.name} (ms)" for name, profile in rulers.profiles.items()}
        self.label = label.get(limit.name, limit.name)
        self.per_unit = rulers.unit(limit.name) / {"flops": 1e9, "params": 1e6, "act_bytes": 1e6}.get(limit.name, 1.0)
        self.name, self.budget = limit.name, limit.high * self.per_unit

    def of_costs(self, costs: Mapping[str, float]) -> float:
        """The cost of a candidate, whose costs are in base units."""
        return costs[self.name] / {"flops": 1e9, "params": 1e6, "act_bytes": 1e6}.get(self.name, 1.0)


class FrontAnimation:
    """The front over time: pictures under one tag, seldom enough to cost little."""

    def __init__(self, events: EventWriter, scale: Scale, title: str, score: str) -> None:
        self.events, self.scale, self.title, self.score = events, scale, title, score
        self.next_s, self.spent_s = FIRST_FRAME_S, 0.0

    def show(self, front: Front, seen: int, seconds: float) -> None:
        """Take a picture if it is time for one."""
        if seconds < self.next_s or self.spent_s > DRAWING_SHARE * seconds or not len(front.rows):
            return
        began = time.perf_counter()
        xs = [float(cost) * self.scale.per_unit for cost in front.cost]
        picture = front_png(xs, list(map(float, front.score)), self.scale.label, (xs[-1], float(front.score[-1])), self.scale.budget, title=f"{self.title}: {seen:,} candidates", score=self.score)
        self.events.image("views/front_over_time", picture, seen)
        self.spent_s += time.perf_counter() - began
        self.next_s = GROWTH * seconds


def finalist_settings(arch: Architecture) -> dict[str, Any]:
    """What sets finalists apart, stem and stages in a row, short enough that columns and metrics fit side by side."""
    stages = arch.stages
    told = {"widths": [arch.stem.out, *(stage.out for stage in stages)], "bottlenecks": [stage.btn for stage in stages], "depths": [stage.depth for stage in stages]}
    if len({stage.k for stage in stages}) > 1:
        told["kernels"] = [stage.k for stage in stages]
    return {name: " ".join(map(str, values)) for name, values in told.items()}


def show_finalists(
    events: EventWriter, finalists: Sequence[tuple[Architecture, float, Mapping[str, float]]], latencies: Sequence[str], scope: str,
    input_px: int, pictures: bool,
) -> None:  # fmt: skip
    """Every finalist (architecture, score, costs in base units), best first, as a run of its own.

    A row of HParams with its metrics, a picture, and its network for the Graphs tab.
    """
    for place, (arch, score, costs) in enumerate(finalists, start=1):
        metrics = {"score": score, "params_m": costs["params"] / 1e6, "gflops": costs["flops"] / 1e9, "layers": costs["layers"]}
        metrics |= {name: costs[name] for name in latencies}
        where = f"top/{place}"
        events.hparams(where, finalist_settings(arch), metrics)
        with events.below(where) as one:
            one.graph(graph_nodes(lower(arch, scope), input_px))
            if pictures:
                facts = [f"place {place}", f"score {score:.6g}", *(format_cost(name, value) for name, value in costs.items())]
                one.image("views/network", architecture_png(arch, ["   ".join(facts)]), 0)


def show_embedding(events: EventWriter, space: Space, rows: np.ndarray, scores: np.ndarray, costs: Mapping[str, np.ndarray]) -> None:
    """The front for the Projector tab: a point a candidate, its coordinates the genes, each in its own standard deviations.

    ``rows`` ``[N, genes]``, ``scores`` ``[N]``, ``costs`` in base units ``[N]`` each.
    """
    keep = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_EMBEDDED)).round().astype(int))
    spread = rows.std(0)
    moving = spread > 0
    if not moving.any():
        return  # one point alone has no place relative to others
    points = (rows[keep][:, moving] - rows[:, moving].mean(0)) / spread[moving]
    # Numbers without their units, which stand in the headings: so the Projector can colour by them.
    facts = {"score": [f"{scores[i]:.6g}" for i in keep]}
    for name, values in costs.items():
        told = [format_cost(name, float(values[i])).partition(" ") for i in keep]
        facts[told[0][2]] = [number for number, _, _ in told]
    genes = [gene for gene, _ in space.gene_choices()]
    facts |= {gene: [str(int(value)) for value in rows[keep, column]] for column, gene in enumerate(genes) if moving[column]}
    events.embedding("candidates of the front", points, facts)
