"""The class map: name, contiguous number, and the id that the data themselves use.

It is made when data are read, and is part of every checkpoint and export. Two maps that do not agree are refused with
an error that names the category.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.errors import BadInput


@dataclass(frozen=True, slots=True)
class ClassMap:
    """``names[i]`` and ``original_ids[i]`` are those of the contiguous class number i."""

    names: tuple[str, ...]
    original_ids: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.names:
            raise BadInput("no classes: a data set needs at least one category")
        if len(self.names) != len(self.original_ids):
            counts = f"{len(self.names)} class names and {len(self.original_ids)} ids"
            raise BadInput(f"{counts}: there must be as many of each")
        for what, values in (("class name", self.names), ("category id", self.original_ids)):
            seen: set[object] = set()
            for value in values:
                if value in seen:
                    raise BadInput(f"{what} {value!r} occurs twice: every category needs one of its own")
                seen.add(value)

    @staticmethod
    def of(categories: Iterable[tuple[int, str]]) -> ClassMap:
        """From (original id, name) pairs; numbers follow the ids' order."""
        ordered = sorted(categories)
        return ClassMap(tuple(name for _, name in ordered), tuple(i for i, _ in ordered))

    def __len__(self) -> int:
        return len(self.names)

    def number(self, original_id: int) -> int:
        """Contiguous number of the data's own id."""
        try:
            return self.original_ids.index(original_id)
        except ValueError:
            known = ", ".join(map(str, self.original_ids))
            raise BadInput(f"category id {original_id} is not in the class map; it has {known}") from None

    def numbers(self, original_ids: np.ndarray) -> np.ndarray:
        """Contiguous numbers, int64 ``[n]``, of the data's own ids ``[n]``."""
        known = np.asarray(self.original_ids, dtype=np.int64)
        order = np.argsort(known)
        positions = np.minimum(np.searchsorted(known[order], original_ids), len(known) - 1)
        unknown = known[order][positions] != original_ids
        if unknown.any():
            self.number(int(original_ids[unknown][0]))
        return order[positions].astype(np.int64)


def check_same(
    classes: ClassMap | Sequence[str], other_classes: ClassMap | Sequence[str], what: str, other: str
) -> None:
    """Refuse two maps that differ; ``what`` and ``other`` say whose they are (``the model``, ``val``)."""
    first, second = _names(classes), _names(other_classes)
    if first == second:
        return
    for name in second:
        if name not in first:
            raise BadInput(f"category {name!r} of {other} is unknown to {what}, which has {_shortened(first)}")
    for name in first:
        if name not in second:
            raise BadInput(f"category {name!r} of {what} is missing in {other}, which has {_shortened(second)}")
    number = next(i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b)
    name = first[number]
    raise BadInput(
        f"category {name!r} is number {number} in {what} and number {second.index(name)} in {other}: "
        "both must count alike"
    )


def _names(classes: ClassMap | Sequence[str]) -> tuple[str, ...]:
    return classes.names if isinstance(classes, ClassMap) else tuple(classes)


def _shortened(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
