"""``maxent``: maximum entropy with multi-scale stage weights (MAE-NAS, ICML 2022)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nas.costs import SpaceCosts
from nas.scores.entropy import WEIGHTS, align_weights, levels
from nas.scores.rows import RowScore, log_ticks
from nas.scores.score import Score, ScoreResult
from search_spaces.blocks.base import StageNumbers
from search_spaces.graph import Graph
from search_spaces.ops import Num


def maxent(graph: Graph, input_px: int, weights: tuple[float, ...] = WEIGHTS) -> ScoreResult:
    """Sum over levels of weight x (entropy + ln channels); the last weight belongs to the coarsest level."""
    all_levels = levels(graph, input_px)
    aligned = align_weights(weights, len(all_levels))
    terms = [w * (level.entropy + math.log(level.channels)) for w, level in zip(aligned, all_levels, strict=True)]
    return ScoreResult(math.fsum(terms), tuple(terms), {"strides": [level.stride for level in all_levels]})


@dataclass(frozen=True)
class LevelWeights:
    """The stage weights of the score as weights of a space's stages (see ``docs/scores.md``).

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
        aligned = align_weights(weights, level[-1] + 1)
        block = tuple(float(sum(aligned[at:])) for at in level)
        last = [i + 1 == len(level) or level[i + 1] != level[i] for i in range(len(level))]
        end = tuple(aligned[at] if is_last else 0.0 for at, is_last in zip(level, last, strict=True))
        return LevelWeights(block, end, tuple(level))


class MaxentRows(RowScore):
    """Entropy of the blocks' fan-ins, and ``ln(out)`` where a level ends."""

    input_in_stem = True

    def __init__(self, costs: SpaceCosts, weights: tuple[float, ...] = WEIGHTS) -> None:
        super().__init__(costs)
        self.space = costs.space
        self.weights = LevelWeights.of(tuple(stage.stride for stage in self.space.stages), weights)

    def stem(self, out: Num) -> Num:
        fan_in = (12 if self.space.focus else 3) * self.space.stem_k**2
        return log_ticks(0.5 * self.weights.block[0], fan_in) + log_ticks(self.weights.end[0], out)

    def stage(self, index: int, cin: Num, out: Num, btn: Num, k: Num, depth: Num, kind: int = 0) -> Num:
        block, weight = self.costs.kind(index, kind), 0.5 * self.weights.block[index + 1]
        end = log_ticks(self.weights.end[index + 1], out)
        numbers = StageNumbers(cin, out, btn, k, depth, self.space.stages[index].stride, self.space.act)
        if not block.linear_in_depth:
            return end + sum(log_ticks(weight, fan_in) for fan_in in block.stage_fan_ins(numbers))
        first, later = (
            sum(log_ticks(weight, fan_in) for fan_in in block.fan_ins(numbers, is_first)) for is_first in (True, False)
        )
        return first + (depth - 1) * later + end


MAXENT = Score("maxent", "maximum entropy with multi-scale stage weights (MAE-NAS, ICML 2022)", maxent, MaxentRows)
