"""One search from settings to results: build the rulers, drive the strategy, keep the study, write the products."""

from __future__ import annotations

import csv
import io
import json
import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

import workbench
from nas.budgets import format_cost, parse_budgets
from nas.costs import SpaceCosts, architecture_costs
from nas.scores import WEIGHTS, get_score
from nas.scores.rows import ROW_SCORES, fitting_scores
from nas.searcher.evaluator import Evaluator, whole_limits
from nas.searcher.front import Front
from nas.searcher.parallel_evaluator import ParallelEvaluator
from nas.searcher.worker_plan import WorkerPlan
from nas.strategies.islands import IslandSearch
from nas.strategies.strategy import Settings, Strategy
from search_spaces.architecture import Architecture
from search_spaces.lowering import SCOPES
from search_spaces.published import PUBLISHED
from search_spaces.space import Space, with_grid
from search_spaces.space_file import load_space
from search_spaces.tinynas_text import to_text
from workbench.console import Progress
from workbench.errors import BadInput, unknown_name
from workbench.files import write_atomic
from workbench.run_folder import RunFiles, RunFolder
from workbench.workers import Workers
from zoo.resolve import ResolvedModel

if TYPE_CHECKING:
    from nas.devices.profile import DeviceProfile
    from nas.report.search_board import FrontAnimation

STRATEGIES: dict[str, str] = {
    "exact": "nas.strategies.exact.search:ExactSearch",
    "evolution": "nas.strategies.evolution:EvolutionSearch",
    "random": "nas.strategies.random:RandomSearch",
    "tpe": "nas.strategies.optuna_samplers:TpeSearch",
    "nsga2": "nas.strategies.optuna_samplers:Nsga2Search",
}
"""Where each strategy lives; imported when asked for, so that Optuna arrives late."""

PRODUCTS = RunFiles("search", ("front.csv", "front.png", "best.yaml", "best.png", "result.json", "optuna.log*", "measured.json", "measured.csv", "measuring.json"), ("top", "events", "trained"))

CHECKPOINT_S, CHECKPOINT_SHARE = 2.0, 0.01
"""A sampling strategy is checkpointed after so many seconds, or this share of the time spent so far, whichever is
longer: a day's run then loses at most minutes, and its journal stays small."""


@dataclass(frozen=True)
class Candidate:
    """One found architecture on every ruler: costs in base units, latency by part in ms."""

    name: str
    architecture: Architecture
    score: float
    costs: dict[str, float]
    parts_ms: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    """The searched score and every additive one that the space allows, by name."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the stable keys of ``--json``."""
        return {
            "name": self.name, "digest": self.architecture.digest(), "score": self.score, "scores": self.scores, "costs": self.costs,
            "latency_ms_by_part": self.parts_ms, "architecture": self.architecture.to_dict(),
            "tinynas": to_text(self.architecture),
        }  # fmt: skip


@dataclass(frozen=True)
class SearchResult:
    """What a search returns: the best candidate, the front (cheapest first), the anchor beside it, and the proof if any."""

    folder: Path
    best: Candidate
    front: tuple[dict[str, Any], ...]
    anchor: Candidate | None
    certificate: dict[str, Any] | None
    candidates: int
    seconds: float
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the stable keys of ``--json``."""
        return {
            "format": "nas-search-1", "folder": str(self.folder), "best": self.best.to_dict(),
            "anchor": None if self.anchor is None else self.anchor.to_dict(), "certificate": self.certificate,
            "front": list(self.front), "candidates": self.candidates, "seconds": self.seconds,
            "settings": self.settings, "notes": list(self.notes),
        }  # fmt: skip


def search(
    budget: str | Sequence[str], device: str | Sequence[str] | None = None, *, space: str = "res", strategy: str | None = None,
    score: str | None = None, weights: Sequence[float] | None = None, scope: str = "detector", input_px: int = 640,
    grid: int | None = None, seed: int = 0, steps: int = 200_000, population: int = 512, top_k: int = 5,
    time_limit_s: float = 300.0, name: str | None = None, runs: str | Path = "runs", fresh: bool = False,
    pictures: bool = True, quiet: bool = True, workers: int | None = None, address: str | None = None, islands: int | None = None,
) -> SearchResult:  # fmt: skip
    """Search ``space`` under every budget; the Python face of ``nas search``, with the same defaults.

    ``score`` None takes ``calibrated``, or ``maxent`` for a space that goes beyond stride 32; ``weights`` are the stage
    weights of ``maxent`` and ``deepmad``. ``strategy`` None takes ``exact`` for additive scores and ``evolution`` for others. Running it again with
    the same settings resumes an unfinished run, or returns the finished one. Several devices may be given; each
    latency budget then says which one it is for (``"t4:3ms"``).

    ``workers`` does the work in so many processes of a local Ray, or of the cluster at ``address``; ``islands`` is how many
    populations an evolution has, by default as many as workers where scores are cheap.
    """
    start = time.perf_counter()
    budgets = parse_budgets([budget] if isinstance(budget, str) else list(budget))
    _check(scope, strategy, steps, population, top_k)
    names = [device] if isinstance(device, str) else list(device or ())
    profiles = _open_devices(names)
    chosen = load_space(space)
    if grid is not None:
        chosen = with_grid(chosen, grid)
    rulers = SpaceCosts(chosen, profiles, input_px, scope, WEIGHTS if weights is None else tuple(float(w) for w in weights))
    preferred, remarks = next(iter(ROW_SCORES)), []
    if score is None:
        score = fitting_scores(rulers)[0]
        if score != preferred:
            remarks.append(f"scored with {score}: {preferred}, the default, reads strides 8, 16 and 32, and space {chosen.name!r} ends at {rulers.strides[-1]}")
    if weights is not None and not get_score(score).weighted:
        raise BadInput(f"weights {', '.join(f'{w:g}' for w in rulers.weights)} are stage weights, and score {score!r} has none: use --score maxent, or leave out --weights")
    evaluator = Evaluator(rulers, whole_limits(rulers, budgets), score, seed)
    strategy = strategy or ("exact" if evaluator.additive else "evolution")
    shape = WorkerPlan.of(strategy, evaluator.additive, workers, address, islands)
    settings: dict[str, Any] = {
        "budget": [str(b) for b in budgets], "device": _one_or_all(names), "space": space, "space_digest": _digest(chosen),
        "device_digest": _one_or_all([_digest(profile) for profile in profiles]), "strategy": strategy, "score": score,
        "weights": list(rulers.weights), "scope": scope, "input_px": input_px, "grid": chosen.channel_step, "seed": seed,
    }  # fmt: skip
    if strategy != "exact":
        settings |= {"steps": steps, "population": population}
    if shape.islands:
        settings["islands"] = shape.islands
    folder = Path(runs) / _plain_name(name or default_name(settings))
    study = RunFolder.open(folder, settings, _versions(), PRODUCTS, fresh)
    progress = Progress(quiet)
    try:
        if study.result is None:
            options = {"folder": str(folder), "time_limit_s": time_limit_s}
            with shape.open() as crew:
                if shape.spreads:
                    evaluator = ParallelEvaluator(rulers, evaluator.limits, score, seed, crew)
                run = _Driver(study, Settings(chosen, evaluator, seed, steps, population, options), strategy, progress, shape.islands, crew)
                result = run.go(start, top_k, pictures)
            study.notes += [*remarks, *shape.notes]
        else:
            study.notes.append("this search had finished already: its stored result is shown; --fresh searches again")
            result = study.result
        return _as_result(folder, result, study)
    except BadInput:
        study.undo()
        raise
    finally:
        progress.done()
        study.close()


def _open_devices(names: Sequence[str]) -> list[DeviceProfile]:
    from nas.devices.profile import load_device

    return [load_device(name) for name in names]


def _one_or_all(values: Sequence[str]) -> str | list[str] | None:
    """None, the one value, or the list: as settings keep devices."""
    return None if not values else values[0] if len(values) == 1 else list(values)


class _Driver:
    """Drives one strategy to its end and writes what it found."""

    def __init__(
        self, study: RunFolder, settings: Settings, strategy: str, progress: Progress, islands: int = 0, workers: Workers | None = None
    ) -> None:
        self.study, self.settings, self.progress = study, settings, progress
        self.evaluator, self.rulers = settings.evaluator, settings.evaluator.rulers
        self.front = Front(settings.space.genes)
        self.film: FrontAnimation | None = None
        self.strategy: Strategy | IslandSearch
        if islands and workers is not None:
            self.strategy = IslandSearch(settings, islands, workers)
        else:
            self.strategy = self._make(strategy)
        self.seen = 0

    def _make(self, name: str) -> Strategy:
        kind, began = strategy_class(name), time.monotonic()
        if name != "exact":
            return kind(self.settings)
        return kind(self.settings, lambda what, share: self.progress.show(f"exact  {what}  {share:4.0%}  {time.monotonic() - began:.0f} s"))

    def go(self, start: float, top_k: int, pictures: bool) -> dict[str, Any]:
        """Search (from the last checkpoint, if there is one), then write the products. Returns the result record."""
        from nas.report.search_board import FrontAnimation, Scale
        from workbench.events import EventWriter

        before = self._restore()
        saved = time.monotonic()
        with EventWriter(self.study.folder / "events") as events:
            if pictures:
                self.film = FrontAnimation(events, Scale(self.rulers, self.evaluator.limits[0]), self.study.folder.name, self._score_title)
            try:
                while not self.strategy.finished:
                    self._step(events, start, before)
                    spent = before + time.perf_counter() - start
                    if time.monotonic() - saved > max(CHECKPOINT_S, CHECKPOINT_SHARE * spent):
                        self._checkpoint(spent)
                        saved = time.monotonic()
            except KeyboardInterrupt:
                self._checkpoint(before + time.perf_counter() - start)
                raise
            if not len(self.front.rows):
                raise BadInput(self._nothing_found())
            ineffective = self.strategy.ineffective if isinstance(self.strategy, IslandSearch) else self.evaluator.ineffective
            if ineffective:
                self.study.notes.append(f"{ineffective:,} candidates were too deep for their width (DeepMAD's effectiveness) and got no score")
            result = self._finish(events, before + time.perf_counter() - start, top_k, pictures)
        self.study.append("done", result)
        return result

    def _step(self, events: Any, start: float, before: float) -> None:
        if isinstance(self.strategy, IslandSearch):
            island, looked = self.strategy.step(self.front)
            self.seen += looked
            spent = before + time.perf_counter() - start
            self.study.append(f"island-{island}", {"seconds": spent, "state": self.strategy.states[island]})
        else:
            self._look(self.strategy)
        seconds = before + time.perf_counter() - start
        rate = self.seen / max(seconds, 1e-9)
        events.scalar("search/candidates_per_s", rate, self.seen)
        text = f"{self.strategy.name}  {self.seen:,} candidates  {rate:,.0f}/s"
        if len(self.front.rows):
            best, cost = float(self.front.score[-1]), int(self.front.cost[-1])
            limit = self.evaluator.limits[0]
            events.scalar("search/best_score", best, self.seen)
            events.scalar("search/front_hypervolume", self.front.hypervolume(limit.high) * self.rulers.unit(limit.name), self.seen)
            events.scalar("search/front_points", len(self.front.rows), self.seen)
            text += f"  best {best:.6g} at {format_cost(limit.name, cost * self.rulers.unit(limit.name))} of {limit.text}"
        share = self.strategy.progress
        if 0 < share < 1:
            text += f"  {share:4.0%}, {seconds / share * (1 - share):.0f} s left"
        self.progress.show(text)
        if self.film is not None:
            self.film.show(self.front, self.seen, seconds)

    def _look(self, strategy: Strategy) -> None:
        """One batch: asked, judged, told, and what is good of it kept."""
        rows = strategy.ask()
        judged = self.evaluator.judge(rows)
        strategy.tell(rows, judged)
        good = np.flatnonzero(judged.feasible & np.isfinite(judged.score))
        self.front.add(rows[good], judged.score[good], judged.costs[self.evaluator.primary][good])
        self.seen += len(rows)
        for failure in self.evaluator.failed:
            self.study.append("failed", failure)
            self.study.notes.append(f"one candidate got no score: {failure['reason']}")
        self.evaluator.failed.clear()

    def _restore(self) -> float:
        """Go on from the last checkpoint; returns the seconds already spent."""
        if isinstance(self.strategy, IslandSearch):
            return self._restore_islands(self.strategy)
        held = self.study.latest("checkpoint")
        if held is None:
            return 0.0
        self.strategy.restore(held["strategy"])
        self.front.add_dict(held["front"])
        self.seen = int(held["seen"])
        self.study.notes.append(f"resumed after {self.seen:,} candidates")
        return float(held["seconds"])

    def _restore_islands(self, islands: IslandSearch) -> float:
        """Every island goes on from its own last round."""
        seconds = 0.0
        for island in range(islands.plan.count):
            held = self.study.latest(f"island-{island}")
            if held is not None:
                islands.restore(island, held["state"], self.front)
                seconds = max(seconds, float(held["seconds"]))
        self.seen = islands.told
        if self.seen:
            self.study.notes.append(f"resumed after {self.seen:,} candidates")
        return seconds

    def _checkpoint(self, seconds: float) -> None:
        if isinstance(self.strategy, IslandSearch):
            return  # every round is in the journal already
        self.study.append("checkpoint", {"strategy": self.strategy.state(), "front": self.front.to_dict(), "seen": self.seen, "seconds": seconds})

    def _nothing_found(self) -> str:
        """No feasible candidate: say the closest reachable value of the budgets."""
        rows = self.settings.space.sample(4096, np.random.default_rng(self.settings.seed))
        costs = self.rulers.costs(rows)
        closest = ", ".join(
            format_cost(limit.name, float(costs[limit.name].min()) * self.rulers.unit(limit.name)) for limit in self.evaluator.limits
        )
        texts = " with ".join(limit.text for limit in self.evaluator.limits)
        return f"{self.strategy.name} met no architecture within {texts} in {self.seen:,} candidates; the least of 4,096 random ones are {closest}"

    def _finish(self, events: Any, seconds: float, top_k: int, pictures: bool) -> dict[str, Any]:
        folder = self.study.folder
        self.progress.show("writing results", force=True)
        costs = self.rulers.costs(self.front.rows)
        lines = []
        for i, row in enumerate(self.front.rows):
            arch = self.settings.space.decode(row)
            line: dict[str, Any] = {"rank": len(self.front.rows) - i, "score": float(self.front.score[i])}
            line |= {name: _number(value[i] * self.rulers.unit(name)) for name, value in costs.items()}
            lines.append({**line, "digest": arch.digest(), "row": [int(v) for v in row]})
        certificate = None
        exact = getattr(self.strategy, "result", None)
        if exact is not None:
            certificate = exact.certificate.to_dict()
        best_arch = self.settings.space.decode(self.front.rows[-1], name=folder.name)
        best = _candidate(self.evaluator, best_arch, "found", float(self.front.score[-1]))
        anchor = nearest_anchor(self.evaluator)
        write_atomic(folder / "front.csv", _front_csv(lines, self.settings.space))
        provenance = {"settings": self.study.settings, "versions": _versions(), "certificate": certificate}
        top = [self.settings.space.decode(row) for row in self.front.rows[::-1][:top_k]]
        for place, arch in enumerate(top, start=1):
            write_atomic(folder / "top" / f"{place:02d}-{arch.digest()}.yaml", arch.to_yaml())
        write_atomic(folder / "best.yaml", _best_yaml(best, provenance))
        result: dict[str, Any] = {
            "best": best.to_dict(), "anchor": None if anchor is None else anchor.to_dict(), "certificate": certificate,
            "front": lines, "candidates": self.seen, "seconds": round(seconds, 3),
        }  # fmt: skip
        if pictures:
            self._pictures(events, best, anchor, lines)
        self._inspection(events, best, top, pictures)
        write_atomic(folder / "result.json", json.dumps(result, indent=1, allow_nan=False))
        return result

    @property
    def _score_title(self) -> str:
        return f"zero-shot score {self.evaluator.score_name}"

    def _pictures(self, events: Any, best: Candidate, anchor: Candidate | None, lines: list[dict[str, Any]]) -> None:
        from nas.report.plots import architecture_png, front_png
        from nas.report.search_board import Scale

        scale = Scale(self.rulers, self.evaluator.limits[0])
        xs = [scale.of_costs(line) for line in lines]
        references = [] if anchor is None else [(anchor.name, scale.of_costs(anchor.costs), anchor.score)]
        picture = front_png(
            xs, [line["score"] for line in lines], scale.label, best=(xs[-1], lines[-1]["score"]), budget_x=scale.budget,
            references=references, title=self.study.folder.name, score=self._score_title,
        )  # fmt: skip
        write_atomic(self.study.folder / "front.png", picture)
        events.image("views/front", picture, self.seen)
        facts = [f"score {best.score:.6g}", *(format_cost(name, value) for name, value in best.costs.items())]
        drawing = architecture_png(best.architecture, ["   ".join(facts)])
        write_atomic(self.study.folder / "best.png", drawing)

    def _inspection(self, events: Any, best: Candidate, top: list[Architecture], pictures: bool) -> None:
        """What TensorBoard shows of the best, the finalists and the whole front."""
        from nas.report.search_board import show_embedding, show_finalists

        rows, scores = self.front.rows, self.front.score
        costs = {name: value * self.rulers.unit(name) for name, value in self.rulers.costs(rows).items()}
        finalists = [(arch, float(scores[-place]), {name: float(value[-place]) for name, value in costs.items()}) for place, arch in enumerate(top, start=1)]
        show_finalists(events, finalists, list(self.rulers.profiles), self.rulers.scope, self.rulers.input_px, pictures)
        show_embedding(events, self.settings.space, rows, scores, costs)
        events.text("best_architecture", "```\n" + best.architecture.to_yaml() + "```", self.seen)


def strategy_class(name: str) -> Callable[..., Strategy]:
    """The class behind a strategy's name."""
    import importlib

    if name not in STRATEGIES:
        raise unknown_name("strategy", name, STRATEGIES)
    module, _, attribute = STRATEGIES[name].partition(":")
    kind: Callable[..., Strategy] = getattr(importlib.import_module(module), attribute)
    return kind


def nearest_anchor(evaluator: Evaluator) -> Candidate | None:
    """DAMO-YOLO's published detector of the same style nearest to the main budget, on the same rulers."""
    limit = evaluator.limits[0]
    style = evaluator.rulers.space.style
    rulers, target = evaluator.rulers, limit.high * evaluator.rulers.unit(limit.name)

    def distance(arch: Architecture) -> float:
        cost = architecture_costs(arch, rulers.input_px, rulers.devices, rulers.scope).costs[limit.name]
        return abs(math.log(cost / target))

    # Nearest first, scored after: a forward-pass score takes seconds for every network it is asked of.
    nearest = min((a for a in PUBLISHED.values() if a.style == style), key=distance, default=None)
    return None if nearest is None else _candidate(evaluator, nearest, nearest.name)


def _candidate(evaluator: Evaluator, arch: Architecture, name: str, score: float | None = None) -> Candidate:
    rulers, own = evaluator.rulers, evaluator.score_name
    measured = architecture_costs(arch, rulers.input_px, rulers.devices, rulers.scope)
    scores = {} if score is None else {own: score}
    for other in dict.fromkeys((own, *fitting_scores(rulers))):
        if other not in scores:
            function = get_score(other)
            graph, px = ResolvedModel(name, arch).score_graph(rulers.input_px, function.deployed)
            scores[other] = float(function(graph, px, weights=rulers.weights, seed=evaluator.seed).value)
    costs = {key: _number(value) for key, value in measured.costs.items()}
    return Candidate(name, arch, scores[own], costs, measured.parts_ms, scores)


def default_name(settings: dict[str, Any]) -> str:
    """A run's folder name from its settings: readable, and different when an answer may differ."""
    parts = [settings["space"].replace("/", "_").removesuffix(".yaml"), "+".join(Path(d).stem for d in _listed(settings["device"])) or "nodevice", *settings["budget"], settings["strategy"]]
    import hashlib

    tail = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:6]
    return "-".join(str(p).replace("/", "_").replace(":", "_") for p in parts) + f"-{tail}"


def _listed(device: str | list[str] | None) -> list[str]:
    return [device] if isinstance(device, str) else list(device or ())


def _plain_name(name: str) -> str:
    """A folder name that stays below ``--runs``."""
    if name in (".", "..") or Path(name).name != name:
        raise BadInput(f"name {name!r} must be one plain folder name; choose the folder above it with --runs")
    return name


def _check(scope: str, strategy: str | None, steps: int, population: int, top_k: int) -> None:
    if scope not in SCOPES:
        raise unknown_name("scope", scope, SCOPES)
    if strategy is not None and strategy not in STRATEGIES:
        raise unknown_name("strategy", strategy, STRATEGIES)
    for what, value in (("steps", steps), ("population", population), ("top-k", top_k)):
        if value < 1:
            raise BadInput(f"{what} {value} must be at least 1")


def _as_result(folder: Path, data: dict[str, Any], study: RunFolder) -> SearchResult:
    def candidate(item: dict[str, Any] | None) -> Candidate | None:
        if item is None:
            return None
        return Candidate(item["name"], Architecture.from_dict(item["architecture"]), item["score"], item["costs"], item["latency_ms_by_part"], item.get("scores", {}))

    best = candidate(data["best"])
    assert best is not None
    return SearchResult(
        folder, best, tuple(data["front"]), candidate(data["anchor"]), data["certificate"], data["candidates"],
        data["seconds"], study.settings, tuple(study.notes),
    )  # fmt: skip


def _front_csv(lines: list[dict[str, Any]], space: Space) -> str:
    out = io.StringIO()
    names = [n for n in lines[0] if n != "row"]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*names, "structure"])
    for line in reversed(lines):
        text = " ".join(to_text(space.decode(line["row"])).split())
        writer.writerow([*(line[n] for n in names), text])
    return out.getvalue()


def _best_yaml(best: Candidate, provenance: dict[str, Any]) -> str:
    data = {"architecture": best.architecture.to_dict(), "score": best.score, "costs": best.costs, "latency_ms_by_part": best.parts_ms, "provenance": provenance}
    return str(yaml.safe_dump(data, sort_keys=False, default_flow_style=None))


def _digest(thing: Any) -> str:
    import hashlib

    return hashlib.sha256(repr(thing).encode()).hexdigest()[:12]


def _number(value: Any) -> float | int:
    """A plain number; whole ones as int."""
    number = round(float(value), 9)
    return int(number) if number.is_integer() else number


def _versions() -> dict[str, str]:
    return {"nas": workbench.__version__, "python": platform.python_version(), "numpy": np.__version__}
