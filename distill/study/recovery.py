"""Recovery: a cut detector learns again from its parent, beside controls at the same steps.

The controls are the child without a teacher, its architecture from random weights, and stock checkpoints. Every one is
an ordinary training below ``runs/NAME/recovery``; a finished one is not repeated, and more seeds or controls can be
added later.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.prepare import prepare
from distill.request import TrainRequest, folder_name
from distill.study.gain import paired
from distill.study.recovery_result import RANDOM, TAUGHT, UNTAUGHT, RecoveryResult, Runs
from distill.study.subruns import SubRunResult, SubRuns, runs_folder
from distill.teach.request import CHECKPOINT, TeacherRequest
from distill.teach.same_network import same_network
from workbench.console import Progress
from workbench.errors import BadInput
from workbench.files import file_sha256, write_atomic

if TYPE_CHECKING:
    from distill.data.dataset import DataSet
    from distill.prepare import PreparedRun
    from workbench.events import EventWriter
    from workbench.run_folder import RunFolder

BELOW = "recovery"
MAX_SEEDS = 100
TITLES = {TAUGHT: "taught by its parent", UNTAUGHT: "without a teacher", RANDOM: "from random weights"}


@dataclass(frozen=True, slots=True)
class RecoveryRequest:
    """A recovery as it is asked for."""

    child: str
    """Checkpoint of the cut detector before training."""
    parent: str
    """Checkpoint of the detector that it was cut from; it teaches."""
    train: TrainRequest
    """Data, recipe, epochs, batch, first seed and run folder; its ``model`` is not read. Its ``teaching``, if given,
    states methods, share and cache; its teachers are replaced by the parent."""
    control: bool = False
    """Whether the untaught child and random weights are trained too; without it the taught child alone is trained, once
    for every seed."""
    against: tuple[str, ...] = ()
    """Stock checkpoints that are fine-tuned at the same steps, as further controls."""
    seeds: int = 1
    earlier_epochs: int = 0
    """Epochs that the child has had in earlier rounds: random weights and stock checkpoints train as many on top."""


def recover(
    request: RecoveryRequest, after_seed: Callable[[RecoveryResult], None] = lambda result: None
) -> RecoveryResult:
    """Train the child and its controls, and write ``recovery.json``, ``recovery.csv`` and TensorBoard curves.

    Args:
        after_seed: called after every seed with what there is so far, which is complete up to that seed.
    """
    plan = _plan(request)
    folder = _open_folder(request, plan)
    from workbench.events import EventWriter

    progress = Progress(request.train.quiet)
    try:
        for note in plan.notes:
            progress.show(f"note: {note}", force=True)
        parent_ap = _parent_ap(folder, request, plan, progress)
        runs = SubRuns(folder, BELOW)
        trained: dict[str, Runs] = {kind: {} for kind in plan.requests}
        for seed in range(request.train.seed, request.train.seed + request.seeds):
            for kind in plan.requests:
                trained[kind][seed] = _train(runs, plan, kind, seed)
            result = RecoveryResult(folder.folder, trained, plan.notes, parent_ap, request.earlier_epochs)
            write_atomic(folder.folder / "recovery.json", json.dumps(result.to_dict(), indent=1, allow_nan=False))
            write_atomic(folder.folder / "recovery.csv", result.to_csv())
            after_seed(result)
        with EventWriter(folder.folder / "events") as board:
            _write_curves(board, result)
        return result
    finally:
        progress.done()
        folder.close()


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is trained: a request for every kind, all with the same number of steps, earlier rounds included."""

    requests: dict[str, TrainRequest]
    names: dict[str, str]
    """The folder of every kind, without its seed."""
    settings: dict[str, Any]
    notes: tuple[str, ...]
    val: DataSet
    """Images to validate."""


def _plan(request: RecoveryRequest) -> _Plan:
    """Check the request and resolve its trainings; nothing is written."""
    if not 1 <= request.seeds <= MAX_SEEDS:
        raise BadInput(f"--seeds {request.seeds} must be from 1 to {MAX_SEEDS}")
    for file in (request.child, request.parent, *request.against):
        if Path(file).suffix != CHECKPOINT:
            raise BadInput(f"{file!r} must be a checkpoint (.safetensors): child, parent and --against have weights")
    untaught = dataclasses.replace(request.train, model=request.child, weights=None, teaching=None)
    prepared = prepare(untaught)
    untaught = _same_steps(untaught, prepared)
    teaching, notes = _teaching(request, prepared)
    taught = dataclasses.replace(untaught, teaching=teaching)
    settings = {**prepare(taught).settings, "recovery": True, "child_sha256": _sha256(request.child)}
    if request.earlier_epochs:
        settings["earlier_epochs"] = request.earlier_epochs
    assert untaught.epochs is not None
    whole = dataclasses.replace(untaught, epochs=untaught.epochs + request.earlier_epochs)
    requests, names = {TAUGHT: taught}, {TAUGHT: TAUGHT}
    if request.control:
        requests |= {UNTAUGHT: untaught, RANDOM: whole}
        names |= {UNTAUGHT: UNTAUGHT, RANDOM: RANDOM}
    for file in request.against:
        kind = _new_name(folder_name(file), requests)
        requests[kind] = dataclasses.replace(whole, model=file)
        names[kind] = f"{kind}-{_sha256(file)[:8]}"
        prepare(requests[kind])  # a file that cannot be trained is reported before hours are spent on others
    return _Plan(requests, names, settings, notes, prepared.val)


def _same_steps(request: TrainRequest, prepared: PreparedRun) -> TrainRequest:
    """``request`` with the epochs and batches of ``prepared``: other families have other defaults."""
    recipe = prepared.recipe
    changes = (*request.changes, f"accumulate={recipe.accumulate}")
    return dataclasses.replace(
        request, epochs=recipe.epochs, batch=recipe.batch, input_px=prepared.input_px, changes=changes
    )


def _teaching(request: RecoveryRequest, prepared: PreparedRun) -> tuple[TeacherRequest, tuple[str, ...]]:
    """The parent as a teacher, and what has to be said about classes."""
    from distill.teach.class_mapping import shared_classes
    from zoo.resolve import load_checkpoint

    child, parent = load_checkpoint(request.child), load_checkpoint(request.parent)
    if not same_network(child, parent):
        raise BadInput(
            f"{request.child!r} is a {child.recipe.model} and {request.parent!r} a {parent.recipe.model}: a child is "
            "taught by the network that it was cut from; nas distill takes other teachers"
        )
    teaching = request.train.teaching or TeacherRequest(())
    teaching = dataclasses.replace(teaching, teachers=(request.parent,), weights=())
    classes, notes = prepared.data.classes, []
    if child.info.class_names != classes.names:
        notes.append(
            "the child was cut at other classes than the data's, so its class layers start anew; adapt the parent to "
            "the data's classes before it is cut, and importance is measured with them"
        )
    known = shared_classes(classes.names, parent.info.class_names)
    if known < len(classes.names):
        notes.append(f"the parent knows {known} of the data's {len(classes.names)} classes")
    if not known and teaching.responses is None:
        teaching = dataclasses.replace(teaching, responses=())
        notes[-1] += ": it teaches features alone"
    return teaching, tuple(notes)


def _parent_ap(folder: RunFolder, request: RecoveryRequest, plan: _Plan, progress: Progress) -> float | None:
    """AP of the teacher on the validation images, from the journal if it is there; None if it knows other classes."""
    from distill.train.evaluate import evaluate
    from zoo.resolve import load_checkpoint

    taught, parent = plan.requests[TAUGHT], load_checkpoint(request.parent)
    if parent.info.class_names != plan.val.classes.names:
        return None
    record = folder.latest("parent")
    if record is None:
        result = evaluate(
            parent, plan.val, input_px=taught.input_px, batch=taught.batch or 1, device=taught.device,
            data_workers=taught.data_workers, log=lambda text: progress.show(f"the parent: {text}"),
        )  # fmt: skip
        record = {"ap": result.ap}
        folder.append("parent", record)
    progress.show(f"the parent has AP {record['ap']:.4f} on the validation images", force=True)
    return float(record["ap"])


def _train(runs: SubRuns, plan: _Plan, kind: str, seed: int) -> SubRunResult:
    """One training, from the journal if it is done."""
    key, name = f"seed {seed} {plan.names[kind]}", f"seed-{seed}-{plan.names[kind]}"
    request = dataclasses.replace(plan.requests[kind], seed=seed)
    if request.teaching is not None:
        request = dataclasses.replace(request, teaching=request.teaching.with_cache_below(f"seed-{seed}"))
    start = runs.folder.folder / BELOW / f"random-{seed}{CHECKPOINT}"
    if kind == RANDOM and runs.done(key) is None:
        _save_random(request.model, seed, start)
    if kind == RANDOM:
        request = dataclasses.replace(request, model=str(start))
    result = runs.run(key, name, request, f"seed {seed}, {TITLES.get(kind, kind)}: ")
    if kind == RANDOM:
        start.unlink(missing_ok=True)
    return result


def _save_random(child: str, seed: int, path: Path) -> None:
    """Write the child's architecture with random weights."""
    from distill.study.fresh_weights import with_fresh_weights
    from zoo.resolve import load_checkpoint
    from zoo.weights.checkpoint import save

    path.parent.mkdir(parents=True, exist_ok=True)
    save(with_fresh_weights(load_checkpoint(child), seed), path)


def _open_folder(request: RecoveryRequest, plan: _Plan) -> RunFolder:
    import torch

    import workbench
    from workbench.run_folder import RunFiles, RunFolder

    # without the number of seeds and the controls: a finished recovery may be given more of them
    products = RunFiles("recovery", ("recovery.json", "recovery.csv"), (BELOW, "events"))
    versions = {"nas": workbench.__version__, "torch": str(torch.__version__)}
    folder = runs_folder(request.train, f"recover-{folder_name(request.child)}-{folder_name(request.train.data)}")
    return RunFolder.open(folder, plan.settings, versions, products, request.train.fresh)


def _new_name(name: str, taken: dict[str, TrainRequest]) -> str:
    """``name``, with a number if it is taken."""
    number, free = 2, name
    while free in taken or free in TITLES:
        number, free = number + 1, f"{name}-{number}"
    return free


def _sha256(file: str) -> str:
    try:
        return file_sha256(file)
    except OSError as error:
        raise BadInput(f"cannot read {file!r}: {error.strerror}") from error


def _write_curves(board: EventWriter, result: RecoveryResult) -> None:
    """Mean AP by epoch of every kind, and by how much the taught child is ahead, for TensorBoard."""
    for kind in result.runs:
        for epoch, ap in result.curve(kind).items():
            board.scalar(f"recovery/{kind}", ap, epoch)
    for kind in result.runs:
        if kind == TAUGHT:
            continue
        for epoch in result.curve(kind):
            at = result.at(kind, epoch), result.at(TAUGHT, epoch)
            if not set(at[0]) & set(at[1]):
                continue
            gain = paired(*at)
            board.scalar(f"taught_ahead_of_{kind}/mean", gain.mean, epoch)
            for name, value in zip(("low", "high"), gain.interval or (), strict=False):
                board.scalar(f"taught_ahead_of_{kind}/{name}", value, epoch)
    header, rows = result.to_table()
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    lines += [f"| {' | '.join('-' if v is None else f'{v:.4f}' if isinstance(v, float) else str(v) for v in row)} |"
              for row in rows]  # fmt: skip
    board.text("recovery", "\n".join([*lines, "", result.verdict()]), max(result.curve(TAUGHT)))
