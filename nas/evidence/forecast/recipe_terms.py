"""Recipe terms of the fit: what a training added to, or left out of, COCO alone from scratch for 300 epochs."""

from __future__ import annotations

import math
from collections.abc import Callable

from nas.detectors.recipes import IMAGENET, SELF_SUPERVISED, Recipe

FULL_EPOCHS, FULL_EPOCHS_PRETRAINED = 300, 72
"""Full schedules from random weights, and with a pretrained backbone. Longer ones count as full: what they add is less
than two trainings differ by."""


def _short(recipe: Recipe) -> float:
    """ln of the share of a full schedule; boxes of Objects365 before it make up for a short one."""
    if recipe.epochs is None or recipe.objects365:
        return 0.0
    full = FULL_EPOCHS_PRETRAINED if recipe.backbone in (IMAGENET, SELF_SUPERVISED) else FULL_EPOCHS
    return math.log(min(recipe.epochs[1], full) / full)


RECIPE_TERMS: dict[str, tuple[Callable[[Recipe], float], str]] = {
    "objects365": (lambda r: float(r.objects365), "pretrained with the boxes of Objects365"),
    "pseudo_labels": (lambda r: float(r.pseudo_labels), "further images, labeled by a model"),
    "teacher": (lambda r: float(r.teacher), "distilled from a teacher, itself included"),
    "self_supervised": (
        lambda r: float(r.backbone == SELF_SUPERVISED),
        "backbone pretrained by self-supervision, or distilled from one that was",
    ),
    "advprop": (lambda r: float("advprop" in r.remarks), "adversarial examples in training"),
    "epochs": (_short, "for every e-fold of epochs up to a full schedule"),
    "with_nms": (lambda r: -float(r.nms_free), "boxes filtered by NMS"),
}
"""Recipe term by name: its column, and what it is. None can lower AP, so all coefficients are at least 0."""


def recipe_row(recipe: Recipe) -> list[float]:
    """The columns of ``RECIPE_TERMS`` for one training."""
    return [column(recipe) for column, _ in RECIPE_TERMS.values()]
