"""LinearStageKind: kinds that wrap their blocks, where every block adds the same."""

from __future__ import annotations

import dataclasses

from search_spaces.blocks.base import StageNumbers, WholeStageKind, main_path, path_fan_ins
from search_spaces.graph_builder import GraphBuilder
from search_spaces.ops import Num


class LinearStageKind(WholeStageKind):
    """Kinds that write a whole stage at once, whose costs and entropy grow by the same amount with every block.

    The fan-ins of the first block are those of a stage of depth 1, wrapping included.
    """

    linear_in_depth = True

    def fan_ins(self, stage: StageNumbers, first: bool) -> list[Num]:
        shallow, deep = self._main_path(stage, 1), self._main_path(stage, 2)
        return list(shallow.values()) if first else [fan for name, fan in deep.items() if name not in shallow]

    def _main_path(self, stage: StageNumbers, depth: int) -> dict[str, Num]:
        """Name of every main-path convolution of the stage at ``depth`` to its fan-in, in order."""
        g = GraphBuilder(stage.cin)
        end = self.skeleton_stage(g, -1, dataclasses.replace(stage, depth=depth))
        names = [g.ops[index].name for index in main_path(g.ops, end)]
        return dict(zip(names, path_fan_ins(g.ops, end), strict=True))
