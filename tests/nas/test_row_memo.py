"""Rows that come again are looked up, and cost the same as computed."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from nas import row_memo
from nas.row_memo import RowMemo


class Squares:
    """Counts the rows that it is asked for."""

    def __init__(self) -> None:
        self.rows = 0

    def __call__(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        self.rows += len(rows)
        assert len(np.unique(rows, axis=0)) == len(rows)
        return {"sum": rows.sum(axis=1), "squares": (rows**2).sum(axis=1)}


def test_every_row_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, memo, compute = np.random.default_rng(0), RowMemo(), Squares()
    seen: set[tuple[int, ...]] = set()
    for size in (0, 7, 400, 3000, 1):
        rows = rng.integers(-3, 9, (size, 3))
        found = memo(rows, compute)
        assert (found["sum"] == rows.sum(axis=1)).all() and (found["squares"] == (rows**2).sum(axis=1)).all()
        seen |= set(map(tuple, rows.tolist()))
        assert compute.rows == len(seen)
    monkeypatch.setattr(row_memo, "MOST_ROWS", 100)
    rows = rng.integers(0, 9, (90, 3))
    assert (memo(rows, compute)["sum"] == rows.sum(axis=1)).all()
    assert len(pickle.loads(pickle.dumps(memo))._places) == 0 < len(memo._places) <= 100


def test_a_failure_leaves_nothing_half_known() -> None:
    memo, rows = RowMemo(), np.arange(6).reshape(3, 2)
    memo(rows[:1], Squares())

    def fail(rows: np.ndarray) -> dict[str, np.ndarray]:
        raise MemoryError

    with pytest.raises(MemoryError):
        memo(rows, fail)
    assert memo(rows, Squares())["sum"].tolist() == [1, 5, 9]
