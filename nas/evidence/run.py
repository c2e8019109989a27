"""``nas bench-scores`` from request to files: train evidence if asked, evaluate and rank the scores, write plots."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.detectors.read import read_atlas
from nas.detectors.sources.zoo_cards import ZOO
from nas.evidence import published
from nas.evidence.benchmark import ScoreBenchmark, benchmark_scores
from nas.evidence.columns import expand_names, runs_network, score_columns
from nas.evidence.refit import fitted_scores, leave_family_out
from nas.evidence.statistics.accuracy import DRAWS, BenchmarkOptions
from nas.evidence.statistics.rank import MIN_POINTS
from nas.evidence.trained import trained_points
from workbench.console import Progress
from workbench.errors import BadInput, missing_package
from workbench.files import write_atomic

if TYPE_CHECKING:
    from nas.evidence.own.request import EvidenceRequest

FOLDER = "runs/bench-scores"
"""Where forward-pass scores are cached if no output folder is given."""


@dataclass(frozen=True)
class BenchScoresRequest:
    """What ``nas bench-scores`` was asked for; None stands for a default."""

    data: tuple[str, ...]
    """Folders of trained detectors, or ``zoo``."""
    scores: tuple[str, ...] = ("closed",)
    """Names of scores and plain sizes; ``closed`` are all without forward passes, ``all`` are all."""
    target: str | None = None
    latency: tuple[str, ...] = ()
    """Latency columns by the beginnings of their names (default: all)."""
    input_px: tuple[int, ...] = ()
    """Only points of these input sizes in pixels (default: all)."""
    bins: int | None = None
    """Latency bins a device (default: by the number of points, for the zoo 4)."""
    refit: bool = False
    """Also compare fitted scores as refitted without the family they are compared on."""
    draws: int = DRAWS
    seed: int = 0
    jobs: int = 1
    """Local Ray processes for forward-pass scores; 1 needs no Ray."""
    out: str | None = None
    """Folder for ``verdicts.json``, pictures, and the cache of forward-pass scores."""
    training: EvidenceRequest | None = None
    """Detectors to train into ``data`` first."""

    def check(self) -> None:
        """Refuse what cannot be."""
        for name in ("draws", "bins", "jobs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadInput(f"--{name} {value} must be at least 1")
        if ZOO in self.data and self.training is not None:
            raise BadInput("--data zoo are other people's detectors: with --train, name a folder for ours")
        if self.training is not None and len(self.data) > 1:
            raise BadInput(f"--train makes one folder: name one with --data, not {len(self.data)}")


def bench_scores(request: BenchScoresRequest, progress: Progress | None = None) -> ScoreBenchmark:
    """Rank scores by how well they order trained detectors, and write the products if ``request.out`` is set."""
    request.check()
    progress = progress or Progress(quiet=True)
    names = expand_names(request.scores)
    if request.training is not None:
        _train(request.training, progress)
    zoo = request.data == (ZOO,)
    points = trained_points(read_atlas(request.data, progress))
    if request.input_px:
        points = points.at_sizes(request.input_px)
    target = request.target or points.default_target()
    truth, devices = points.target(target), points.devices(request.latency)
    cache = Path(request.out or FOLDER) / "journals" if any(map(runs_network, names)) else None
    columns = score_columns(points, names, request.seed, request.jobs, cache, progress)
    if request.refit:
        columns += [leave_family_out(points, name, truth) for name in fitted_scores() if name in names]
    bins = request.bins or (published.BINS if zoo else None)
    family_min_points = published.MIN_MODELS if zoo else MIN_POINTS
    options = BenchmarkOptions(bins, request.draws, request.seed, family_min_points)
    benchmark = benchmark_scores(points, columns, target, devices, options, progress)
    progress.done()
    if zoo:
        effect = published.recipe_effect(points, bins or published.BINS)
        benchmark = dataclasses.replace(benchmark, recipe_effect=effect)
    if request.out:
        write_products(benchmark, Path(request.out))
    return benchmark


def _train(request: EvidenceRequest, progress: Progress) -> None:
    try:
        from nas.evidence.own.training import train_evidence
    except ModuleNotFoundError as error:
        raise missing_package("bench-scores --train", error.name, "train") from error
    train_evidence(request, progress)


def write_products(benchmark: ScoreBenchmark, folder: Path) -> None:
    """Write ``verdicts.json`` and the pictures."""
    from nas.evidence.plots import equal_latency_png, families_png, selection_png

    write_atomic(folder / "verdicts.json", json.dumps(benchmark.figures(), indent=2, allow_nan=False) + "\n")
    if benchmark.devices:
        write_atomic(folder / "equal-latency.png", equal_latency_png(benchmark))
        first = next(iter(benchmark.devices))
        if benchmark.bins[first] > 1:
            write_atomic(folder / "picks.png", selection_png(benchmark, first))
    if benchmark.families:
        write_atomic(folder / "in-a-family.png", families_png(benchmark))
