"""The parts of a comparison: rows (networks), the axes of their costs, and series of comparable AP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PREDICTED, MEASURED, COST = "predicted", "measured", "cost"
"""Kinds of axes."""
ZOO, SEARCHED, TRAINED, GIVEN = "zoo", "searched", "trained", "given"
"""Kinds of rows: a model of the zoo, a candidate of a search, a trained checkpoint, any other network."""
PUBLISHED = "published"
"""Key of the series of published AP; there is one more series per validation set."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The value of one row along one axis, with the bounds of its interval if there is one."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def least(self) -> float:
        """The lower bound, or the value itself."""
        return self.value if self.low is None else self.low

    @property
    def most(self) -> float:
        """The upper bound, or the value itself."""
        return self.value if self.high is None else self.high


@dataclass(frozen=True, slots=True)
class Axis:
    """A cost of networks: latency on a device, predicted or measured, or FLOPs or parameters."""

    key: str
    kind: str
    label: str
    unit: str
    note: str = ""
    """Hardware, runtime, precision, and the meaning of an interval."""


@dataclass(frozen=True, slots=True)
class Series:
    """APs that were evaluated on the same images, so that they can share a front."""

    key: str
    label: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class TrainingBudget:
    """The training behind an AP of our own. ``recipe`` holds its settings; ``teacher`` is empty without one."""

    data: str
    data_sha256: str
    val_sha256: str
    epochs: int | None
    recipe: Mapping[str, Any]
    input_px: int
    seed: int | None
    teacher: str = ""
    started_from: str = "random weights"
    finished: bool = True


@dataclass(frozen=True, slots=True)
class Accuracy:
    """AP at IoU 0.50:0.95 in percent, its source, and for our own the training behind it."""

    ap: float
    series: str
    source: str
    note: str = ""
    budget: TrainingBudget | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a cut network comes from: the model it is a part of, and the SHA-256 of its ancestors' files.

    The parent's comes first, then those of its parents. ``parent`` is the name of the nearest of them that is a row of
    the same comparison, or empty.
    """

    model: str
    ancestors: tuple[str, ...]
    parent: str = ""

    def __str__(self) -> str:
        return f"cut from {self.parent or self.model}"


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One network. ``values`` are by axis; ``facts`` (title, text) are listed among the notes."""

    name: str
    kind: str
    family: str
    input_px: int
    params: int
    flops: int
    nms: str
    licence: str
    values: Mapping[str, Reading]
    accuracy: Accuracy | None = None
    source: str = ""
    digest: str = ""
    """Of the ``Architecture``; empty for other networks."""
    facts: tuple[tuple[str, str], ...] = ()
    named: str = ""
    """As the command line named it. Not written to files, since it may be a path of this machine."""
    sha256: str = ""
    """Of a checkpoint's file."""
    origin: Origin | None = None
    """Of a cut network."""


def rows_of_series(rows: Sequence[ComparisonRow], key: str) -> list[ComparisonRow]:
    """Rows whose AP belongs to a series."""
    return [row for row in rows if row.accuracy is not None and row.accuracy.series == key]
