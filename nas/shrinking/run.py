"""A shrinking in its run folder: measures importance, chooses, cuts and teaches, child by child, round by round.

Everything finished is in the journal or a file of its own, so the same request resumes after an interruption and ends
with the same answer.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import workbench
from distill.importance.measure import MeasureOptions, measure_importance
from distill.importance.scores import ImportanceScores
from distill.request import folder_name
from distill.study.recovery import RecoveryRequest, recover
from distill.study.recovery_result import RecoveryResult
from nas.budgets import Budget, parse_budgets
from nas.costs import latency_profiles
from nas.searcher.problem import open_devices
from nas.searcher.settings import value_digest
from nas.shrinking.choice import Choice, Chooser
from nas.shrinking.request import WITHOUT_DATA, ShrinkRequest
from nas.shrinking.result import Child, ShrinkResult
from workbench.console import Progress
from workbench.errors import BadInput
from workbench.files import file_sha256, replacing, write_atomic
from workbench.run_folder import RunFiles, RunFolder
from zoo.pruning.apply import apply_cuts
from zoo.pruning.groups import ChannelGroups, channel_groups
from zoo.pruning.lineage import child_info
from zoo.resolve import load_checkpoint
from zoo.weights.checkpoint import save
from zoo.weights.licence import of_weights

if TYPE_CHECKING:
    from distill.data.dataset import DataSet
    from zoo.detector import Detector

FILES = RunFiles(
    "shrinking",
    ("shrink.json", "compare.*", "*.safetensors", "*.png"),
    ("importance", "cut", "trained", "events"),
)


def run_shrink(request: ShrinkRequest) -> ShrinkResult:
    """Shrink a detector in its run folder, or resume there."""
    request.check()
    run = _Run(request)
    try:
        return run.result()
    except BadInput:
        run.folder.undo()
        raise
    finally:
        run.progress.done()
        run.folder.close()


def unfit_parent(scores: ImportanceScores) -> list[str]:
    """A note where the loss on the data falls without most blocks, each by itself, so that all of these cost nothing.

    ``docs/benchmarks/shrink.md`` has a detector that lost most of its worth this way.
    """
    free = sum(value == 0.0 for value in scores.blocks.values())
    if not scores.images or 2 * free <= len(scores.blocks):
        return []
    return [
        f"the loss on the data falls without {free} of {len(scores.blocks)} blocks, each by itself, so skipping them "
        "counts as free: the parent does not fit the data yet; train it on the data first and shrink the result"
    ]


class _Run:
    def __init__(self, request: ShrinkRequest) -> None:
        self.request = request
        self.profiles = latency_profiles(open_devices(request.devices))
        self.budgets = parse_budgets(request.budgets)
        self.parent, self.parent_file = _open_parent(request.parent), Path(request.parent)
        self.sha256 = file_sha256(self.parent_file)
        self.notes: list[str] = []
        if request.method == WITHOUT_DATA:
            self.notes.append(
                f"importance {WITHOUT_DATA!r} looks at weights alone and was found to order layers badly; with --data "
                "it is measured on your images"
            )
        self.data = self._open_data()
        self.input_px = request.input_px or self.parent.info.input_px
        self.folder = self._open_folder()
        self.progress = Progress(request.quiet)
        self._keep_adapted_parent()
        self.first: Chooser | None = None

    def _open_data(self) -> DataSet | None:
        """The training data; the parent gets class layers for its classes."""
        if self.request.train is None:
            return None
        import torch

        from distill.prepare import prepare
        from distill.train.transfer import adapt_classes

        train = dataclasses.replace(self.request.train, model=self.request.parent)
        data = prepare(train).data
        torch.manual_seed(self.request.seed)
        self.parent, fresh = adapt_classes(self.parent, data.classes)
        self.adapted = bool(fresh)
        if fresh:
            self.notes.append(
                f"the parent does not know the data's {len(data.classes)} classes: {len(fresh)} of its tensors start "
                "anew, and importance is measured with them"
            )
        return data

    def _open_folder(self) -> RunFolder:
        request = self.request
        settings: dict[str, Any] = {
            "parent": str(request.parent), "parent_sha256": self.sha256, "budget": [str(b) for b in self.budgets],
            "device": list(request.devices), "device_digest": [value_digest(p) for p in self.profiles.values()],
            "importance": request.method, "images": request.images, "grid": request.grid, "input_px": self.input_px,
            "front": request.sizes, "rounds": request.rounds, "seed": request.seed, "gap": request.gap,
        }  # fmt: skip
        if request.train is not None and self.data is not None:
            train = request.train
            settings |= {
                "data": train.data, "data_sha256": self.data.digest(), "recipe": train.recipe,
                "epochs": train.epochs, "batch": train.batch, "changes": list(train.changes),
            }  # fmt: skip
        name = request.name or f"shrink-{folder_name(request.parent)}-{'-'.join(map(str, self.budgets))}"
        if Path(name).name != name or name in (".", ".."):
            raise BadInput(f"name {name!r} must be one plain folder name; choose the folder above it with --runs")
        versions = {"nas": workbench.__version__}
        return RunFolder.open(Path(request.runs) / name, settings, versions, FILES, request.fresh)

    def _keep_adapted_parent(self) -> None:
        """A parent with new class layers teaches as it was cut: from a file of its own."""
        if self.data is not None and self.adapted:
            self.parent_file = self.folder.folder / "parent.safetensors"
            save(self.parent, self.parent_file)

    def result(self) -> ShrinkResult:
        """All children, the largest first."""
        sizes = self.request.sizes
        children = tuple(self._child(number) for number in range(1, sizes + 1))
        assert self.first is not None
        child = load_checkpoint(children[-1].file)
        licence = of_weights(child.info.provenance, child.info.lineage)
        result = ShrinkResult(
            self.folder.folder, str(self.request.parent), self.first.parent_costs, children, licence.text(),
            tuple([*self.folder.notes, *self.notes]),
        )  # fmt: skip
        text = json.dumps(result.to_dict(), indent=1, allow_nan=False)
        write_atomic(self.folder.folder / "shrink.json", text)
        return result

    def _child(self, number: int) -> Child:
        """Child ``number`` of ``sizes``: all its rounds."""
        request = self.request
        name = "child" if request.sizes == 1 else f"child-{number}"
        file = self.folder.folder / f"{name}.safetensors"
        current, choices = self.parent, []
        recovery: RecoveryResult | None = None
        for index in range(1, request.rounds + 1):
            label = name if request.rounds == 1 else f"{name}-round-{index}"
            share = number / request.sizes * index / request.rounds
            chooser = self._chooser(current, "parent" if index == 1 else label)
            choice = self._choice(chooser, label, share)
            start = self._cut(current, chooser.groups, choice, label)
            if request.pictures:
                self._draw(chooser.groups, choice, label)
            choices.append(choice)
            if request.train is not None:
                recovery = self._teach(start, label, index)
                current = load_checkpoint(recovery.last)
        source = start if recovery is None else recovery.last
        with replacing(file) as temporary:
            shutil.copyfile(source, temporary)
        return Child(name, file, tuple(choices), recovery)

    def _chooser(self, current: Detector, label: str) -> Chooser:
        """Importance of ``current`` and its tables; the parent's are made once."""
        if current is self.parent and self.first is not None:
            return self.first
        groups = channel_groups(current)
        options = MeasureOptions(images=self.request.images, input_px=self.input_px, seed=self.request.seed)
        scores = measure_importance(
            current, groups, self.request.method, self.data, options, folder=self.folder.folder / "importance" / label,
            progress=self.progress, log=lambda text: self.progress.show(text, force=True),
        )  # fmt: skip
        chooser = Chooser(current, scores, self.profiles, self.input_px, self.request.grid, self.progress.show)
        if self.first is None:
            self.first = chooser
            self.notes += unfit_parent(scores)
        return chooser

    def _choice(self, chooser: Chooser, label: str, share: float) -> Choice:
        """The choice for ``share`` of the way from the parent to the budgets, from the journal if it is there."""
        record = self.folder.latest(f"choice {label}")
        if record is not None:
            return Choice.from_dict(record)
        assert self.first is not None
        budgets = self._budgets(self.first, share)
        choice = chooser.choose(budgets, self.request.gap, self.request.time_limit_s, self.progress.show)
        self.folder.append(f"choice {label}", choice.to_dict())
        return choice

    def _budgets(self, first: Chooser, share: float) -> Sequence[Budget]:
        """The budgets, or for a share below 1 their ratios to the parent's costs to the power of ``share``."""
        first.limits(self.budgets)  # refuses quantities that cannot be limited
        if share == 1:
            return self.budgets
        between = []
        for budget, name in zip(self.budgets, first.limits(self.budgets), strict=True):
            full = first.parent_costs[name]
            high = max(budget.high, full * (budget.high / full) ** share)
            between.append(dataclasses.replace(budget, high=high, low=0.0))
        return between

    def _cut(self, current: Detector, groups: ChannelGroups, choice: Choice, label: str) -> Path:
        """Write the cut detector with the weights of ``current``, before any training."""
        file = self.folder.folder / "cut" / f"{label}.safetensors"
        if not file.exists():
            child = copy.deepcopy(current)
            apply_cuts(child, choice.cuts, groups)
            child.recipe = dataclasses.replace(current.recipe, cuts=current.recipe.cuts.then(choice.cuts))
            child.info = dataclasses.replace(child_info(self.parent, self.sha256), input_px=self.input_px)
            file.parent.mkdir(parents=True, exist_ok=True)
            save(child, file)
        return file

    def _teach(self, start: Path, label: str, index: int) -> RecoveryResult:
        """Train a cut detector by the parent; in the last round beside its controls."""
        request, epochs = self.request, self._epochs()
        assert request.train is not None
        train = dataclasses.replace(
            request.train, runs=str(self.folder.folder / "trained"), name=label, input_px=self.input_px, fresh=False,
            epochs=epochs,
        )  # fmt: skip
        self.progress.done()
        if index < request.rounds:
            return recover(RecoveryRequest(str(start), str(self.parent_file), train))
        earlier = (index - 1) * epochs if epochs is not None else 0
        return recover(
            RecoveryRequest(
                str(start), str(self.parent_file), train, request.control, request.against, request.seeds, earlier
            )
        )

    def _epochs(self) -> int | None:
        """Epochs of one round: an equal part of all."""
        request = self.request
        assert request.train is not None
        if request.rounds == 1:
            return request.train.epochs
        from distill.prepare import prepare

        epochs = prepare(dataclasses.replace(request.train, model=request.parent)).recipe.epochs
        return max(1, round(epochs / request.rounds))

    def _draw(self, groups: ChannelGroups, choice: Choice, label: str) -> None:
        """The channels kept by layer, as a PNG and in TensorBoard."""
        from nas.report.cut_plot import cuts_png, show_cuts
        from workbench.events import EventWriter

        file = self.folder.folder / f"{label}.png"
        if file.exists():
            return
        title = f"{label} of {folder_name(self.request.parent)}: {', '.join(map(str, self.budgets))}"
        with EventWriter(self.folder.folder / "events") as events:
            show_cuts(events, groups, choice.cuts, title)
        with replacing(file) as temporary:
            Path(temporary).write_bytes(cuts_png(groups, choice.cuts, title))


def _open_parent(text: str) -> Detector:
    """The parent, which must have trained weights and be in training form."""
    if Path(text).suffix != ".safetensors":
        raise BadInput(
            f"{text!r} is no checkpoint (.safetensors): nas shrink starts from trained weights; nas zoo import brings "
            "official ones in, nas train makes your own"
        )
    parent = load_checkpoint(text)
    if parent.fused:
        raise BadInput(f"{text!r} is folded for deployment and cannot be cut: give the unfolded checkpoint")
    return parent
