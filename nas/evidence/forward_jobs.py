"""Scores that run the network, at many points: jobs in parallel, their answers cached in a run folder's journal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nas.scores import get_score
from nas.searcher.evaluator import one_thread
from search_spaces.graph import Graph
from workbench.console import Progress
from workbench.errors import BadInput
from workbench.workers import open_workers

VERSION = 2
"""Raised when a forward-pass score changes its values, so that cached values of before are not used."""

PASSES = {"zen": 37, "zico": 69, "synflow": 13, "swap": 34}
"""Relative cost of one point, timed on one network, where a plain pass of 16 images costs 16 (all other scores)."""


@dataclass(frozen=True)
class ScoreJob:
    """Forward-pass scores of one graph at one input size; they may share passes."""

    graph: Graph
    input_px: int
    names: tuple[str, ...]
    seed: int

    @property
    def work(self) -> float:
        """Approximate duration in arbitrary units: multiply-accumulates x images."""
        table = self.graph.table(None if self.graph.fixed_px else self.input_px)
        return float(table.total(table.macs)) * sum(PASSES.get(name, 16) for name in self.names)


def compute_all(
    graphs: Mapping[str, Graph],
    points: Sequence[tuple[str, int]],
    names: Sequence[str],
    seed: int,
    jobs: int,
    folder: str | Path | None,
    progress: Progress,
) -> dict[str, list[dict[str, Any]]]:
    """For each score its answers at the points (graph name, input size): ``{"value": ...}`` or ``{"failure": ...}``.

    Answers that the cache under ``folder`` holds are not computed again.
    """
    digests = {name: graph.digest() for name, graph in graphs.items()}
    with _ScoreCache(folder, seed) as cache:
        queue = []
        for arch, px in points:
            missing = tuple(name for name in names if cache.get(name, digests[arch], px) is None)
            queue += [ScoreJob(graphs[arch], px, group, seed) for group in _groups(missing)]
        queue.sort(key=lambda job: -job.work)
        total, done, began = sum(job.work for job in queue), 0.0, time.monotonic()
        for count, (job, answers) in enumerate(_run(queue, jobs), start=1):
            for name, answer in answers.items():
                cache.put(name, digests[job.graph.name], job.input_px, answer)
            done += job.work
            left_min = (time.monotonic() - began) * (total / done - 1) / 60
            text = f"{count} of {len(queue)} forward-pass jobs, about {left_min:.0f} min left"
            progress.show(text, force=count == len(queue))
        progress.done()
        return {name: [cache.get(name, digests[arch], px) or {} for arch, px in points] for name in names}


def _groups(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Names that can share passes in one group, each other name alone."""
    shared = tuple(name for name in names if get_score(name).observation is not None)
    if shared:
        yield shared
    yield from ((name,) for name in names if name not in shared)


def compute_scores(job: ScoreJob) -> dict[str, dict[str, Any]]:
    """Values or failures of one job, on one thread, so that they do not depend on the number of jobs at once."""
    from nas.scores.forward import observe

    scores = [get_score(name) for name in job.names]
    shared = {score.name: score.observation for score in scores if score.observation is not None}
    try:
        with one_thread():
            if shared:
                results = observe(shared, job.graph, job.input_px, job.seed, most_px=job.input_px)
            else:
                options = {"seed": job.seed, "most_px": job.input_px}
                results = {score.name: score(job.graph, job.input_px, **options) for score in scores}
    except BadInput as error:
        if len(job.names) == 1:
            return {job.names[0]: {"failure": str(error)}}
        # One score that refuses the graph must not hide the values of the others.
        singles = [compute_scores(replace(job, names=(name,))) for name in job.names]
        return {name: answer for single in singles for name, answer in single.items()}
    return {name: {"value": result.value} for name, result in results.items()}


def _run(queue: Sequence[ScoreJob], jobs: int) -> Iterator[tuple[ScoreJob, dict[str, dict[str, Any]]]]:
    """Every job with its answers, in the order in which they finish."""
    with open_workers(None if jobs == 1 or len(queue) < 2 else jobs, None) as workers:
        waiting = list(enumerate(queue))[::-1]
        while waiting or workers.in_flight:
            # Start no more than can run: an interrupted call then leaves nothing queued.
            while waiting and workers.in_flight < workers.count:
                at, job = waiting.pop()
                workers.start(at, compute_scores, job)
            done = workers.wait()
            job = queue[int(str(done.key))]
            if done.failure:
                what = f"{', '.join(job.names)} of {job.graph.name!r} at {job.input_px} px could not be computed"
                raise BadInput(f"{what} ({done.failure}); the same command resumes from here")
            yield job, done.value


class _ScoreCache:
    """Answers in the journal of a run folder, or in memory if there is no folder."""

    def __init__(self, folder: str | Path | None, seed: int) -> None:
        self._memory: dict[str, dict[str, Any]] = {}
        self._folder = None
        if folder is not None:
            import workbench
            from workbench.run_folder import RunFiles, RunFolder

            path = Path(folder) / f"seed-{seed}-version-{VERSION}"
            settings = {"kind": "bench-scores", "seed": seed, "version": VERSION}
            products = RunFiles("bench-scores", (), ())
            self._folder = RunFolder.open(path, settings, {"nas": workbench.__version__}, products)

    def __enter__(self) -> _ScoreCache:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.close()

    def get(self, name: str, digest: str, px: int) -> dict[str, Any] | None:
        """The answer, or None if there is none."""
        key = f"{name} {digest} {px}"
        return self._folder.latest(key) if self._folder is not None else self._memory.get(key)

    def put(self, name: str, digest: str, px: int, answer: dict[str, Any]) -> None:
        """Store an answer."""
        key = f"{name} {digest} {px}"
        if self._folder is not None:
            self._folder.append(key, answer)
        else:
            self._memory[key] = answer
