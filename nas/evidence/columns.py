"""A score's values over many points (graph x input size): closed forms at once, forward passes journalled and in parallel.

A point that a score refuses keeps the reason and no number.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nas.evidence.graph_sizes import PLAIN
from nas.evidence.trained import TrainedDetectors
from nas.scores import SCORES, get_score
from nas.searcher.evaluator import one_thread
from search_spaces.graph import Graph
from workbench.console import Progress
from workbench.errors import BadInput, unknown_name
from workbench.workers import open_workers

VERSION = 2
"""Raised when a forward-pass score changes its values, so that journals of before are not taken for the new ones."""


@dataclass
class ScoreColumn:
    """One score over all points: values ``[n]``, NaN where it refused, and why (by architecture)."""

    name: str
    values: np.ndarray
    failures: dict[str, str] = field(default_factory=dict)
    slow: bool = False


@dataclass(frozen=True)
class ScoreJob:
    """Forward-pass scores of one graph at one input size; they may share passes."""

    graph: Graph
    input_px: int
    names: tuple[str, ...]
    seed: int

    @property
    def work(self) -> float:
        """About how long it takes, in arbitrary units: multiply-accumulates x images."""
        table = self.graph.table(None if self.graph.fixed_px else self.input_px)
        return float(table.total(table.macs)) * sum(PASSES.get(name, 16) for name in self.names)


PASSES = {"zen": 37, "zico": 69, "synflow": 13, "swap": 34}
"""What a point costs, measured on one network, where a plain pass of 16 images costs 16; others 16."""


def known_names() -> list[str]:
    """Every name that ``columns`` takes: plain measures and registered scores."""
    return [*PLAIN, *(name for name in SCORES if name not in PLAIN)]


def is_slow(name: str) -> bool:
    """Whether a score runs the network."""
    return name not in PLAIN and get_score(name).needs_torch


def columns(
    points: TrainedDetectors, names: Sequence[str], seed: int = 0, jobs: int = 1, folder: str | Path | None = None, progress: Progress | None = None,
) -> list[ScoreColumn]:  # fmt: skip
    """The named scores at every point. Forward-pass scores run at each point's own input size, with ``seed``, in ``jobs``
    local Ray processes where that is more than one, and are kept under ``folder`` so that a run goes on where it stopped."""
    for name in names:
        if name not in PLAIN and name not in SCORES:
            raise unknown_name("score", name, known_names())
    if jobs < 1:
        raise BadInput(f"--jobs {jobs} must be at least 1")
    show = progress or Progress(quiet=True)
    slow = [name for name in names if is_slow(name)]
    found = {name: _closed(points, name, seed) for name in names if name not in slow}
    if slow:
        found |= _forward(points, slow, seed, jobs, folder, show)
    return [found[name] for name in names]


def _closed(points: TrainedDetectors, name: str, seed: int) -> ScoreColumn:
    column = ScoreColumn(name, np.full(len(points), np.nan))
    for i, (arch, px) in enumerate(zip(points.arch, points.input_px, strict=True)):
        graph = points.graphs[arch]
        try:
            column.values[i] = PLAIN[name](graph, int(px)) if name in PLAIN else get_score(name)(graph, int(px), **get_score(name).own(seed=seed)).value
        except BadInput as error:
            column.failures[str(arch)] = str(error)
    return column


def _forward(points: TrainedDetectors, names: Sequence[str], seed: int, jobs: int, folder: str | Path | None, show: Progress) -> dict[str, ScoreColumn]:
    digests = {name: graph.digest() for name, graph in points.graphs.items()}
    keys = [(str(arch), int(px)) for arch, px in zip(points.arch, points.input_px, strict=True)]
    with _Kept(folder, seed) as kept:
        tasks = []
        for arch, px in keys:
            missing = tuple(name for name in names if kept.get(name, digests[arch], px) is None)
            tasks += [ScoreJob(points.graphs[arch], px, group, seed) for group in _groups(missing)]
        tasks.sort(key=lambda task: -task.work)
        whole, done, began = sum(task.work for task in tasks), 0.0, time.monotonic()
        for count, (task, answers) in enumerate(_run(tasks, jobs), start=1):
            for name, answer in answers.items():
                kept.put(name, digests[task.graph.name], task.input_px, answer)
            done += task.work
            left = (time.monotonic() - began) * (whole / done - 1)
            show.show(f"{count} of {len(tasks)} forward-pass tasks, about {left / 60:.0f} min left", force=count == len(tasks))
        show.done()
        found = {}
        for name in names:
            column = found[name] = ScoreColumn(name, np.full(len(points), np.nan), slow=True)
            for i, (arch, px) in enumerate(keys):
                answer = kept.get(name, digests[arch], px) or {}
                column.values[i] = answer.get("value", math.nan)
                if "failure" in answer:
                    column.failures[arch] = str(answer["failure"])
    return found


def _groups(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Names that can share passes together, every other alone."""
    shared = tuple(name for name in names if get_score(name).observation is not None)
    if shared:
        yield shared
    yield from ((name,) for name in names if name not in shared)


def compute_scores(task: ScoreJob) -> dict[str, dict[str, Any]]:
    """Values or failures of one task, on one thread, so that they do not depend on how many run at once."""
    from nas.scores.forward import observe

    scores = [get_score(name) for name in task.names]
    shared = {score.name: score.observation for score in scores if score.observation is not None}
    try:
        with one_thread():
            if shared:
                results = observe(shared, task.graph, task.input_px, task.seed, most_px=task.input_px)
            else:
                options = {"seed": task.seed, "most_px": task.input_px}
                results = {score.name: score(task.graph, task.input_px, **options) for score in scores}
    except BadInput as error:
        if len(task.names) > 1:  # one that refuses must not silence the others
            return {name: answer for single in task.names for name, answer in compute_scores(replace(task, names=(single,))).items()}
        return {task.names[0]: {"failure": str(error)}}
    return {name: {"value": result.value} for name, result in results.items()}


def _run(tasks: Sequence[ScoreJob], jobs: int) -> Iterator[tuple[ScoreJob, dict[str, dict[str, Any]]]]:
    """Every task with its answers, in whatever order they end."""
    with open_workers(None if jobs == 1 or len(tasks) < 2 else jobs, None) as workers:
        waiting = list(enumerate(tasks))[::-1]
        while waiting or workers.in_flight:
            # No more at a time than can run: an interrupted call then leaves nothing queued.
            while waiting and workers.in_flight < workers.count:
                at, task = waiting.pop()
                workers.start(at, compute_scores, task)
            done = workers.wait()
            task = tasks[int(str(done.key))]
            if done.failure:
                raise BadInput(f"{', '.join(task.names)} of {task.graph.name!r} at {task.input_px} px could not be calculated ({done.failure}); the same command goes on from here")
            yield task, done.value


class _Kept:
    """Answers kept in a run folder's journal; in memory where there is no folder."""

    def __init__(self, folder: str | Path | None, seed: int) -> None:
        self._memory: dict[str, dict[str, Any]] = {}
        self._folder = None
        if folder is not None:
            import workbench
            from workbench.run_folder import RunFiles, RunFolder

            settings = {"kind": "bench-scores", "seed": seed, "version": VERSION}
            self._folder = RunFolder.open(Path(folder) / f"seed-{seed}-version-{VERSION}", settings, {"nas": workbench.__version__}, RunFiles("bench-scores", (), ()))

    def __enter__(self) -> _Kept:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.close()

    def get(self, name: str, digest: str, px: int) -> dict[str, Any] | None:
        """The answer, or None while there is none."""
        key = f"{name} {digest} {px}"
        return self._folder.latest(key) if self._folder is not None else self._memory.get(key)

    def put(self, name: str, digest: str, px: int, answer: dict[str, Any]) -> None:
        """Keep an answer."""
        key = f"{name} {digest} {px}"
        if self._folder is not None:
            self._folder.append(key, answer)
        else:
            self._memory[key] = answer
