"""Values of scores at many points (graph x input size): closed forms, plain sizes, and those that run the network.

A point that a score refuses keeps the reason and has no value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nas.detectors.own_sizes import flops, params
from nas.evidence.forward_jobs import compute_all
from nas.evidence.trained import TrainedDetectors
from nas.scores import SCORES, get_score
from search_spaces.graph import Graph
from search_spaces.ops import DECODE_PART, WEIGHT_KINDS
from workbench.console import Progress
from workbench.errors import BadInput, unknown_name


@dataclass
class ScoreColumn:
    """One score at all points: values ``[n]``, NaN where it refused, and the reasons by architecture."""

    name: str
    values: np.ndarray
    failures: dict[str, str] = field(default_factory=dict)


def depth(graph: Graph, input_px: int) -> float:
    """Convolutions and linear layers on the longest path from the image, box decoding left out."""
    longest: list[int] = []
    for op in graph.ops:
        before = max((longest[i] for i in op.inputs if i >= 0), default=0)
        layer = op.kind in WEIGHT_KINDS and op.part != DECODE_PART
        longest.append(before + layer)
    return float(max(longest, default=0))


GRAPH_SIZES: dict[str, Callable[[Graph, int], float]] = {"flops": flops, "params": params, "depth": depth}
"""Plain sizes of a graph, which every score has to beat. (Activation volume is a registered score.)"""


def score_names() -> list[str]:
    """Every name that ``score_columns`` takes: plain sizes and registered scores."""
    return [*GRAPH_SIZES, *(name for name in SCORES if name not in GRAPH_SIZES)]


def runs_network(name: str) -> bool:
    """Whether a score needs forward passes of the network."""
    return name not in GRAPH_SIZES and get_score(name).needs_torch


def expand_names(names: Sequence[str]) -> list[str]:
    """Unique score names, with ``all`` and ``closed`` (no forward passes) written out."""
    every = score_names()
    unknown = [name for name in names if name not in ("all", "closed", *every)]
    if unknown:
        raise unknown_name("score", unknown[0], every)
    groups = {"all": every, "closed": [name for name in every if not runs_network(name)]}
    return list(dict.fromkeys(member for name in names for member in groups.get(name, [name])))


def score_columns(
    points: TrainedDetectors,
    names: Sequence[str],
    seed: int = 0,
    jobs: int = 1,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> list[ScoreColumn]:
    """Evaluate the named scores at every point.

    Forward-pass scores run at each point's own input size, with ``seed``, in ``jobs`` local Ray processes if that is
    more than one, and are cached under ``folder``, so that an interrupted call resumes.
    """
    for name in names:
        if name not in GRAPH_SIZES and name not in SCORES:
            raise unknown_name("score", name, score_names())
    if jobs < 1:
        raise BadInput(f"--jobs {jobs} must be at least 1")
    forward = [name for name in names if runs_network(name)]
    columns = {name: _closed_form(points, name, seed) for name in names if name not in forward}
    if forward:
        keys = [(str(arch), int(px)) for arch, px in zip(points.arch, points.input_px, strict=True)]
        answers = compute_all(points.graphs, keys, forward, seed, jobs, folder, progress or Progress(quiet=True))
        columns |= {name: _column(name, keys, answers[name]) for name in forward}
    return [columns[name] for name in names]


def _closed_form(points: TrainedDetectors, name: str, seed: int) -> ScoreColumn:
    column = ScoreColumn(name, np.full(len(points), np.nan))
    for i, (arch, px) in enumerate(zip(points.arch, points.input_px, strict=True)):
        graph = points.graphs[arch]
        try:
            if name in GRAPH_SIZES:
                column.values[i] = GRAPH_SIZES[name](graph, int(px))
            else:
                score = get_score(name)
                column.values[i] = score(graph, int(px), **score.own(seed=seed)).value
        except BadInput as error:
            column.failures[str(arch)] = str(error)
    return column


def _column(name: str, keys: Sequence[tuple[str, int]], answers: Sequence[Mapping[str, Any]]) -> ScoreColumn:
    values = np.array([float(answer.get("value", np.nan)) for answer in answers])
    failures = {
        arch: str(answer["failure"]) for (arch, _), answer in zip(keys, answers, strict=True) if "failure" in answer
    }
    return ScoreColumn(name, values, failures)
