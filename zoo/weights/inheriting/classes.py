"""Class layers: where a detector's tensors have one entry a class, and which class of another each of them takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from zoo.detector import Detector
from zoo.factory import build_recipe
from zoo.meta import without_weights
from zoo.pruning.cuts import Cuts

FEW, MORE = 3, 5
"""Numbers of classes that are compared: too few to change a hidden width."""


@dataclass(frozen=True, slots=True)
class ClassAxis:
    """An axis with ``repeats`` times the classes and ``others`` entries beside them, in front or behind."""

    axis: int
    repeats: int
    others: int
    in_front: bool

    def sources(self, target: Sequence[str], source: Sequence[str]) -> np.ndarray:
        """Entry of the source's axis for every entry of the target's, int64; -1 for a class that it does not know."""
        known = {name: i for i, name in enumerate(source)}
        classes = np.array([known.get(name, -1) for name in target], dtype=np.int64)
        others = np.arange(self.others)
        if self.in_front:
            row = np.concatenate([others, np.where(classes >= 0, classes + self.others, -1)])
        else:
            row = np.concatenate([classes, others + len(source)])
        length = self.others + len(source)
        return np.concatenate([np.where(row >= 0, row + k * length, -1) for k in range(self.repeats)])


def class_axes(detector: Detector) -> Mapping[str, ClassAxis]:
    """The class axis of every tensor of ``detector`` that has one, found by building it with other classes."""
    with without_weights():
        few, more = (
            build_recipe(dataclasses.replace(detector.recipe, classes=count, cuts=Cuts())) for count in (FEW, MORE)
        )
    larger = more.state_dict()
    embeddings = {f"{path}.weight" for path, part in few.named_modules() if isinstance(part, nn.Embedding)}
    found = {}
    for name, value in few.state_dict().items():
        for axis, (least, most) in enumerate(zip(value.shape, larger[name].shape, strict=True)):
            if most != least:
                repeats = (most - least) // (MORE - FEW)
                found[name] = ClassAxis(axis, repeats, least // repeats - FEW, name not in embeddings)
    return found
