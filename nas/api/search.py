"""``nas.search``: the best architectures under budgets, measured and trained on request."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.api.arguments import Text, text_of, texts_of
from nas.api.shortlist import ShortlistOptions, shortlist_request
from nas.api.train import Changes
from nas.budgets import LATENCY, QUANTITIES, format_cost, parse_budgets, quantity_of
from nas.report.neck_words import whole_lines
from nas.scores import WEIGHTS, ScoreResult, get_score
from nas.scores.forecast import ForecastFit, compute, fit_behind, is_forecast, sentence
from nas.searcher.method import SearchMethod, choose_options
from nas.searcher.problem import SearchProblem, choose_score, open_devices, open_space
from nas.searcher.result import SearchResult
from nas.searcher.run import Output, run_search
from nas.searcher.search_data import count_boxes, keep_boxes
from nas.searcher.worker_plan import WorkerPlan
from nas.strategies import STRATEGIES
from nas.variant_costs import DEFAULT_INPUT_PX, space_costs
from search_spaces.lowering import SCOPES, count_layers
from search_spaces.space import Space
from search_spaces.variants import input_sides
from workbench.console import Progress
from workbench.doors.records import stored_record
from workbench.errors import BadInput, unknown_name
from workbench.tables import Result, Table
from zoo.resolve import ResolvedModel

if TYPE_CHECKING:
    from distill.data.check.box_levels import BoxLevels
    from nas.devices.runtimes.runtime import Target
    from nas.searcher.finalists import Finalists
    from nas.shortlist.request import ShortlistRequest
    from nas.shortlist.result import ShortlistResult

PARTS = ("backbone", "neck", "head", "fixed")


@dataclass(frozen=True)
class SearchOutcome(SearchResult, Result):
    """The result of a search, with measured finalists and the trained shortlist where they were asked for."""

    measured: Finalists | None = None
    trained: ShortlistResult | None = None
    forecast_recipe: str = ""
    """The recipe whose COCO AP is forecast; empty: COCO alone from scratch in a full schedule."""
    data: BoxLevels | None = None
    """The boxes of the data at the detector's levels, where data were given."""

    def to_table(self) -> Table:
        """The best architecture and the published one beside it."""
        parts = [part for part in PARTS if part in self.best.parts_ms]
        times = [name for name in self.best.costs if quantity_of(name) == LATENCY]
        scores = list(self.best.scores) or [self.problem.score]
        rows = []
        for candidate in (self.best, self.anchor):
            if candidate is None:
                continue
            values = (candidate.scores.get(name, candidate.score) for name in scores)
            row: list[Any] = [candidate.name, *(f"{value:.6g}" for value in values)]
            row += [*(candidate.costs[name] for name in times), *(candidate.parts_ms.get(part) for part in parts)]
            sizes = [candidate.costs["flops"] / 1e9, candidate.costs["params"] / 1e6]
            rows.append([*row, *sizes, count_layers(candidate.architecture)])
        latencies = (f"ms {name.partition('@')[2]}".strip() for name in times)
        return Table(["", *scores, *latencies, *parts, "GFLOPs", "Mparams", "layers"], rows)

    def front_table(self) -> Table:
        """The Pareto front, cheapest first: score and costs."""
        header = list(dict.fromkeys(name for point in self.front for name in point))
        return Table(header, [[point.get(name) for name in header] for point in self.front])

    def to_dict(self) -> dict[str, Any]:
        """What ``nas search --json`` prints."""
        more = {"data": self.data, "measured": self.measured, "trained": self.trained}
        found = {name: value.to_dict() for name, value in more.items() if value is not None}
        fitted, result = self._forecast()
        ap = {} if result is None else {"forecast": fitted.to_dict(result, self.forecast_recipe)}
        return SearchResult.to_dict(self) | ap | found

    def search_text(self) -> str:
        """The best architecture, the front and the proof, without what follows a search."""
        arch = self.best.architecture
        lines = [str(self.to_table()), "", f"stem {arch.stem.out}" + (" after focus" if arch.stem.focus else "")]
        lines += [
            f"stage {i}: {s.depth} x {s.kind}, {s.btn} -> {s.out} channels, k{s.k}, stride {s.stride}"
            for i, s in enumerate(arch.stages, start=1)
        ]
        lines += [] if self.problem.space.is_plain else whole_lines(arch)
        score = next(iter(self.best.scores), self.problem.score)
        ends = f"from {_point(self.front[0])} to {_point(self.front[-1])}"
        lines += ["", f"front by {score}: {len(self.front)} architectures {ends}"]
        lines += self._explanation()
        lines.append(self._proof())
        lines += [f"note: {note}" for note in self.notes]
        names = ("report.html", "front.png", "best.png", "data.png")
        pictures = [name for name in names if (self.folder / name).is_file()]
        files = ["best.yaml", "front.csv", *pictures, "top/", "TensorBoard events (nas board)"]
        return "\n".join([*lines, f"written to {self.folder}: {', '.join(files)}"])

    def __str__(self) -> str:
        """All of it: boxes of the data, search, measured finalists and the trained shortlist."""
        with stored_record(self.folder / "journal.jsonl"):
            parts = (self.data, self.search_text(), self.measured, self.trained)
            return "\n\n".join(str(part) for part in parts if part is not None)

    def _explanation(self) -> list[str]:
        """What the best score means, for a score that explains it."""
        problem, best = self.problem, self.best
        score = get_score(problem.score)
        fitted, forecast = self._forecast()
        lines = [] if forecast is None else [sentence(fitted, forecast, self.forecast_recipe)]
        if score.explain is None or is_forecast(problem.score):
            return lines
        side = problem.side_of(best.architecture)
        graph, px = ResolvedModel(best.name, best.architecture).score_graph(side, score.deployed)
        result = score(graph, px, **score.own(weights=problem.weights, seed=problem.seed))
        return [f"{score.name} {best.score:.4f}: {score.explain(replace(result, value=best.score))}", *lines]

    def _forecast(self) -> tuple[ForecastFit, ScoreResult | None]:
        """The fit, and the best architecture's terms; None where the network has nothing that the fit could read."""
        problem, best = self.problem, self.best
        fitted = fit_behind(problem.score)
        if not problem.space_costs.taps:
            return fitted, None
        side = problem.side_of(best.architecture)
        graph, px = ResolvedModel(best.name, best.architecture).score_graph(side, deployed=True)
        return fitted, compute(fitted, graph, px)

    def _proof(self) -> str:
        c = self.certificate
        if c is None:
            count = f"{self.candidates:,} candidates in {self.seconds:.1f} s"
            return f"{count}; sampling proves nothing: --strategy exact does, for additive scores"
        verdict = "certificate: proved best" if c["proved"] else "certificate: NOT proved best (time limit)"
        return (
            f"{verdict}. best score {c['score']:.6f}, bound {c['bound']:.6f}; {c['options']:.3g} architectures in the "
            f"space, {c['arcs']:,} arc options, {c['labels']:,} labels, {c['table_entries']:,} table updates, "
            f"{c['seconds']:.1f} s; front: {c['front']}"
        )


def search(
    budget: str | Sequence[str], device: str | Sequence[str] | None = None, *, space: Text = "res",
    grid: int | None = None, score: str | None = None, weights: Sequence[float] | None = None,
    strategy: str | None = None, scope: str = "detector", input_px: int | None = None, seed: int = 0,
    steps: int | None = None, population: int | None = None, options: Changes = (), time_limit_s: float = 300.0,
    top_k: int = 5, measure: int | None = None, measure_on: str = "cpu", runtime: str | None = None,
    threads: int | None = None, workers: int | None = None, address: str | None = None, islands: int | None = None,
    name: str | None = None, runs: Text = "runs", fresh: bool = False, pictures: bool = True, quiet: bool = False,
    then: str | None = None, data: Text | None = None, val: Text | None = None, top: int | None = None,
    against: Text | Sequence[Text] | None = None, teacher: Text | Sequence[Text] | None = None,
    teacher_weights: Text | Sequence[Text] | None = None, epochs: int | None = None, batch: int | None = None,
    recipe: Text | None = None, train_changes: Changes | None = None, train_input_px: int | None = None,
    train_device: str | None = None, train_data_workers: int | None = None,
    callback: Callable[[SearchOutcome], None] | None = None, forecast_recipe: str = "",
    on_data: Callable[[BoxLevels], None] | None = None,
) -> SearchOutcome:  # fmt: skip
    """Search a space for the best detector under budgets; the same call resumes an unfinished search.

    Args:
        budget: such as ``3ms``, ``20GFLOPs``, ``9Mparams``, ``25layers``, ``64MBact`` or ``2.5..3ms``; all must hold.
            With several devices a latency budget names its device: ``t4:3ms``.
        score: None takes the first additive score that the space allows.
        strategy: ``exact``, ``evolution``, ``random``, ``tpe`` or ``nsga2``; None: exact where it applies.
        steps, population: of a sampling strategy (200,000 and 512); ``options`` are its others by name.
        measure: number of finalists to measure on this machine, with ``measure_on``, ``runtime`` and ``threads``.
        workers: processes of a local Ray, or jobs at once on the cluster at ``address``; None: this process.
        data: detection data whose boxes are counted at the detector's levels first; the search itself ignores them.
        then: ``train`` or ``distill``: train the ``top`` candidates on ``data`` by successive halving, beside stock
            models (``against``; None: the nearest in cost). Options as in ``nas.train`` and ``nas.distill``.
        callback: with ``then``: called with the result before the shortlist is trained.
        input_px: side of the square input in pixels; None takes the sides of the space, or 640 where it names none.
        forecast_recipe: recipe of the COCO AP that is forecast, such as ``objects365,teacher,epochs=72``.
        on_data: called with the boxes of ``data`` before the search.
    """
    start = time.perf_counter()
    target = _target(measure, measure_on, runtime, threads)
    more = (recipe, train_changes, train_input_px, train_device, train_data_workers)
    training = ShortlistOptions(data, val, top, against, teacher, teacher_weights, epochs, batch, *more)
    devices, opened = open_devices(texts_of(device)), open_space(text_of(space), grid, input_px)
    side, sides = DEFAULT_INPUT_PX if input_px is None else input_px, input_sides(opened)
    shortlist = _checked(shortlist_request(then, training, None if sides else side, seed, quiet))
    _check(scope, strategy, {"steps": steps, "population": population, "top-k": top_k})
    score, notes = choose_score(space_costs(opened, devices, side, scope), score, weights)
    used_weights = WEIGHTS if weights is None else tuple(float(weight) for weight in weights)
    problem = SearchProblem(
        opened, text_of(space), parse_budgets(texts_of(budget)), devices, texts_of(device), score, used_weights, scope,
        side, seed,
    )  # fmt: skip
    fit_behind(score).recipe_effect(forecast_recipe)  # an unknown trait is refused before the search
    additive = problem.evaluator().additive
    strategy = strategy or ("exact" if additive else "evolution")
    plan = WorkerPlan.of(strategy, additive, workers, address, islands)
    chosen = choose_options(strategy, _strategy_options(options), steps, population)
    output = Output(Path(runs), name, fresh, top_k, pictures, quiet)
    boxes = None if data is None else _count_boxes(text_of(data), max(sides, default=side), opened, quiet, on_data)
    method = SearchMethod(strategy, chosen, plan, time_limit_s)
    result = run_search(problem, method, output, [*notes, *plan.notes], start)
    return _follow_up(result, (measure, target), shortlist, output, callback, forecast_recipe, boxes)


def _checked(shortlist: ShortlistRequest | None) -> ShortlistRequest | None:
    """The request to train the shortlist; what it lacks is refused before the search."""
    if shortlist is not None:
        shortlist.check()
    return shortlist


def _count_boxes(
    path: str, input_px: int, space: Space, quiet: bool, on_data: Callable[[BoxLevels], None] | None
) -> BoxLevels:
    """The boxes of the data at an input side and the levels of a space, shown before the search begins."""
    boxes = count_boxes(path, input_px, space.neck.strides, quiet)
    if on_data is not None:
        on_data(boxes)
    return boxes


def _follow_up(
    result: SearchResult, finalists: tuple[int | None, Target | None], shortlist: ShortlistRequest | None,
    output: Output, callback: Callable[[SearchOutcome], None] | None, forecast_recipe: str, boxes: BoxLevels | None,
) -> SearchOutcome:  # fmt: skip
    """Keep the boxes of the data, measure finalists and train the shortlist, as far as asked for."""
    if boxes is not None:
        keep_boxes(boxes, result.folder, output.pictures)
    (count, target), measured = finalists, None
    if count is not None and target is not None:
        from nas.searcher.measured_finalists import measure_finalists

        progress = Progress(output.quiet)
        try:
            measured = measure_finalists(result, count, target, log=progress.show)
        finally:
            progress.done()
    values = {field.name: getattr(result, field.name) for field in fields(result)}
    outcome = SearchOutcome(**values, measured=measured, forecast_recipe=forecast_recipe, data=boxes)
    if output.pictures:
        from nas.report.search_page import write_search_report

        write_search_report(result.folder)
    if shortlist is None:
        return outcome
    from nas.shortlist.run import train_shortlist

    if callback is not None:
        callback(outcome)
    return replace(outcome, trained=train_shortlist(result, shortlist, output.pictures))


def _check(scope: str, strategy: str | None, counts: Mapping[str, int | None]) -> None:
    if scope not in SCOPES:
        raise unknown_name("scope", scope, SCOPES)
    if strategy is not None and strategy not in STRATEGIES:
        raise unknown_name("strategy", strategy, STRATEGIES)
    for what, value in counts.items():
        if value is not None and value < 1:
            raise BadInput(f"{what} {value} must be at least 1")


def _strategy_options(changes: Changes) -> dict[str, Any]:
    """Options of the strategy by name, from a mapping or from ``KEY=VALUE`` texts."""
    if isinstance(changes, Mapping):
        return dict(changes)
    options: dict[str, Any] = {}
    for text in changes:
        key, sign, value = text.partition("=")
        if not sign or not key or not value:
            raise BadInput(f"--set {text!r} must be KEY=VALUE, for instance children=256")
        if key in options:
            raise BadInput(f"--set {key} is given twice: {options[key]} and {value}; leave one out")
        options[key] = value
    return options


def _target(measure: int | None, device: str, runtime: str | None, threads: int | None) -> Target | None:
    """Where finalists are measured; None where nobody asked for it."""
    if measure is None:
        if runtime is not None or threads is not None or device != "cpu":
            raise BadInput("--measure-on, --runtime and --threads say how finalists are measured: add --measure K")
        return None
    if measure < 1:
        raise BadInput(f"--measure {measure} must be at least 1: the number of finalists to measure")
    from nas.devices.session import choose_target

    return choose_target(device, runtime, threads)


def _point(costs: dict[str, float]) -> str:
    name = next(cost for cost in costs if quantity_of(cost) in QUANTITIES)
    return f"{costs['score']:.5g} at {format_cost(name, costs[name])}"
