"""The additive form of a score over rows of a Space: what stem and stages add, in integer ticks.

A form agrees with its score over Graphs to rounding, and is all that the exact search needs to know of a score. Sums of
ticks are exact in any order, so equal scores compare as equal.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from nas.costs import SpaceCosts
from nas.row_memo import RowMemo
from search_spaces.architecture import Head, Neck
from search_spaces.ops import Num

SCORE_TICK = 2.0**-32
"""Resolution of an additive score: 2.3e-10, far below any difference that matters."""


class RowScore(abc.ABC):
    """A score as a sum over stem and stages; thousands of rows at once."""

    input_in_stem: ClassVar[bool] = False
    """Whether the input side changes what the stem adds, by the same ticks for all widths, and nothing else."""

    def __init__(self, costs: SpaceCosts, **options: Any) -> None:
        self.costs = costs
        self._tails = RowMemo()

    @classmethod
    def unfit(cls, costs: SpaceCosts) -> str:
        """Why the score cannot be computed in this space, completing "the score …"; empty where it can."""
        return ""

    @abc.abstractmethod
    def stem(self, out: Num) -> Num:
        """Ticks ``[N]`` (int64) of the stem with ``out`` channels ``[N]``, and what all rows have in common."""

    @abc.abstractmethod
    def stage(self, index: int, cin: Num, out: Num, btn: Num, k: Num, depth: Num, kind: int = 0) -> Num:
        """Ticks ``[N]`` (int64) that stage ``index`` (0-based) of its ``kind``-th kind adds.

        Linear in ``depth`` from depth 2 on where the kind is; else ``depth`` is a whole number.
        """

    def tail(self, widths: Sequence[Num], neck: Neck, head: Head) -> Num:
        """Ticks (int64) that neck and head add where the space leaves them open; 0 of a score of the backbone.

        ``widths``: of the backbone's maps by level. They and ``neck.out`` are arrays that broadcast.
        """
        return 0

    def total(self, rows: np.ndarray) -> np.ndarray:
        """Scores of rows ``[N, genes]`` in ticks, int64 ``[N]``; multiply by ``SCORE_TICK``."""
        total = self.stem(rows[:, 0])
        for index, numbers in enumerate(self.costs.stage_numbers(rows)):

            def of_stage(*columns: Num, at: int = index) -> dict[str, Num]:
                return {"score": self.stage(at, *columns)}

            total = total + self.costs.by_kind(index, numbers, of_stage)["score"]
        sees_tail = type(self).tail is not RowScore.tail
        if sees_tail and self.costs.taps and self.costs.space.tail is not None:

            def of_tail(*widths: Num, neck: Neck, head: Head) -> dict[str, Num]:
                return {"score": self.tail(widths, neck, head)}

            total = total + self.costs.by_tail(rows, of_tail, self._tails)["score"]
        return np.asarray(total)


def to_ticks(value: float | np.ndarray) -> Num:
    """A score in whole ticks."""
    return np.rint(np.asarray(value, dtype=np.float64) / SCORE_TICK).astype(np.int64)


def log_ticks(weight: float, argument: Num) -> Num:
    """``weight * ln(argument)`` in whole ticks."""
    return to_ticks(weight * np.log(np.asarray(argument, dtype=np.float64)))
