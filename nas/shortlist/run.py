"""Trains a shortlist: candidates by successive halving, stock models to the end, everything in the search's own run folder.

Every candidate has the one schedule of the whole training from the start. A rung pauses it, and who goes on, goes on from the very
state it stands in: what is trained to the end is to the bit what ``nas train`` makes of it alone, no epoch is trained
twice, and at a rung all stand at the same place of the same schedule. The price is that a rung sees rates that have not come
down yet; what is compared is the average of the weights, which evens that out.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from distill.prepare import PreparedRun, prepare
from distill.request import TrainRequest
from distill.study.subruns import History, SubRunResult, SubRuns
from nas.searcher.result import SearchResult
from nas.shortlist.pick import ShortlistCandidate, StockModel, pick, ruler, stock_models
from nas.shortlist.result import ShortlistEntry, ShortlistResult, label
from nas.shortlist.rungs import promoted, rungs, spent_epochs
from workbench.console import Progress
from workbench.errors import BadInput
from workbench.files import write_atomic

CHECKED = "damo-yolo-t"
"""Stands for the candidates when the request is checked before the search; they are of its family."""
BELOW = "runs"


@dataclass(frozen=True, slots=True)
class ShortlistRequest:
    """What ``--then`` asks for. ``request`` is for every training; its model is filled in."""

    request: TrainRequest
    top: int = 5
    against: tuple[str, ...] | None = None
    """Stock models by name; None takes the nearest ones, empty none."""

    def check(self) -> None:
        """Refuse what is not there before anything is searched."""
        from zoo.families.card import find_card

        if self.top < 1:
            raise BadInput(f"--top {self.top} must be at least 1: so many of the front are trained")
        for model in self.against or ():
            find_card(model)
        prepare(dataclasses.replace(self.request, model=CHECKED))


def train_shortlist(result: SearchResult, wish: ShortlistRequest, pictures: bool = True) -> ShortlistResult:
    """Train what ``wish`` asks for in ``result.folder``/trained, or go on with what is there."""
    import torch

    import workbench
    from workbench.events import EventWriter
    from workbench.run_folder import RunFiles, RunFolder

    if result.problem.scope != "detector":
        raise BadInput(f"--then trains whole detectors, and the search was for the {result.problem.scope} alone: leave --scope out")
    candidates = pick(result, wish.top)
    where = result.folder / "trained"
    first = prepare(dataclasses.replace(wish.request, model=CHECKED))
    shared = {key: value for key, value in first.settings.items() if key not in ("model", "weights")}
    settings = {**shared, "candidates": [one.architecture.digest() for one in candidates], "against": None if wish.against is None else list(wish.against)}
    products = RunFiles("training of a shortlist", ("trained.json", "trained.csv", "front.png", "*.yaml"), (BELOW, "events"))
    folder = RunFolder.open(where, settings, {"nas": workbench.__version__, "torch": str(torch.__version__)}, products, wish.request.fresh)
    progress = Progress(wish.request.quiet)
    try:
        found = _Shortlist(result, wish, candidates, first, folder, progress.show).run()
        write_atomic(where / "trained.json", json.dumps(found.to_dict(), indent=1, allow_nan=False))
        write_atomic(where / "trained.csv", found.to_csv())
        if pictures:
            picture = _picture(found)
            write_atomic(where / "front.png", picture)
            with EventWriter(where / "events") as board:
                board.image("trained/front", picture, found.epochs)
                board.text("trained/verdict", found.says(), found.epochs)
        return found
    finally:
        progress.done()
        folder.close()


class _Shortlist:
    """One shortlist while it is trained."""

    def __init__(self, result: SearchResult, wish: ShortlistRequest, candidates: Sequence[ShortlistCandidate], first: PreparedRun, folder: Any, log: Callable[..., None]) -> None:
        from distill.train.hooks.evaluation import evaluation_epochs

        self.result, self.candidates, self.folder, self.log = result, candidates, folder, log
        # the same budget for everyone, whatever their families' recipes say
        self.request = dataclasses.replace(wish.request, epochs=first.recipe.epochs, batch=first.recipe.batch, input_px=first.input_px)
        self.epochs = first.recipe.epochs
        self.plan = rungs(self.epochs, len(candidates), evaluation_epochs(self.epochs))
        self.runs = SubRuns(folder, BELOW)
        self.against = wish.against

    def run(self) -> ShortlistResult:
        """Rung after rung, then the stock models."""
        stock = self._stock()
        whole = spent_epochs(self.plan) + len(stock) * self.epochs
        self.log(f"{len(self.candidates)} finds by halving, beside {', '.join(one.model for one in stock) or 'nothing'}: {whole} epochs in all", force=True)
        left = {one.name: one for one in self.candidates}
        rows: dict[str, ShortlistEntry] = {}
        for number, (epoch, count) in enumerate(self.plan):
            left = self._promote(left, rows, count)
            for name, one in left.items():
                rows[name] = self._row(one, self._train(one, epoch))
            self.log(f"rung {number + 1} of {len(self.plan)}, epoch {epoch}: " + ", ".join(f"{name} AP {rows[name].ap:.4f}" for name in left), force=True)
        ends = [rows.pop(name) for name in left]
        for at, model in enumerate(stock, start=1):
            request = dataclasses.replace(self.request, model=model.model)
            trial = self.runs.run(f"whole {model.model}", model.model, request, f"stock {at} of {len(stock)}, {model.model}: ")
            ends.append(ShortlistEntry(model.model, True, trial.ap, model.cost, trial.epochs, trial.seconds, None, f"{trial.folder}/best.safetensors"))
        teachers = () if self.request.teaching is None else self.request.teaching.teachers
        return ShortlistResult(self.folder.folder, ruler(self.result), self.epochs, tuple(self.plan), tuple(ends), tuple(rows.values()), teachers)

    def _promote(self, left: dict[str, ShortlistCandidate], rows: dict[str, ShortlistEntry], count: int) -> dict[str, ShortlistCandidate]:
        """Who goes on; what the others would go on from is removed."""
        if len(left) <= count:
            return left
        kept = promoted({name: rows[name].point for name in left}, count)
        for name in left:
            if name not in kept:
                self.runs.drop_state(name)
        return {name: left[name] for name in kept}

    def _train(self, one: ShortlistCandidate, epoch: int) -> SubRunResult:
        file = self.folder.folder / f"{one.name}.yaml"
        if not file.exists():
            write_atomic(file, one.architecture.to_yaml())
        last = epoch == self.epochs

        def enough(history: History) -> bool:
            return bool(history) and history[-1]["epoch"] >= epoch

        request = dataclasses.replace(self.request, model=str(file))
        return self.runs.run(f"epoch {epoch} {one.name}", one.name, request, f"{one.name} to epoch {epoch}: ", enough, keep_state=not last)

    @staticmethod
    def _row(one: ShortlistCandidate, trial: SubRunResult) -> ShortlistEntry:
        return ShortlistEntry(one.name, False, trial.ap, one.cost, trial.epochs, trial.seconds, one.score, f"{trial.folder}/best.safetensors")

    def _stock(self) -> list[StockModel]:
        """The stock models, chosen once."""
        held = self.folder.latest("stock")
        if held is None:
            self.log("choosing stock models of about the same cost", force=True)
            chosen = stock_models(self.result, self.candidates, self.against)
            held = {"models": [[one.model, one.cost] for one in chosen]}
            self.folder.append("stock", held)
        return [StockModel(model, cost) for model, cost in held["models"]]


def _picture(found: ShortlistResult) -> bytes:
    from nas.report.trained_plot import Mark, trained_png

    unit = {"flops": ("GFLOPs", 1e9), "params": ("parameters, M", 1e6), "act_bytes": ("activations, MB", 1e6)}
    name, scale = unit.get(found.cost_name, (f"{label(found.cost_name)}, ms", 1.0))
    marks = [Mark(row.name, row.cost / scale, row.ap, row.stock, row.name in found.front) for row in found.rows]
    return trained_png(marks, name, f"{found.folder.parent.name}: trained for {found.epochs} epochs each")

