"""Additive scores over rows of a Space: what a stem and a stage add, in whole ticks, thousands of rows at once.

Each class agrees with its score over Graphs (``nas.scores``) to rounding, and is all that the exact search needs to know
of a score. Sums of ticks are exact in any order, so ties are real ties.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from search_spaces.blocks import BLOCK_KINDS
from search_spaces.blocks.base import StageNumbers
from search_spaces.ops import Num
from workbench.errors import BadInput

if TYPE_CHECKING:
    from nas.costs import SpaceCosts

SCORE_TICK = 2.0**-32
"""Resolution of an additive score: 2.3e-10, far below any difference that means something."""


class RowScore(Protocol):
    """A score as a sum over stem and stages. Numbers of a stage are arrays ``[N]``; answers are int64 ticks ``[N]``."""

    def stem(self, out: Num) -> Num:
        """What the stem adds, and everything that all rows have in common."""

    def stage(self, index: int, cin: Num, out: Num, btn: Num, k: Num, depth: Num) -> Num:
        """What stage ``index`` (0-based) adds; linear in ``depth`` from depth 2 on."""


@dataclass(frozen=True)
class LevelWeights:
    """How the stage weights fall on a space's stages (see ``docs/scores.md``).

    ``block[i]`` multiplies every entropy term of stage i (0 = stem), ``end[i]`` its ``ln(out)``.
    """

    block: tuple[float, ...]
    end: tuple[float, ...]
    level: tuple[int, ...]

    @staticmethod
    def of(strides: tuple[int, ...], weights: tuple[float, ...]) -> LevelWeights:
        """``strides`` of the stages after the stem; the last weight belongs to the coarsest level."""
        level = [0]
        for stride in strides:
            level.append(level[-1] + (stride == 2))
        count = level[-1] + 1
        padded = (0.0,) * max(0, count - len(weights)) + tuple(weights)
        own = padded[len(padded) - count :]
        block = tuple(float(sum(own[at:])) for at in level)
        last = [i + 1 == len(level) or level[i + 1] != level[i] for i in range(len(level))]
        end = tuple(own[at] if is_last else 0.0 for at, is_last in zip(level, last, strict=True))
        return LevelWeights(block, end, tuple(level))


class MaxentRows:
    """Entropy of the blocks' fan-ins, and ``ln(out)`` where a level ends."""

    def __init__(self, rulers: SpaceCosts) -> None:
        self.space = rulers.space
        self.weights = LevelWeights.of(tuple(s.stride for s in rulers.space.stages), rulers.weights)

    @staticmethod
    def fits(rulers: SpaceCosts) -> bool:
        """Every space will do."""
        return True

    def stem(self, out: Num) -> Num:
        fan_in = (12 if self.space.focus else 3) * self.space.stem_k**2
        return _log_ticks(0.5 * self.weights.block[0], fan_in) + _log_ticks(self.weights.end[0], out)

    def stage(self, index: int, cin: Num, out: Num, btn: Num, k: Num, depth: Num) -> Num:
        choices, weight = self.space.stages[index], 0.5 * self.weights.block[index + 1]
        kind, numbers = BLOCK_KINDS[choices.kind], StageNumbers(cin, out, btn, k, depth, choices.stride, self.space.act)
        first, later = (
            sum(_log_ticks(weight, fan_in) for fan_in in kind.fan_ins(numbers, is_first)) for is_first in (True, False)
        )
        return first + (depth - 1) * later + _log_ticks(self.weights.end[index + 1], out)


class CalibratedRows:
    """The fitted score of the whole detector: input, neck and intercept stand in the stem; a stage adds its layers, the
    width of its entrance where it halves the map, and its own width where a level ends."""

    def __init__(self, rulers: SpaceCosts) -> None:
        from nas.scores.calibrated import shipped, sum_log

        space, strides = rulers.space, rulers.strides[1:]
        if not self.fits(rulers):
            raise BadInput(f"score 'calibrated' reads strides 8, 16 and 32, and space {space.name!r} ends at {strides[-1]}: use --score maxent")
        self.rulers, self.fitted = rulers, shipped()
        form, width = self.fitted.form, self.fitted.width
        seen = width * sum_log(space.neck.out, form.heads)
        self.constant = self.fitted.intercept + self.fitted.size * math.log(rulers.input_px) + seen
        ends = dict(zip(rulers.taps, form.backbone, strict=True))
        self.ends = [width * ends.get(index, 0.0) for index in range(len(strides))]
        # Strides 4, 8, 16 and 32 are entered where the map is halved.
        share = dict(zip((4, 8, 16, 32), form.passages, strict=True))
        self.entrances = [width * share.get(at, 0.0) if stage.stride == 2 else 0.0 for at, stage in zip(strides, space.stages, strict=True)]

    @staticmethod
    def fits(rulers: SpaceCosts) -> bool:
        """Whether the space has the levels that this score reads."""
        return bool(rulers.taps) and rulers.strides[-1] == 32

    def stem(self, out: Num) -> Num:
        return np.full(np.shape(out), _ticks(self.constant), dtype=np.int64)

    def stage(self, index: int, cin: Num, out: Num, btn: Num, k: Num, depth: Num) -> Num:
        from nas.scores.anatomy import enters, passage
        from nas.scores.calibrated import layer_weights

        graph = self.rulers.stage_graph(index, cin, out, btn, k, depth)
        each = _ticks(self.fitted.depth * layer_weights(graph, self.fitted.form.half_width))
        counted = sum(own * np.asarray(op.count, dtype=np.int64) for own, op in zip(each, graph.ops, strict=True) if np.any(own))
        ways = [passage(graph, i) for i in range(len(graph)) if enters(graph, i)]
        entered = _log_ticks(self.entrances[index], functools.reduce(np.maximum, ways)) if ways else 0
        return counted + entered + _log_ticks(self.ends[index], out)


ROW_SCORES: dict[str, type[MaxentRows] | type[CalibratedRows]] = {"calibrated": CalibratedRows, "maxent": MaxentRows}
"""Every additive score by name, in the order in which the evidence prefers them at equal latency
(``docs/benchmarks/scores.md``)."""


def fitting_scores(rulers: SpaceCosts) -> tuple[str, ...]:
    """Additive scores that the space has the levels for; a search maximises the first unless told, and shows them all."""
    return tuple(name for name, rows in ROW_SCORES.items() if rows.fits(rulers))


def _ticks(value: float | np.ndarray) -> Num:
    return np.rint(np.asarray(value, dtype=np.float64) / SCORE_TICK).astype(np.int64)


def _log_ticks(weight: float, argument: Num) -> Num:
    """``weight * ln(argument)`` in score ticks."""
    return _ticks(weight * np.log(np.asarray(argument, dtype=np.float64)))
