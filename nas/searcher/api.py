"""``search``: the Python API of ``nas search``."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.budgets import parse_budgets
from nas.costs import SpaceCosts
from nas.scores import WEIGHTS
from nas.searcher.driver import Driver
from nas.searcher.method import SearchMethod, choose_options
from nas.searcher.parallel_evaluator import ParallelEvaluator
from nas.searcher.problem import SearchProblem, choose_score, open_devices, open_space
from nas.searcher.products import RUN_FILES, Products, versions
from nas.searcher.result import SearchResult
from nas.searcher.settings import default_name, search_settings
from nas.searcher.worker_plan import WorkerPlan
from nas.strategies import STRATEGIES
from nas.strategies.strategy import StrategyContext
from search_spaces.lowering import SCOPES
from workbench.console import Progress
from workbench.errors import BadInput, unknown_name
from workbench.run_folder import RunFolder


@dataclass(frozen=True)
class Output:
    """Where results go: the run folder ``runs``/``name`` (by default named after the settings), and what is written.

    ``fresh`` starts over instead of resuming; ``top_k`` is the number of finalists; ``quiet`` shows no progress.
    """

    runs: Path = Path("runs")
    name: str | None = None
    fresh: bool = False
    top_k: int = 5
    pictures: bool = True
    quiet: bool = True


def search(
    budget: str | Sequence[str], device: str | Sequence[str] | None = None, *, space: str = "res",
    strategy: str | None = None, score: str | None = None, weights: Sequence[float] | None = None,
    scope: str = "detector", input_px: int = 640, grid: int | None = None, seed: int = 0, steps: int | None = None,
    population: int | None = None, options: Mapping[str, Any] | None = None, top_k: int = 5,
    time_limit_s: float = 300.0, name: str | None = None, runs: str | Path = "runs", fresh: bool = False,
    pictures: bool = True, quiet: bool = True, workers: int | None = None, address: str | None = None,
    islands: int | None = None,
) -> SearchResult:  # fmt: skip
    """Search ``space`` under every budget; the Python API of ``nas search``, with the same defaults.

    Running it again with the same settings resumes an unfinished run, or returns the finished one.

    Args:
        budget: ``"3ms"``, ``"20GFLOPs"``, ``"9Mparams"`` …; several are all kept. Of several devices, a latency budget
            names its own (``"t4:3ms"``).
        score: None takes the first additive score that the space allows.
        weights: Stage weights of the scores that have them, coarsest last.
        strategy: None takes ``exact`` for additive scores and ``evolution`` for others.
        steps: Candidates of a sampling strategy (default 200,000).
        population: Population of a sampling strategy (default 512).
        options: Further options of the strategy by name, such as ``{"children": 256}`` for ``evolution``.
        workers: Number of processes of a local Ray, or of jobs at once on the cluster at ``address``.
        islands: Number of populations of an evolution; by default as many as workers where scores are cheap.
    """
    start = time.perf_counter()
    budgets = parse_budgets([budget] if isinstance(budget, str) else list(budget))
    _check(scope, strategy, steps=steps, population=population, **{"top-k": top_k})
    device_names = (device,) if isinstance(device, str) else tuple(device or ())
    devices, opened = open_devices(device_names), open_space(space, grid)
    score, notes = choose_score(SpaceCosts(opened, devices, input_px, scope), score, weights)
    stage_weights = WEIGHTS if weights is None else tuple(float(w) for w in weights)
    problem = SearchProblem(opened, space, budgets, devices, device_names, score, stage_weights, scope, input_px, seed)
    evaluator = problem.evaluator()
    strategy = strategy or ("exact" if evaluator.additive else "evolution")
    plan = WorkerPlan.of(strategy, evaluator.additive, workers, address, islands)
    method = SearchMethod(strategy, choose_options(strategy, options, steps, population), plan, time_limit_s)
    output = Output(Path(runs), name, fresh, top_k, pictures, quiet)
    return run_search(problem, method, output, notes=[*notes, *plan.notes], start=start)


def run_search(
    problem: SearchProblem,
    method: SearchMethod,
    output: Output,
    notes: Sequence[str] = (),
    start: float | None = None,
) -> SearchResult:
    """Solve ``problem`` in its run folder, or read the result of the finished run.

    ``notes`` are added to those of the search; ``start`` (``time.perf_counter`` seconds) is when it began.
    """
    start = time.perf_counter() if start is None else start
    evaluator = problem.evaluator()
    settings = search_settings(problem, method)
    folder = output.runs / _plain_name(output.name or default_name(settings))
    study = RunFolder.open(folder, settings, versions(), RUN_FILES, output.fresh)
    progress = Progress(output.quiet)
    try:
        record = study.result
        if record is None:
            with method.plan.open() as workers:
                if method.plan.spreads:
                    evaluator = ParallelEvaluator(evaluator, workers)
                context = StrategyContext(evaluator, problem.seed, folder, workers, method.time_limit_s, progress.show)
                products = Products(folder, study.settings, evaluator, output.top_k, output.pictures)
                record = Driver(study, method.build(context), products, progress).run(start)
            study.notes += notes
        else:
            study.notes.append("this search had finished already: its stored result is shown; --fresh searches again")
        result = SearchResult.of(problem, record, folder, study.settings)
        return dataclasses.replace(result, notes=tuple(study.notes))
    except BadInput:
        study.undo()
        raise
    finally:
        progress.done()
        study.close()


def _plain_name(name: str) -> str:
    """A folder name that stays below ``--runs``."""
    if name in (".", "..") or Path(name).name != name:
        raise BadInput(f"name {name!r} must be one plain folder name; choose the folder above it with --runs")
    return name


def _check(scope: str, strategy: str | None, **counts: int | None) -> None:
    if scope not in SCOPES:
        raise unknown_name("scope", scope, SCOPES)
    if strategy is not None and strategy not in STRATEGIES:
        raise unknown_name("strategy", strategy, STRATEGIES)
    for what, value in counts.items():
        if value is not None and value < 1:
            raise BadInput(f"{what} {value} must be at least 1")
