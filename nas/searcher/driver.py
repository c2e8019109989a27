"""Drives a strategy from its last checkpoint to its end: ask, evaluate, tell, log, checkpoint."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.budgets import format_cost
from nas.searcher.front import Front
from nas.searcher.products import Products
from nas.strategies.strategy import SearchState, Strategy
from workbench.console import Progress
from workbench.doors.records import stored_record
from workbench.errors import BadInput
from workbench.run_folder import RunFolder

if TYPE_CHECKING:
    from nas.report.search_board import FrontAnimation
    from workbench.events import EventWriter

CHECKPOINT_S, CHECKPOINT_SHARE = 2.0, 0.01
"""Time between checkpoints: this number of seconds or this share of the time spent so far, whichever is longer. A day's
run then loses at most minutes, and its journal stays small."""


class Driver:
    """One strategy, its run folder, and the state of the search."""

    def __init__(self, study: RunFolder, strategy: Strategy, products: Products, progress: Progress) -> None:
        self.study, self.strategy, self.products, self.progress = study, strategy, products, progress
        self.evaluator = strategy.context.evaluator
        self.search = SearchState(Front(strategy.context.space.genes))
        self.animation: FrontAnimation | None = None

    def run(self, start: float) -> dict[str, Any]:
        """Search, then write the products; returns the result record.

        ``start`` is the time (``time.perf_counter`` seconds) from which this process counts the seconds spent.
        """
        from nas.report.search_board import FrontAnimation, Scale
        from workbench.events import EventWriter

        with stored_record(self.study.folder / "journal.jsonl"):
            self.strategy.load(self.study.latest, self.search)
        if self.search.candidates:
            self.study.notes.append(f"resumed after {self.search.candidates:,} candidates")
        start -= self.search.seconds
        with EventWriter(self.study.folder / "events") as events:
            if self.products.pictures:
                scale = Scale(self.evaluator.space_costs, self.evaluator.limits[0])
                title, score = self.study.folder.name, self.products.score_title
                self.animation = FrontAnimation(events, scale, title, score)
            self._loop(start, events)
            if not len(self.search.front.rows):
                raise BadInput(self._nothing_found())
            self._note_rejected()
            self.search.seconds = time.perf_counter() - start
            self.progress.show("writing results", force=True)
            result = self.products.write(self.search, self.strategy.certificate, events)
        self.study.append("done", result)
        return result

    def _loop(self, start: float, events: EventWriter) -> None:
        saved = time.monotonic()
        try:
            while not self.strategy.finished:
                self._step()
                self.search.seconds = time.perf_counter() - start
                due = time.monotonic() - saved > max(CHECKPOINT_S, CHECKPOINT_SHARE * self.search.seconds)
                if due or self.strategy.saves_every_step:
                    self._checkpoint()
                    saved = time.monotonic()
                self._log(events)
        except KeyboardInterrupt:
            self.search.seconds = time.perf_counter() - start
            self._checkpoint()
            raise

    def _step(self) -> None:
        """One batch: asked, evaluated, told, and its usable rows merged into the front."""
        rows = self.strategy.ask()
        evaluation = self.strategy.evaluate(rows)
        self.strategy.tell(rows, evaluation)
        usable = evaluation.usable
        cost = evaluation.costs[self.evaluator.primary]
        self.search.front.add(rows[usable], evaluation.score[usable], cost[usable])
        self.search.candidates = self.strategy.candidates
        for failure in self.evaluator.failed:
            self.study.append("failed", failure)
            self.study.notes.append(f"one candidate got no score: {failure['reason']}")
        self.evaluator.failed.clear()

    def _checkpoint(self) -> None:
        for kind, record in self.strategy.save(self.search):
            self.study.append(kind, record)

    def _log(self, events: EventWriter) -> None:
        """Scalars, the progress line, and the animation of the front."""
        front, candidates, seconds = self.search.front, self.search.candidates, self.search.seconds
        rate = candidates / max(seconds, 1e-9)
        events.scalar("search/candidates_per_s", rate, candidates)
        text = f"{self.strategy.name}  {candidates:,} candidates  {rate:,.0f}/s"
        if len(front.rows):
            best, limit = float(front.score[-1]), self.evaluator.limits[0]
            unit = self.evaluator.space_costs.unit(limit.name)
            events.scalar("search/best_score", best, candidates)
            events.scalar("search/front_hypervolume", front.hypervolume(limit.high) * unit, candidates)
            events.scalar("search/front_points", len(front.rows), candidates)
            text += f"  best {best:.6g} at {format_cost(limit.name, int(front.cost[-1]) * unit)} of {limit.text}"
        share = self.strategy.progress
        if 0 < share < 1:
            text += f"  {share:4.0%}, {seconds / share * (1 - share):.0f} s left"
        self.progress.show(text)
        if self.animation is not None:
            self.animation.show(front, candidates, seconds)

    def _note_rejected(self) -> None:
        """Note how many candidates the score's filter rejected."""
        rejected, score_filter = self.strategy.ineffective, self.evaluator.score.filter
        if rejected and score_filter is not None:
            self.study.notes.append(f"{rejected:,} candidates were {score_filter.reason} and got no score")

    def _nothing_found(self) -> str:
        """The error text for a search without a feasible candidate, with the closest reachable costs."""
        space_costs, limits = self.evaluator.space_costs, self.evaluator.limits
        rows = space_costs.space.sample(4096, np.random.default_rng(self.strategy.context.seed))
        costs = space_costs.costs(rows)
        closest = ", ".join(
            format_cost(limit.name, float(costs[limit.name].min()) * space_costs.unit(limit.name)) for limit in limits
        )
        texts = " with ".join(limit.text for limit in limits)
        return (
            f"{self.strategy.name} met no architecture within {texts} in {self.search.candidates:,} candidates; "
            f"the least of 4,096 random ones are {closest}"
        )
