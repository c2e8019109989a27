"""Rows of op tables: those that take time, unique ones, and chosen ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from search_spaces.op_table import NUMERIC, OpTable
from search_spaces.ops import DECODE_PART, VIEW_KINDS

TEXT = ("kinds", "acts", "parts", "names")
"""Columns of an OpTable that are text."""


def costed(table: OpTable) -> OpTable:
    """The rows that can take time: a fit evaluates a table hundreds of times."""
    pairs = zip(table.kinds, table.parts, strict=True)
    rows = [i for i, (kind, part) in enumerate(pairs) if kind not in VIEW_KINDS and part != DECODE_PART]
    return select_rows(table, rows)


def distinct(tables: Sequence[OpTable]) -> tuple[OpTable, np.ndarray, np.ndarray]:
    """The unique rows of several scalar tables, and for every row of all tables its table and its unique row."""
    kinds = sum((t.kinds for t in tables), ())
    acts = sum((t.acts for t in tables), ())
    joined = {name: np.concatenate([getattr(t, name) for t in tables]) for name in NUMERIC}
    codes = {text: code for code, text in enumerate(dict.fromkeys(zip(kinds, acts, strict=True)))}
    code = np.array([codes[pair] for pair in zip(kinds, acts, strict=True)], dtype=np.float64)
    keys = np.stack([code, *(joined[name] for name in NUMERIC if name != "count")])
    _, first, position = np.unique(keys, axis=1, return_index=True, return_inverse=True)
    owner = np.repeat(np.arange(len(tables)), [len(t.kinds) for t in tables])
    blank = ("",) * len(first)
    rows = OpTable(
        kinds=tuple(kinds[i] for i in first),
        acts=tuple(acts[i] for i in first),
        parts=blank,
        names=blank,
        **{name: joined[name][first] for name in NUMERIC},
    )
    return rows, owner, position.reshape(-1)


def select_rows(table: OpTable, rows: Sequence[int] | np.ndarray) -> OpTable:
    """The rows of a table with these indices."""
    texts: dict[str, Any] = {name: tuple(getattr(table, name)[i] for i in rows) for name in TEXT}
    index = np.asarray(rows, dtype=int)
    return OpTable(**texts, **{name: getattr(table, name)[index] for name in NUMERIC})
