"""Schedules: learning rates, momentum and accumulation of every step, by the formulas of the official trainers.

A schedule is a function of the recipe and the step alone. ``SCHEDULES`` lists them by the trainer they reproduce;
``cosine`` is our own. Steps count batches where batches are accumulated up to a nominal batch (``fills_batch``), and
optimizer steps everywhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

MAX_WARMUP = 0.1
"""Largest share of all steps for warm-up in our own schedule: short runs shorten it."""


class Terms(Protocol):
    """What schedules read of a ``TrainRecipe``, which describes every field."""

    @property
    def schedule(self) -> str: ...
    @property
    def lr(self) -> float: ...
    @property
    def final_lr(self) -> float: ...
    @property
    def momentum(self) -> float: ...
    @property
    def nominal_batch(self) -> int: ...
    @property
    def warmup_epochs(self) -> float: ...
    @property
    def warmup_steps(self) -> int: ...
    @property
    def warmup_momentum(self) -> float | None: ...
    @property
    def warmup_bias_lr(self) -> float | None: ...
    @property
    def closing_epochs(self) -> int: ...


@dataclass(frozen=True, slots=True)
class StepSettings:
    """What one step trains with."""

    lr: float
    """Learning rate of weights and norms, before a group's share of it."""
    bias_lr: float
    """Learning rate of biases."""
    momentum: float
    accumulate: int = 1
    """Batches that are added up before the optimizer steps."""


@dataclass(frozen=True, slots=True)
class Length:
    """How long a run is, in steps."""

    steps: int
    per_epoch: int
    """Steps an epoch."""


def cosine(recipe: Terms, step: int, length: Length, batch: int) -> StepSettings:
    """Our own: linear warm-up from near 0, then a cosine down to ``final_lr`` at the last step."""
    warmup_steps = max(round(recipe.warmup_epochs * length.per_epoch), recipe.warmup_steps)
    rate = recipe.lr * lr_factor(step, length.steps, warmup_steps, recipe.final_lr)
    return StepSettings(rate, rate, recipe.momentum)


def lr_factor(step: int, steps: int, warmup_steps: int, final: float) -> float:
    """Share of the learning rate at ``step`` (from 0) of ``steps``: linear warm-up, then a cosine down to ``final``."""
    warm = min(warmup_steps, int(steps * MAX_WARMUP))
    if step < warm:
        return (step + 1) / (warm + 1)
    done = min(1.0, (step - warm) / max(1, steps - warm))
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))


def yolox(recipe: Terms, step: int, length: Length, batch: int) -> StepSettings:
    """YOLOX and DAMO-YOLO: a warm-up that grows with the square of the step from 0, then a cosine that ends where the
    closing epochs begin, which train at ``final_lr``.
    """
    warm = round(recipe.warmup_epochs * length.per_epoch)
    closing_from = length.steps - recipe.closing_epochs * length.per_epoch
    low = recipe.lr * recipe.final_lr
    if step < warm:
        rate = recipe.lr * (step / warm) ** 2
    elif step >= closing_from:
        rate = low
    else:
        done = (step - warm) / (closing_from - warm)
        rate = low + 0.5 * (recipe.lr - low) * (1 + math.cos(math.pi * done))
    return StepSettings(rate, rate, recipe.momentum)


def yolov7(recipe: Terms, step: int, length: Length, batch: int) -> StepSettings:
    """YOLOv7: a cosine over the epochs, constant within one; see ``_by_epoch`` for the warm-up."""
    epochs = length.steps / length.per_epoch
    done = (1 - math.cos(math.pi * (step // length.per_epoch) / epochs)) / 2
    return _by_epoch(recipe, step, length, batch, done * (recipe.final_lr - 1) + 1)


def ultralytics(recipe: Terms, step: int, length: Length, batch: int) -> StepSettings:
    """YOLO11 and YOLO26: a line over the epochs, constant within one; see ``_by_epoch`` for the warm-up."""
    left = max(1 - (step // length.per_epoch) / (length.steps / length.per_epoch), 0.0)
    return _by_epoch(recipe, step, length, batch, left * (1 - recipe.final_lr) + recipe.final_lr)


def _by_epoch(recipe: Terms, step: int, length: Length, batch: int, share: float) -> StepSettings:
    """The epoch's ``share`` of the rate, with a linear warm-up by batches.

    Rates of weights rise from 0, those of biases fall from ``warmup_bias_lr``, momentum rises from
    ``warmup_momentum``, and the number of accumulated batches from 1 to ``nominal_batch`` images.
    """
    rate, full = recipe.lr * share, recipe.nominal_batch / batch
    warm = max(round(recipe.warmup_epochs * length.per_epoch), recipe.warmup_steps)
    if step > warm or warm == 0:
        return StepSettings(rate, rate, recipe.momentum, max(1, round(full)))
    done = step / warm
    bias_from = rate if recipe.warmup_bias_lr is None else recipe.warmup_bias_lr
    momentum_from = recipe.momentum if recipe.warmup_momentum is None else recipe.warmup_momentum
    return StepSettings(
        rate * done,
        bias_from + (rate - bias_from) * done,
        momentum_from + (recipe.momentum - momentum_from) * done,
        max(1, round(1 + (full - 1) * done)),
    )


def detr(recipe: Terms, step: int, length: Length, batch: int) -> StepSettings:
    """RT-DETRv2: a linear warm-up of ``warmup_steps`` steps, then a constant rate."""
    rate = recipe.lr * min(1.0, (step + 1) / max(recipe.warmup_steps, 1))
    return StepSettings(rate, rate, recipe.momentum)


SCHEDULES: dict[str, Callable[[Terms, int, Length, int], StepSettings]] = {
    "cosine": cosine, "yolox": yolox, "yolov7": yolov7, "ultralytics": ultralytics, "detr": detr,
}  # fmt: skip
"""Name to function of the recipe, the step (from 0), the run's length and the number of images in a batch."""
FILLS_BATCH = frozenset({"yolov7", "ultralytics"})
"""Schedules that accumulate batches up to ``nominal_batch`` images; a step is then one batch, and the optimizer steps
when enough are added up. The rate does not depend on the batch, but the weight decay does."""


def fills_batch(recipe: Terms) -> bool:
    """Whether a step is one batch, and the optimizer steps when enough of them are added up."""
    return recipe.schedule in FILLS_BATCH


def is_due(recipe: Terms, step: int, last: int, accumulate: int) -> bool:
    """Whether the optimizer steps after batch ``step``, where it last did so after batch ``last`` (-1: never).

    YOLOv7 steps after every batch whose number is a multiple, the others after so many since the last step.
    """
    return step % accumulate == 0 if recipe.schedule == "yolov7" else step - last >= accumulate


def decay_scale(recipe: Terms, batch: int) -> float:
    """Factor of the weight decay: what the accumulated batches have of the nominal one, where they are filled up."""
    if not fills_batch(recipe):
        return 1.0
    return batch * max(1, round(recipe.nominal_batch / batch)) / recipe.nominal_batch


def epoch_progress(recipe: Terms, step: int, length: Length) -> float | None:
    """Share of the way from the first epoch to the last, constant within one, as ultralytics moves its loss weights.

    None where losses follow the steps.
    """
    if recipe.schedule != "ultralytics":
        return None
    epochs = length.steps // length.per_epoch
    return min((step // length.per_epoch) / max(epochs - 1, 1), 1.0)
