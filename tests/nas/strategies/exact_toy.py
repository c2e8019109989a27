"""A search that can be solved by hand: two stages, one budget on layers, and a score of depth times width."""

from __future__ import annotations

import numpy as np

from nas.costs import SpaceCosts
from nas.scores.rows import RowScore
from nas.strategies.exact.layers import Layers
from search_spaces.ops import Num
from search_spaces.space import Rules, Space, StageChoices
from tests.nas.strategies.test_exact import Head, Neck


class DepthTimesWidth(RowScore):
    """Ticks: depth x out of every stage; the inner width does not count."""

    def stem(self, out: Num) -> Num:
        return np.zeros(np.shape(out), dtype=np.int64)

    def stage(self, index: int, cin: Num, out: Num, btn: Num, k: Num, depth: Num, kind: int = 0) -> Num:
        return depth * out


def toy_space(btns: tuple[int, ...] = (16,), rules: Rules | None = None) -> Space:
    """Stem 16; stage 1 of 16 or 32 channels, 1 to 3 blocks; stage 2 of 32 or 64, 1 or 2 blocks. A block is 2 layers."""
    first = StageChoices("k1kx", 2, (16, 32), btns, (3,), (1, 2, 3))
    second = StageChoices("k1kx", 2, (32, 64), (16,), (3,), (1, 2))
    neck, head = Neck((32, 32, 64)), Head(4)
    return Space("toy", "res", "relu", False, (16,), 3, False, 2, (first, second), rules or Rules(), neck, head)


def toy_layers(limit: int = 10, space: Space | None = None) -> Layers:
    """The layered graph of the toy under at most ``limit`` layers beside the stem."""
    costs = SpaceCosts(space or toy_space(), None, 64, "backbone")
    return Layers(DepthTimesWidth(costs), ("layers",), {"layers": limit})
