"""``nas.shrink``: a trained detector cut to a budget and taught by its parent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from distill.importance.methods import find_importance
from distill.request import TrainRequest
from nas.api.arguments import Text, optional_text, text_of, texts_of
from nas.api.compare import DEFAULT_DEVICES
from nas.api.train import Changes, changes_of
from nas.comparison.gather import compare
from nas.comparison.write import write_comparison
from nas.shrinking.choice import GAP
from nas.shrinking.problem import DEFAULT_GRID
from nas.shrinking.request import ShrinkRequest
from nas.shrinking.result import ShrinkResult
from nas.shrinking.run import run_shrink
from workbench.console import Progress


def shrink(
    parent: Text, budget: str | Sequence[str], device: str | Sequence[str] | None = None, *, data: Text | None = None,
    val: Text | None = None, importance: str | None = None, images: int = 256, grid: int = DEFAULT_GRID,
    input_px: int | None = None, front: int = 1, rounds: int = 1, control: bool = False,
    against: Text | Sequence[Text] | None = None, seeds: int | None = None, recipe: Text | None = None,
    changes: Changes = (), epochs: int | None = None, batch: int | None = None, train_device: str = "cpu",
    precision: str | None = None, train_data_workers: int | None = None, seed: int = 0, gap: float = GAP,
    time_limit_s: float = 120.0, name: str | None = None, runs: Text = "runs", fresh: bool = False,
    pictures: bool = True, quiet: bool = False,
) -> ShrinkResult:  # fmt: skip
    """Cut a trained detector to budgets and teach the child by its parent; the same call resumes an unfinished run.

    Args:
        parent: a checkpoint (.safetensors) in training form.
        budget: such as ``1.8ms``, ``10GFLOPs``, ``3Mparams``, ``6MBweights``, ``30MBact`` or ``1.5..1.8ms``; all must
            hold. With several devices a latency budget names its device: ``t4:1.8ms``.
        data: training data; None cuts without training.
        importance: ``taylor`` or ``norm``; None: ``taylor`` with data, else ``norm``.
        images: images that importance is measured on.
        grid: channels stay in multiples of this.
        input_px: side of the input in pixels; None takes the parent's.
        front: number of children between the parent and the budget.
        rounds: cuts with training in between; the epochs are shared among them.
        control: train the child without its parent, and its architecture from random weights, at the same steps.
        against: checkpoints to fine-tune beside them.
        seeds: of the comparison; None: 3.
        recipe, changes, epochs, batch, train_device, precision, train_data_workers: as in ``nas.train``.
        gap: the choice ends once it is proved to be within this share of the optimum.
        time_limit_s: of every choice, seconds.
    """
    if importance is not None:
        find_importance(importance)
    train = None
    if data is not None:
        train = TrainRequest(
            model="", data=text_of(data), val=optional_text(val), recipe=optional_text(recipe),
            changes=changes_of(changes), epochs=epochs, batch=batch, input_px=input_px, device=train_device,
            precision=precision, data_workers=train_data_workers, seed=seed, quiet=quiet,
        )  # fmt: skip
    compares = control or bool(texts_of(against))
    request = ShrinkRequest(
        text_of(parent), texts_of(budget), texts_of(device), train, importance, images, grid, input_px, front, rounds,
        control, texts_of(against), (3 if compares else 1) if seeds is None else seeds, seed, gap, time_limit_s, name,
        text_of(runs), fresh, pictures, quiet,
    )  # fmt: skip
    result = run_shrink(request)
    if pictures:
        _write_page(request, result)
    return result


def _write_page(request: ShrinkRequest, result: ShrinkResult) -> None:
    """The comparison page of parent, children and the checkpoints that they were trained against."""
    subjects = [request.parent, *(str(child.file) for child in result.children), *request.against]
    progress = Progress(request.quiet)
    try:
        comparison = compare(subjects, request.devices or DEFAULT_DEVICES, only=[], log=progress.show)
        write_comparison(comparison, str(result.folder), f"{Path(request.parent).stem} and its children")
    finally:
        progress.done()
