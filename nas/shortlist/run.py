"""Trains a shortlist: candidates by successive halving, stock models to the end, in the search's own run folder.

Every candidate has one schedule for the whole training from the start. A rung pauses it, and candidates that continue
resume from the exact state they are in: what is trained to the end is bitwise what ``nas train`` makes of it alone, no
epoch is trained twice, and at a rung all are at the same place of the same schedule. The price is that a rung sees
learning rates that have not decayed yet; what is compared is the average of the weights, which compensates for that.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from distill.prepare import LogFunction, PreparedRun, prepare
from distill.study.subruns import History, SubRunResult, SubRuns
from nas.searcher.result import SearchResult
from nas.shortlist.request import STAND_IN, ShortlistRequest
from nas.shortlist.result import ShortlistEntry, ShortlistResult, cost_label
from nas.shortlist.rungs import promoted, rung_plan, spent_epochs
from nas.shortlist.selection import ShortlistCandidate, StockModel, compared_cost, select_candidates, stock_models
from workbench.console import Progress
from workbench.doors.records import stored_record
from workbench.errors import BadInput
from workbench.files import write_atomic

if TYPE_CHECKING:
    from workbench.run_folder import RunFolder

BELOW = "runs"
"""Folder of the trainings below the shortlist's."""


def train_shortlist(result: SearchResult, request: ShortlistRequest, pictures: bool = True) -> ShortlistResult:
    """Train what ``request`` asks for in ``result.folder``/trained, or resume."""
    import torch

    import workbench
    from workbench.run_folder import RunFiles, RunFolder

    if result.problem.scope != "detector":
        searched = f"the search was for the {result.problem.scope} alone"
        raise BadInput(f"--then trains whole detectors, and {searched}: leave --scope out")
    candidates = select_candidates(result, request.top)
    checked = prepare(dataclasses.replace(request.training, model=STAND_IN))
    settings = {
        **{key: value for key, value in checked.settings.items() if key not in ("model", "weights")},
        "candidates": [candidate.architecture.digest() for candidate in candidates],
        "against": None if request.against is None else list(request.against),
    }
    if request.training.input_px is None:  # every candidate at its own side
        settings["input_px"] = [result.problem.side_of(candidate.architecture) for candidate in candidates]
    versions = {"nas": workbench.__version__, "torch": str(torch.__version__)}
    files = ("trained.json", "trained.csv", "front.png", "*.yaml")
    products = RunFiles("training of a shortlist", files, (BELOW, "events"))
    folder = RunFolder.open(result.folder / "trained", settings, versions, products, request.training.fresh)
    progress = Progress(request.training.quiet)
    try:
        trained = _Shortlist(result, request, candidates, checked, folder, progress.show).run()
        _write(trained, pictures)
        return trained
    finally:
        progress.done()
        folder.close()


def _write(trained: ShortlistResult, pictures: bool) -> None:
    """Write the result's files into its folder."""
    from workbench.events import EventWriter

    write_atomic(trained.folder / "trained.json", json.dumps(trained.to_dict(), indent=1, allow_nan=False))
    write_atomic(trained.folder / "trained.csv", trained.to_csv())
    if pictures:
        plot = _plot(trained)
        write_atomic(trained.folder / "front.png", plot)
        with EventWriter(trained.folder / "events") as events:
            events.image("trained/front", plot, trained.epochs)
            events.text("trained/verdict", trained.summary(), trained.epochs)


class _Shortlist:
    """The trainings of one shortlist."""

    def __init__(
        self,
        result: SearchResult,
        request: ShortlistRequest,
        candidates: Sequence[ShortlistCandidate],
        checked: PreparedRun,
        folder: RunFolder,
        log: LogFunction,
    ) -> None:
        from distill.train.hooks.evaluation import evaluation_epochs

        self.result, self.request, self.candidates = result, request, candidates
        self.folder, self.log = folder, log
        self.epochs = checked.recipe.epochs
        # The same budget for all, whatever the recipes of their families say. Without a side, candidates are trained at
        # their own, and stock models at that of the best found, where they are costed too.
        self.training = dataclasses.replace(request.training, epochs=self.epochs, batch=checked.recipe.batch)
        self.stock_px = request.training.input_px or result.problem.side_of(result.best.architecture)
        self.plan = rung_plan(self.epochs, len(candidates), evaluation_epochs(self.epochs))
        self.runs = SubRuns(folder, BELOW)

    def run(self) -> ShortlistResult:
        """Rung after rung, then the stock models."""
        stock = self._stock_models()
        total = spent_epochs(self.plan) + len(stock) * self.epochs
        beside = ", ".join(model.model for model in stock) or "nothing"
        count = len(self.candidates)
        self.log(f"{count} candidates by halving, beside {beside}: {total} epochs in all", force=True)
        left = {candidate.name: candidate for candidate in self.candidates}
        entries: dict[str, ShortlistEntry] = {}
        for number, (epoch, keep) in enumerate(self.plan, start=1):
            left = self._promote(left, entries, keep)
            for name, candidate in left.items():
                entries[name] = self._train(candidate, epoch)
            aps = ", ".join(f"{name} AP {entries[name].ap:.4f}" for name in left)
            self.log(f"rung {number} of {len(self.plan)}, epoch {epoch}: {aps}", force=True)
        finished = [entries.pop(name) for name in left]
        for number, model in enumerate(stock, start=1):
            finished.append(self._train_stock(model, f"stock {number} of {len(stock)}, {model.model}: "))
        teaching = self.request.training.teaching
        return ShortlistResult(
            folder=self.folder.folder,
            cost_name=compared_cost(self.result),
            epochs=self.epochs,
            plan=tuple(self.plan),
            rows=tuple(finished),
            dropped=tuple(entries.values()),
            teachers=() if teaching is None else teaching.teachers,
        )

    def _promote(
        self, left: dict[str, ShortlistCandidate], entries: dict[str, ShortlistEntry], keep: int
    ) -> dict[str, ShortlistCandidate]:
        """The candidates that continue; the state of the others is removed."""
        if len(left) <= keep:
            return left
        names = promoted({name: entries[name].point for name in left}, keep)
        for name in left:
            if name not in names:
                self.runs.drop_state(name)
        return {name: left[name] for name in names}

    def _train(self, candidate: ShortlistCandidate, epoch: int) -> ShortlistEntry:
        """Train a candidate up to ``epoch``."""
        name = candidate.name
        file = self.folder.folder / f"{name}.yaml"
        if not file.exists():
            write_atomic(file, candidate.architecture.to_yaml())

        def enough(history: History) -> bool:
            return bool(history) and history[-1]["epoch"] >= epoch

        training = dataclasses.replace(self.training, model=str(file))
        title = f"{name} to epoch {epoch}: "
        run = self.runs.run(f"epoch {epoch} {name}", name, training, title, enough, keep_state=epoch != self.epochs)
        return _entry(name, run, candidate.cost, candidate.score)

    def _train_stock(self, stock: StockModel, title: str) -> ShortlistEntry:
        """Train a stock model to the end."""
        training = dataclasses.replace(self.training, model=stock.model, input_px=self.stock_px)
        run = self.runs.run(f"whole {stock.model}", stock.model, training, title)
        return _entry(stock.model, run, stock.cost, None)

    def _stock_models(self) -> list[StockModel]:
        """The stock models, chosen once and then read from the journal."""
        record = self.folder.latest("stock")
        if record is None:
            self.log("choosing stock models of about the same cost", force=True)
            models = stock_models(self.result, self.candidates, self.request.against)
            record = {"models": [[model.model, model.cost] for model in models]}
            self.folder.append("stock", record)
        with stored_record(self.folder.folder / "journal.jsonl"):
            return [StockModel(str(model), float(cost)) for model, cost in record["models"]]


def _entry(name: str, run: SubRunResult, cost: float, score: float | None) -> ShortlistEntry:
    """The entry of a training; only candidates have a score."""
    checkpoint = f"{run.folder}/best.safetensors"
    return ShortlistEntry(name, score is None, run.ap, cost, run.epochs, run.seconds, score, checkpoint)


def _plot(trained: ShortlistResult) -> bytes:
    from nas.report.trained_plot import Mark, trained_png

    units = {"flops": ("GFLOPs", 1e9), "params": ("parameters, M", 1e6), "act_bytes": ("activations, MB", 1e6)}
    label, scale = units.get(trained.cost_name, (f"{cost_label(trained.cost_name)}, ms", 1.0))
    front = trained.front
    marks = [Mark(row.name, row.cost / scale, row.ap, row.stock, row.name in front) for row in trained.rows]
    return trained_png(marks, label, f"{trained.folder.parent.name}: trained for {trained.epochs} epochs each")
