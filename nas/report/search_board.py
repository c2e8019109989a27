"""Views of a search in TensorBoard besides its curves: the front as it grew, the finalists, and the Projector."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nas.budgets import format_cost
from nas.report.architecture_plot import architecture_png
from nas.report.front_plot import front_png
from nas.report.graph_nodes import graph_nodes
from search_spaces.architecture import Architecture
from search_spaces.lowering import lower
from search_spaces.space import Space

if TYPE_CHECKING:
    from nas.costs import SpaceCosts
    from workbench.events import EventWriter

FIRST_FRAME_S, GROWTH, DRAWING_SHARE = 2.0, 1.6, 0.05
"""Seconds before the first plot of the growing front, the ratio of the times of consecutive plots, and the share of the
search's time beyond which no more are drawn."""
MAX_EMBEDDED = 2000
"""Points of the Projector tab; a longer front is thinned to about this number."""
UNITS = {"flops": 1e9, "params": 1e6, "act_bytes": 1e6}
"""Base units per unit of an axis; 1 for the other costs."""


class CostLimit(Protocol):
    """The upper limit of one cost, in whole numbers of the space's costs."""

    @property
    def name(self) -> str: ...
    @property
    def high(self) -> int: ...


class ScoredFront(Protocol):
    """A front by ascending cost: ``rows`` ``[n, genes]``, ``cost`` and ``score`` ``[n]``."""

    rows: np.ndarray
    cost: np.ndarray
    score: np.ndarray


class Scale:
    """The primary cost as an axis: its label, and the factor from whole numbers to the label's unit."""

    def __init__(self, costs: SpaceCosts, limit: CostLimit) -> None:
        label = {"flops": "GFLOPs", "params": "parameters (M)", "act_bytes": "activations (MB)"}
        label |= {name: f"latency on {profile.name} (ms)" for name, profile in costs.profiles.items()}
        self.label = label.get(limit.name, limit.name)
        self.per_unit = costs.unit(limit.name) / UNITS.get(limit.name, 1.0)
        self.name, self.budget = limit.name, limit.high * self.per_unit

    def of_costs(self, costs: Mapping[str, float]) -> float:
        """The axis value of a candidate with these costs in base units."""
        return costs[self.name] / UNITS.get(self.name, 1.0)


class FrontAnimation:
    """The front over time: plots under one tag, at growing distances, so that they cost little."""

    def __init__(self, events: EventWriter, scale: Scale, title: str, score: str) -> None:
        self.events, self.scale, self.title, self.score = events, scale, title, score
        self.next_s, self.spent_s = FIRST_FRAME_S, 0.0

    def show(self, front: ScoredFront, seen: int, seconds: float) -> None:
        """Draw a plot if one is due."""
        if seconds < self.next_s or self.spent_s > DRAWING_SHARE * seconds or not len(front.rows):
            return
        began = time.perf_counter()
        scale, title = self.scale, f"{self.title}: {seen:,} candidates"
        xs = [float(cost) * scale.per_unit for cost in front.cost]
        scores = list(map(float, front.score))
        plot = front_png(xs, scores, scale.label, (xs[-1], scores[-1]), scale.budget, title=title, score=self.score)
        self.events.image("views/front_over_time", plot, seen)
        self.spent_s += time.perf_counter() - began
        self.next_s = GROWTH * seconds


def finalist_settings(arch: Architecture) -> dict[str, Any]:
    """What distinguishes finalists, stem and stages in a row, short enough to fit beside the metrics."""
    stages = arch.stages
    settings = {
        "widths": [arch.stem.out, *(stage.out for stage in stages)],
        "bottlenecks": [stage.btn for stage in stages],
        "depths": [stage.depth for stage in stages],
    }
    if len({stage.k for stage in stages}) > 1:
        settings["kernels"] = [stage.k for stage in stages]
    return {name: " ".join(map(str, values)) for name, values in settings.items()}


def show_finalists(
    events: EventWriter,
    finalists: Sequence[tuple[Architecture, float, Mapping[str, float]]],
    latencies: Sequence[str],
    scope: str,
    input_px: int,
    pictures: bool,
) -> None:
    """Add every finalist (architecture, score, costs in base units), best first, as a run of its own.

    Each has a row of HParams with its metrics, a drawing, and its network for the Graphs tab.
    """
    for place, (arch, score, costs) in enumerate(finalists, start=1):
        metrics = {
            "score": score, "params_m": costs["params"] / 1e6, "gflops": costs["flops"] / 1e9, "layers": costs["layers"]
        }  # fmt: skip
        metrics |= {name: costs[name] for name in latencies}
        run = f"top/{place}"
        events.hparams(run, finalist_settings(arch), metrics)
        with events.below(run) as finalist:
            finalist.graph(graph_nodes(lower(arch, scope), arch.input_px or input_px))
            if pictures:
                facts = [f"place {place}", f"score {score:.6g}"]
                facts += [format_cost(name, value) for name, value in costs.items()]
                finalist.image("views/network", architecture_png(arch, ["   ".join(facts)]), 0)


def show_embedding(
    events: EventWriter, space: Space, rows: np.ndarray, scores: np.ndarray, costs: Mapping[str, np.ndarray]
) -> None:
    """Add the front to the Projector tab: one point per candidate, its coordinates the standardized genes.

    ``rows`` ``[n, genes]``, ``scores`` ``[n]``, ``costs`` in base units ``[n]`` each.
    """
    keep = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MAX_EMBEDDED)).round().astype(int))
    spread = rows.std(0)
    varying = spread > 0
    if not varying.any():
        return  # a single point has no position relative to others
    points = (rows[keep][:, varying] - rows[:, varying].mean(0)) / spread[varying]
    # The units stand in the headings, so that the Projector can color by the numbers.
    facts = {"score": [f"{scores[i]:.6g}" for i in keep]}
    for name, values in costs.items():
        parts = [format_cost(name, float(values[i])).partition(" ") for i in keep]
        facts[parts[0][2]] = [number for number, _, _ in parts]
    genes = [gene for gene, _ in space.gene_choices()]
    facts |= {gene: [str(int(v)) for v in rows[keep, column]] for column, gene in enumerate(genes) if varying[column]}
    events.embedding("candidates of the front", points, facts)
