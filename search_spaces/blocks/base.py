"""BlockKind: what a kind of searchable stage says of itself, and what follows from it.

A kind writes its stage into a Graph in deploy form (batch norms folded, re-parameterised branches merged) and one block
or the whole stage as TinyNAS would build it (the skeleton that the maximum-entropy scores are defined on). Fan-ins and
layers follow from the skeleton. Both take ints or arrays (see ``search_spaces.graph``), so one function serves one
candidate and a population.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from search_spaces.blocks.wiring import spp
from search_spaces.graph_builder import GraphBuilder
from search_spaces.ops import CONV_KINDS, Num, Op
from search_spaces.stage import Stage
from workbench.errors import BadInput

ANY_STYLE = "any"
"""Style of a kind that may stand in a backbone of every style."""
MIXED_STYLE = "mixed"
"""Backbone style whose stages may be of any kinds, but for those whose wrapping spans stages."""


@dataclass(frozen=True, slots=True)
class StageNumbers:
    """What a kind needs to lower one stage; channel fields, ``k`` and ``depth`` are ints or arrays ``[N]``.

    ``depth`` is an int for a kind that is not ``linear_in_depth``. ``spp``: the spatial pyramid belongs to this stage.
    ``closes``: in csp, False when the next stage has stride 1 and continues this one's wrapping.
    """

    cin: Num
    out: Num
    btn: Num
    k: Num
    depth: Num
    stride: int
    act: str
    spp: bool = False
    closes: bool = True


@dataclass(frozen=True, slots=True)
class BlockNumbers:
    """One block of a stage: ``first`` marks the stage's first, which has its stride. Ints or arrays ``[N]``."""

    btn: Num
    out: Num
    k: Num
    stride: int
    act: str
    first: bool


@dataclass(frozen=True, slots=True)
class Flow:
    """What one stage hands to the next: a tensor, and in csp the down tensor of a wrapping that is still open."""

    x: int
    down: int | None = None


class BlockKind(abc.ABC):
    """One kind of searchable stage."""

    name: ClassVar[str]
    style: ClassVar[str]
    tinynas: ClassVar[str] = ""
    """TinyNAS's class name of the stage, empty where it has none; DAMO-YOLO writes ``SuperResConv...`` for
    ``SuperRes...``."""

    in_damo_yolo: ClassVar[bool] = False
    """Whether DAMO-YOLO can build it."""
    max_depth: ClassVar[int | None] = None
    """Most blocks a stage may have; None for no limit."""
    even_out: ClassVar[bool] = False
    """Whether output channels must be even."""
    strides: ClassVar[tuple[int, ...]] = (1, 2)
    """Strides that a stage may have."""
    spans_stages: ClassVar[bool] = False
    """Whether a stage's wrapping may continue over the next stage."""
    linear_in_depth: ClassVar[bool] = True
    """Whether costs and entropy are linear in ``depth``. Otherwise ``lower`` gets one depth at a time, an int."""

    def check(self, stage: Stage, index: int, before: Stage | None) -> None:
        """Check this kind's rules beyond the common ones for ``stages[index]``; raise ``BadInput``.

        ``before`` is the stage before it.
        """
        where = f"stages[{index}]"
        if self.max_depth is not None and stage.depth > self.max_depth:
            raise BadInput(f"{where}: depth {stage.depth} of kind {self.name!r} must be at most {self.max_depth}")
        if self.even_out and stage.out % 2:
            raise BadInput(f"{where}: out {stage.out} must be even: {self.style} halves it")
        if stage.stride not in self.strides:
            raise BadInput(f"{where}: stride {stage.stride} of kind {self.name!r} must be {self.strides[0]}")

    def entry(self, g: GraphBuilder, stage: StageNumbers) -> Flow:
        """Fresh graph inputs for lowering this stage alone (the exact search costs stages one by one)."""
        return Flow(g.input(stage.cin))

    @abc.abstractmethod
    def lower(self, g: GraphBuilder, flow: Flow, stage: StageNumbers) -> Flow:
        """Write the stage as the deployed detector has it."""

    @abc.abstractmethod
    def skeleton_block(self, g: GraphBuilder, x: int, block: BlockNumbers) -> int:
        """Write one block as TinyNAS builds it, with the activation ``block.act`` (always ReLU)."""

    def skeleton_stage(self, g: GraphBuilder, x: int, stage: StageNumbers) -> int:
        """Write a whole stage as the maximum-entropy scores see it; ``stage.depth`` is an int."""
        scope = list(g.scope)
        for index in range(stage.depth):
            g.scope = [*scope, f"block{index}"]
            stride = stage.stride if index == 0 else 1
            x = self.skeleton_block(g, x, BlockNumbers(stage.btn, stage.out, stage.k, stride, stage.act, index == 0))
        g.scope = scope
        return x

    def fan_ins(self, stage: StageNumbers, first: bool) -> list[Num]:
        """Fan-in (inputs per output number) of each main-path convolution of one block, in order.

        ``first``: of the stage's first block, else of a later one.
        """
        cin, stride = (stage.cin, stage.stride) if first else (stage.out, 1)
        g = GraphBuilder(cin)
        end = self.skeleton_block(g, -1, BlockNumbers(stage.btn, stage.out, stage.k, stride, "relu", first))
        return path_fan_ins(g.ops, end)

    def stage_fan_ins(self, stage: StageNumbers) -> list[Num]:
        """Fan-in of each main-path convolution of a whole stage, in order; ``stage.depth`` is an int."""
        return self.fan_ins(stage, first=True) + (stage.depth - 1) * self.fan_ins(stage, first=False)

    def layers(self, depth: Num, stride: int = 1) -> Num:
        """Convolutions on the main path of a stage of ``depth`` blocks (an int or an array ``[N]``)."""
        return depth * self.layers_per_block

    @functools.cached_property
    def layers_per_block(self) -> int:
        """Convolutions on the main path of one block: what TinyNAS counts as layers."""
        return len(self.fan_ins(StageNumbers(8, 8, 8, 3, 1, 1, "relu"), first=True))


class ChainKind(BlockKind):
    """Kinds whose stage is a chain of blocks, with SPP after the first one where asked."""

    def lower(self, g: GraphBuilder, flow: Flow, stage: StageNumbers) -> Flow:
        x = self._block(g, flow.x, stage, 0)
        if stage.spp:
            x = spp(g, x)
        for i in g.times(stage.depth - 1):
            x = self._block(g, x, stage, i + 1)
        return Flow(x)

    def _block(self, g: GraphBuilder, x: int, stage: StageNumbers, index: int) -> int:
        first = index == 0
        g.scope.append(f"block{index}")
        x = self.deploy_block(
            g, x, BlockNumbers(stage.btn, stage.out, stage.k, stage.stride if first else 1, stage.act, first)
        )
        g.scope.pop()
        return x

    @abc.abstractmethod
    def deploy_block(self, g: GraphBuilder, x: int, block: BlockNumbers) -> int:
        """Write one block as the deployed detector has it."""

    def skeleton_block(self, g: GraphBuilder, x: int, block: BlockNumbers) -> int:
        """Write one block as TinyNAS builds it: as deployed, unless a kind says otherwise."""
        return self.deploy_block(g, x, block)


class WholeStageKind(BlockKind):
    """Kinds whose stage is no chain of equal blocks: their skeleton is the stage as deployed.

    What is said of a block holds for a stage of depth 1. A pyramid that belongs to the stage comes after it.
    """

    linear_in_depth = False

    def lower(self, g: GraphBuilder, flow: Flow, stage: StageNumbers) -> Flow:
        x = self.deploy_stage(g, flow.x, stage)
        return Flow(spp(g, x) if stage.spp else x)

    @abc.abstractmethod
    def deploy_stage(self, g: GraphBuilder, x: int, stage: StageNumbers) -> int:
        """Write the whole stage as the deployed detector has it."""

    def skeleton_stage(self, g: GraphBuilder, x: int, stage: StageNumbers) -> int:
        """Write the stage as the maximum-entropy scores see it: as deployed, unless a kind says otherwise."""
        return self.deploy_stage(g, x, stage)

    def skeleton_block(self, g: GraphBuilder, x: int, block: BlockNumbers) -> int:
        cin = g.channels(x)
        return self.skeleton_stage(g, x, StageNumbers(cin, block.out, block.btn, block.k, 1, block.stride, block.act))

    def stage_fan_ins(self, stage: StageNumbers) -> list[Num]:
        g = GraphBuilder(stage.cin)
        return path_fan_ins(g.ops, self.skeleton_stage(g, -1, stage))

    def layers(self, depth: Num, stride: int = 1) -> Num:
        first, later = self._layers[stride]
        return first + (depth - 1) * later

    @functools.cached_property
    def _layers(self) -> dict[int, tuple[int, int]]:
        """By stride: convolutions on the main path of a stage of depth 1, and how many each further block adds."""

        def count(depth: int, stride: int) -> int:
            return len(self.stage_fan_ins(StageNumbers(64, 64, 64, 3, depth, stride, "relu")))

        return {stride: (count(1, stride), count(2, stride) - count(1, stride)) for stride in self.strides}


def fits_style(kind: BlockKind, style: str) -> bool:
    """Whether a stage of ``kind`` may stand in a backbone of ``style``."""
    return kind.style in (style, ANY_STYLE) or (style == MIXED_STYLE and not kind.spans_stages)


def main_path(ops: Sequence[Op], end: int) -> list[int]:
    """Convolutions on the longest path (in convolutions) from the input to op ``end``, in order.

    What comes out of a global pooling (squeeze-excite) is a gate: no path leads through it.
    """
    paths: list[list[int] | None] = []
    for index, op in enumerate(ops):
        ways = [[] if i < 0 else paths[i] for i in op.inputs]
        open_ways = [way for way in ways if way is not None and op.kind != "global_avgpool"]
        longest = max(open_ways, key=len, default=None)
        paths.append(longest if longest is None or op.kind not in CONV_KINDS else [*longest, index])
    return paths[end] or []


def path_fan_ins(ops: Sequence[Op], end: int) -> list[Num]:
    """Fan-in of each convolution of ``main_path``."""
    return [_fan_in(ops[index]) for index in main_path(ops, end)]


def _fan_in(op: Op) -> Num:
    """Inputs that one output number of a convolution is summed from; 1 where the candidate lacks the op."""
    fan_in = op.cin // op.g * op.k[0] * op.k[1]
    return np.where(op.count, fan_in, 1) if np.ndim(op.count) else fan_in
