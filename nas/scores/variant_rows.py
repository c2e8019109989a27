"""Additive scores over rows of a VariantSpace: every row by the score of its variant."""

from __future__ import annotations

import functools
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
        union, any_side = self.union, self.parts[0].input_in_stem
        for index, at in union.by_levels_of(rows) if any_side else union.by_variant(rows):
            total[at] = self.parts[index].total(rows[np.ix_(at, union.variants[index].columns)])
        return total + self._more_by_side[union.variant_of(rows)] if any_side else total

    @functools.cached_property
    def _more_by_side(self) -> np.ndarray:
        """Ticks that every variant adds beyond the one with its levels at the first side, ``[variants]``."""
        width, levels = np.array(self.union.stem_outs[:1]), len(self.union.by_levels)
        stems = np.array([int(part.stem(width)[0]) for part in self.parts], dtype=np.int64)
        return stems - np.tile(stems[:levels], len(stems) // levels)


def rows_by_variant(rows: type[RowScore], costs: SpaceCosts, **options: Any) -> RowScore:
    """An additive score over the rows of any space."""
    if isinstance(costs, VariantCosts):
        return VariantRows(costs, [rows(part, **options) for part in costs.parts])
    return rows(costs, **options)


def unfit_by_variant(rows: type[RowScore], costs: SpaceCosts) -> str:
    """Why a score cannot be computed in some variant of a space, completing "the score …"; empty where it can."""
    parts = costs.parts if isinstance(costs, VariantCosts) else [costs]
    return next((reason for reason in (rows.unfit(part) for part in parts) if reason), "")
