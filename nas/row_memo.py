"""What has been computed for rows of whole numbers, so that a row that comes again costs a look-up."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

MOST_ROWS = 1 << 17
"""Rows remembered; when there would be more, all are forgotten."""


class RowMemo:
    """Whole numbers by name for every row of a population. A copy, and one sent to another process, begins empty."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}
        self._values: dict[str, np.ndarray] = {}

    def __reduce__(self) -> tuple[type[RowMemo], tuple[()]]:
        return RowMemo, ()

    def __call__(
        self, rows: np.ndarray, compute: Callable[[np.ndarray], Mapping[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """Values ``[N]`` by name of rows ``[N, n]`` of int64; ``compute`` is called with the new ones, once each."""
        keys = _keys(rows)
        if len(self._places) + len(keys) > MOST_ROWS:
            self._places, self._values = {}, {}
        known, firsts = self._places, []
        new: dict[bytes, int] = {}
        places = np.empty(len(keys), dtype=np.int64)
        for index, key in enumerate(keys):
            place = known.get(key)
            if place is None:
                place = new.get(key)
                if place is None:
                    place = new[key] = len(known) + len(new)
                    firsts.append(index)
            places[index] = place
        if firsts or not self._values:
            self._append(compute(rows[firsts]))
            known.update(new)
        return {name: column[places] for name, column in self._values.items()}

    def _append(self, values: Mapping[str, np.ndarray]) -> None:
        """Write the values of new rows behind the others."""
        used = len(self._places)
        for name, value in values.items():
            column = self._values.setdefault(name, np.empty(0, dtype=np.int64))
            if used + len(value) > len(column):
                column = np.concatenate([column[:used], np.empty(max(1024, used + 2 * len(value)), dtype=np.int64)])
                self._values[name] = column
            column[used : used + len(value)] = value


def _keys(rows: np.ndarray) -> list[bytes]:
    """The bytes of every row."""
    data, width = np.ascontiguousarray(rows, dtype=np.int64).tobytes(), 8 * rows.shape[1]
    return [data[start : start + width] for start in range(0, len(data), width)]
