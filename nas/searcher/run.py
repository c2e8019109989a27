"""One search in its run folder: resume it or start it, drive it to its end, read its result."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.searcher.driver import Driver
from nas.searcher.method import SearchMethod
from nas.searcher.parallel_evaluator import ParallelEvaluator
from nas.searcher.problem import SearchProblem
from nas.searcher.products import RUN_FILES, Products, versions
from nas.searcher.result import SearchResult
from nas.searcher.settings import default_name, search_settings
from nas.strategies.strategy import StrategyContext
from workbench.console import Progress
from workbench.doors.records import stored_record
from workbench.errors import BadInput
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
        with stored_record(folder / "journal.jsonl"):
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
