"""Additive scores over rows of a VariantSpace: every row by the score of its variant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.costs import SpaceCosts
from nas.scores.rows import RowScore
from nas.variant_costs import VariantCosts
from search_spaces.ops import Num


class VariantRows(RowScore):
    """An additive score over rows of a VariantSpace. ``parts``: the score over the rows of every variant."""

    def __init__(self, costs: VariantCosts, parts: Sequence[RowScore]) -> None:
        super().__init__(costs)
        self.union, self.parts = costs.union, list(parts)

    def stem(self, out: Num) -> Num:
        return self.parts[0].stem(out)

    def stage(self, index: int, cin: Num, out: Num, btn: Num, k: Num, depth: Num, kind: int = 0) -> Num:
        return self.parts[0].stage(index, cin, out, btn, k, depth, kind)

    def total(self, rows: np.ndarray) -> np.ndarray:
        """Scores of rows ``[N, genes]`` in ticks, int64 ``[N]``."""
        total: np.ndarray = np.zeros(len(rows), dtype=np.int64)
        for index, at in self.union.by_variant(rows):
            total[at] = self.parts[index].total(rows[np.ix_(at, self.union.variants[index].columns)])
        return total


def rows_by_variant(rows: type[RowScore], costs: SpaceCosts, **options: Any) -> RowScore:
    """An additive score over the rows of any space."""
    if isinstance(costs, VariantCosts):
        return VariantRows(costs, [rows(part, **options) for part in costs.parts])
    return rows(costs, **options)


def unfit_by_variant(rows: type[RowScore], costs: SpaceCosts) -> str:
    """Why a score cannot be computed in some variant of a space, completing "the score …"; empty where it can."""
    parts = costs.parts if isinstance(costs, VariantCosts) else [costs]
    return next((reason for reason in (rows.unfit(part) for part in parts) if reason), "")
