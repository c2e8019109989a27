"""The outputs of a teacher for a batch, and which of them the methods of a task need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from distill.teach.predictions import Predictions


@dataclass(frozen=True, slots=True)
class TeacherOutputs:
    """Features and predictions of a frozen detector."""

    features: tuple[Tensor, ...]
    """The levels, finest first, float32 ``[b, c, h, w]`` each; empty where no method needs them."""
    predictions: Predictions | None
    """None where no method needs them."""


@dataclass(frozen=True, slots=True)
class RequiredOutputs:
    """Which outputs of a teacher are needed."""

    features: bool = True
    predictions: bool = True
    """Boxes and scores."""
    distributions: bool = True
    columns: tuple[int, ...] = ()
    """The teacher's classes that the student shares."""

    @staticmethod
    def of(needs: Iterable[frozenset[str]], columns: tuple[int, ...]) -> RequiredOutputs:
        """The union of what methods need (see ``FeatureMethod.needs``)."""
        names = frozenset[str]().union(*needs)
        predictions = bool(names & {"boxes", "scores", "distributions"})
        return RequiredOutputs("features" in names, predictions, "distributions" in names, columns)
