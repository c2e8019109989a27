"""What the figures of a training suggest, in sentences. Each rule names the figures that it goes by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distill.train.evaluate import EvaluationResult

NOTHING_LEARNED = 0.01
"""AP below which a network counts as untrained."""
STILL_RISING = 0.01
"""AP that the last third of the epochs must have brought for more epochs to be suggested, or that it must have fallen
since the best epoch for fewer."""
LONG_AGO = 0.5
"""Share of the epochs after which a best epoch came early."""
FEW_OBJECTS = 20
"""Validation objects of a class below which its AP is called uncertain."""
MOST_NAMES = 5


def advice(history: Sequence[dict[str, Any]], best_epoch: int, result: EvaluationResult) -> list[str]:
    """Sentences about the curves and the classes; at least one."""
    sentences = [*_of_curves(history, best_epoch), *_of_classes(result)]
    return sentences or ["AP has settled, and every class has enough validation objects to judge it by."]


def _of_curves(history: Sequence[dict[str, Any]], best_epoch: int) -> list[str]:
    evaluated = [record for record in history if record.get("ap") is not None]
    if evaluated and max(record["ap"] for record in evaluated) < NOTHING_LEARNED:
        return [
            "AP is nearly 0: the network has learned next to nothing yet. Train for more epochs, or begin with trained "
            "weights (--weights or --inherit)."
        ]
    if len(evaluated) < 3:
        return []
    last, epochs = evaluated[-1], history[-1]["epoch"]
    before = max((record["ap"] for record in evaluated if record["epoch"] <= epochs * 2 / 3), default=0.0)
    gain = last["ap"] - before
    if best_epoch == last["epoch"] and gain >= STILL_RISING:
        return [f"AP rose by {gain:.3f} in the last third of {epochs} epochs: more epochs are likely to help."]
    best = max(record["ap"] for record in evaluated)
    if best_epoch <= LONG_AGO * epochs and best - last["ap"] >= STILL_RISING:
        return [
            f"The best epoch is {best_epoch} of {epochs}; AP fell to {last['ap']:.3f} since. Fewer epochs, a lower "
            "learning rate or stronger augmentation may keep it."
        ]
    return []


def _of_classes(result: EvaluationResult) -> list[str]:
    sentences = []
    few = [name for name, metrics in result.per_class.items() if 0 < (metrics["objects"] or 0) < FEW_OBJECTS]
    if few:
        sentences.append(
            f"{_listed(few)}: fewer than {FEW_OBJECTS} validation objects, so the AP of the class is uncertain."
        )
    absent = [name for name, metrics in result.per_class.items() if not metrics["objects"]]
    if absent:
        sentences.append(f"{_listed(absent)}: no validation object, so nothing is known of the class.")
    confused = _confused(result)
    return [*sentences, *([confused] if confused else [])]


def _confused(result: EvaluationResult) -> str:
    """The pair of classes that is confused most, where it is more than one object in twenty."""
    names, matrix = list(result.per_class), result.confusion[:-1, :-1].copy()
    for label in range(len(names)):
        matrix[label, label] = 0
    if not matrix.size or not matrix.max():
        return ""
    true, found = divmod(int(matrix.argmax()), len(names))
    count, objects = int(matrix[true, found]), int(result.confusion[true].sum())
    if count < max(2, objects / 20):
        return ""
    return f"{names[true]!r} is taken for {names[found]!r} most often: {count} of {objects} objects."


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
