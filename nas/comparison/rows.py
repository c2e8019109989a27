"""What a comparison is made of: rows, the axes they are set along, and the series whose AP may share a front."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PREDICTED, MEASURED, COST = "predicted", "measured", "cost"
"""Kinds of axes."""
ZOO, SEARCHED, TRAINED, GIVEN = "zoo", "searched", "trained", "given"
"""Kinds of rows: a published rival, a candidate of a search, a trained checkpoint, any other network that was named."""
PUBLISHED = "published"
"""Key of the series of published AP; the others are one a validation set."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A number of one row along one axis, with the bounds of its interval where there is one."""

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
    """What networks are set along: latency on a device, foretold or measured, or a cost."""

    key: str
    kind: str
    label: str
    unit: str
    note: str = ""
    """Hardware, runtime, precision, and what an interval means."""


@dataclass(frozen=True, slots=True)
class Series:
    """APs that were taken on the same pictures, so that they may stand on one front."""

    key: str
    label: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class TrainingBudget:
    """What one AP of our own was paid with. ``recipe`` are its settings, ``teacher`` who taught, if anyone did."""

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
    """AP at IoU 0.50:0.95 in percent, whose it is, and for our own what it was paid with."""

    ap: float
    series: str
    source: str
    note: str = ""
    budget: TrainingBudget | None = None


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One network. ``values`` are by axis; ``facts`` are further lines for readers who want to know more."""

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
    """Of the architecture, where it is one of ours."""
    facts: tuple[tuple[str, str], ...] = ()
    named: str = ""
    """As the command line named it; it stays out of the files, for it may be a path of this machine."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rows with the axes and series they can be seen along; ``notes`` say what was left out and why."""

    rows: tuple[ComparisonRow, ...]
    axes: tuple[Axis, ...]
    series: tuple[Series, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def families(self) -> tuple[str, ...]:
        """Names of all families, in order of appearance."""
        return tuple(dict.fromkeys(row.family for row in self.rows))

    def of_series(self, key: str) -> list[ComparisonRow]:
        """Rows whose AP belongs to a series."""
        return [row for row in self.rows if row.accuracy is not None and row.accuracy.series == key]

    def without_ap(self) -> list[ComparisonRow]:
        """Rows that have no AP yet."""
        return [row for row in self.rows if row.accuracy is None]
