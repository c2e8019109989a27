"""One class map: name, contiguous number, and the id that the data itself uses.

It is made once, when data are read, and travels inside every checkpoint and export. Two maps that do not agree stop
whatever was about to start, and the error names the category.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.errors import BadInput


@dataclass(frozen=True, slots=True)
class ClassMap:
    """``names[i]`` and ``original_ids[i]`` belong to the contiguous class number i."""

    names: tuple[str, ...]
    original_ids: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.names:
            raise BadInput("no classes: a data set needs at least one category")
        if len(self.names) != len(self.original_ids):
            raise BadInput(f"{len(self.names)} class names and {len(self.original_ids)} ids: there must be as many of each")
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
            raise BadInput(f"category id {original_id} is not in the class map; it has {', '.join(map(str, self.original_ids))}") from None

    def numbers(self, original_ids: np.ndarray) -> np.ndarray:
        """Contiguous numbers, int64 ``[n]``, of the data's own ids ``[n]``."""
        ours = np.asarray(self.original_ids, dtype=np.int64)
        order = np.argsort(ours)
        at = np.minimum(np.searchsorted(ours[order], original_ids), len(ours) - 1)
        unknown = ours[order][at] != original_ids
        if unknown.any():
            self.number(int(original_ids[unknown][0]))
        return order[at].astype(np.int64)


def check_same(ours: ClassMap | Sequence[str], theirs: ClassMap | Sequence[str], what: str, other: str) -> None:
    """Refuse to go on when two maps differ; ``what`` and ``other`` say whose they are (``the model``, ``val``)."""
    first, second = _names(ours), _names(theirs)
    if first == second:
        return
    for name in second:
        if name not in first:
            raise BadInput(f"category {name!r} of {other} is unknown to {what}, which has {_some(first)}")
    for name in first:
        if name not in second:
            raise BadInput(f"category {name!r} of {what} is missing in {other}, which has {_some(second)}")
    at = next(i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b)
    raise BadInput(f"category {first[at]!r} is number {at} in {what} and number {second.index(first[at])} in {other}: both must count alike")


def _names(classes: ClassMap | Sequence[str]) -> tuple[str, ...]:
    return classes.names if isinstance(classes, ClassMap) else tuple(classes)


def _some(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
