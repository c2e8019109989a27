"""Block kinds: one entry a kind, with its rules, its lowering and its entropy terms.

A kind says how a stage is written into a Graph in deploy form (batch norms folded,
re-parameterised branches merged), how TinyNAS spells it, and which fan-ins its main
path has, from which the maximum-entropy scores are summed. Lowering takes ints or arrays
(see ``search_spaces.graph``), so one function serves one candidate and a population.

``BLOCK_KINDS`` is the registry: to add a kind, write a subclass and one line there; the contract
suite in ``tests/search_spaces/test_block_contract.py`` then runs on it.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from search_spaces.graph_builder import GraphBuilder
from search_spaces.ops import Num
from search_spaces.stage import Stage
from workbench.errors import BadInput

ANY_STYLE = "any"
"""Style of a kind that may stand in a backbone of every style."""


@dataclass(frozen=True, slots=True)
class StageNumbers:
    """What a kind needs to lower one stage; channel fields, ``k`` and ``depth`` are ints or arrays ``[N]``.

    ``spp``: the spatial pyramid belongs to this stage. ``closes``: in csp, False when the next stage
    has stride 1 and continues this one's wrapping.
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
class Flow:
    """What one stage hands to the next: a tensor, and in csp the open wrapping's down tensor."""

    x: int
    held: int | None = None


class BlockKind(abc.ABC):
    """One kind of searchable stage."""

    name: ClassVar[str]
    style: ClassVar[str]
    tinynas: ClassVar[str]
    """TinyNAS's class name of the stage; DAMO-YOLO writes ``SuperResConv...`` for ``SuperRes...``."""
    layers_per_block: ClassVar[int]
    """Convolutions on the main path of one block: what TinyNAS counts as layers."""

    max_depth: ClassVar[int | None] = None
    """Most blocks a stage may have; None for no limit."""

    def check(self, stage: Stage, index: int, before: Stage | None) -> None:
        """Rules of this kind beyond the common ones, for the stage number ``index`` and the one ``before`` it; raises ``BadInput``."""
        if self.max_depth is not None and stage.depth > self.max_depth:
            raise BadInput(f"stages[{index}]: depth {stage.depth} of kind {self.name!r} must be at most {self.max_depth}")

    def entry(self, g: GraphBuilder, stage: StageNumbers) -> Flow:
        """Fresh graph inputs for lowering this stage alone (the exact search costs stages one by one)."""
        return Flow(g.input(stage.cin))

    @abc.abstractmethod
    def lower(self, g: GraphBuilder, flow: Flow, stage: StageNumbers) -> Flow:
        """Write the stage as the deployed detector has it."""

    @abc.abstractmethod
    def skeleton_block(self, g: GraphBuilder, x: int, btn: Num, cout: Num, k: Num, stride: int, first: bool) -> int:
        """Write one block as TinyNAS builds it: the entropy scores are defined on that skeleton."""

    @abc.abstractmethod
    def fan_ins(self, cin: Num, btn: Num, k: Num) -> list[Num]:
        """Fan-in (inputs that one output number is summed from) of each main-path conv of one block."""


class _ChainKind(BlockKind):
    """Kinds whose stage is a chain of blocks, with SPP after the first one where asked."""

    def lower(self, g: GraphBuilder, flow: Flow, stage: StageNumbers) -> Flow:
        x = self._block(g, flow.x, stage, stage.stride, "block0")
        if stage.spp:
            x = spp(g, x)
        for i in g.times(stage.depth - 1):
            x = self._block(g, x, stage, 1, f"block{i + 1}")
        return Flow(x)

    def _block(self, g: GraphBuilder, x: int, stage: StageNumbers, stride: int, name: str) -> int:
        g.scope.append(name)
        x = self.deploy_block(g, x, stage.btn, stage.out, stage.k, stride, stage.act, name == "block0")
        g.scope.pop()
        return x

    @abc.abstractmethod
    def deploy_block(
        self, g: GraphBuilder, x: int, btn: Num, cout: Num, k: Num, stride: int, act: str, first: bool
    ) -> int:
        """One block as the deployed detector has it."""


class K1KX(_ChainKind):
    """1x1 to ``btn``, then kxk to ``out`` (a RepConv in training); residual where stride is 1."""

    name, style, tinynas, layers_per_block = "k1kx", "res", "SuperResK1KX", 2

    def deploy_block(
        self, g: GraphBuilder, x: int, btn: Num, cout: Num, k: Num, stride: int, act: str, first: bool
    ) -> int:
        if stride == 2:
            return _two_convs(g, x, btn, cout, 1, k, stride, act, act)
        return _residual_pair(g, x, btn, cout, 1, k, act)

    def skeleton_block(self, g: GraphBuilder, x: int, btn: Num, cout: Num, k: Num, stride: int, first: bool) -> int:
        skip = _pooled_skip(g, x, cout, stride, _differ(g.channels(x), cout))
        y = _two_convs(g, x, btn, cout, 1, k, stride, "relu", "none")
        return g.single("act", g.join("add", y, skip), "act", kind="relu")

    def fan_ins(self, cin: Num, btn: Num, k: Num) -> list[Num]:
        return [cin, btn * k * k]


class KXKX(BlockKind):
    """kxk to ``btn``, kxk back, in DAMO-YOLO's CSP wrapping.

    Deployed, a stride-2 stage is a 3x3 down conv and ``depth`` - 1 half-width residual blocks between a
    1x1 start and a 1x1 shortcut, joined by a 1x1 fuse; a stride-1 stage lends its ``depth`` blocks to
    the wrapping before it. The wrapping's own convs use ReLU whatever the backbone uses.
    """

    name, style, tinynas, layers_per_block = "kxkx", "csp", "SuperResKXKX", 2

    def check(self, stage: Stage, index: int, before: Stage | None) -> None:
        super().check(stage, index, before)
        if stage.out % 2:
            raise BadInput(f"stages[{index}]: out {stage.out} must be even: csp halves it")
        if stage.stride == 1 and (before is None or before.stride == 1):
            raise BadInput(f"stages[{index}]: in style csp a stride-1 stage must follow a stride-2 stage")

    def entry(self, g: GraphBuilder, stage: StageNumbers) -> Flow:
        if stage.stride == 2:
            return Flow(g.input(stage.cin))
        return Flow(g.input(stage.cin // 2), held=g.input(stage.cin))

    def lower(self, g: GraphBuilder, flow: Flow, stage: StageNumbers) -> Flow:
        half = stage.out // 2
        if stage.stride == 1:
            if flow.held is None:
                raise BadInput("csp: a stride-1 stage must follow a stride-2 stage")
            y = self._blocks(g, flow.x, stage, stage.depth)
            shortcut = g.conv(flow.held, half, act="relu", name="shortcut")
            return Flow(g.conv(g.join("concat", y, shortcut), stage.out, act="relu", name="fuse"))
        down = g.conv(flow.x, stage.out, k=3, s=2, act="relu", name="down")
        if stage.spp:
            down = spp(g, down)
        if not stage.closes:
            y = g.conv(down, half, act="relu", name="start")
            return Flow(self._blocks(g, y, stage, stage.depth - 1), held=down)
        wrapped = _at_least_two(stage.depth)
        if wrapped is False:
            return Flow(down)
        shortcut = g.conv(down, half, act="relu", name="shortcut", when=wrapped)
        y = g.conv(down, half, act="relu", name="start", when=wrapped)
        y = self._blocks(g, y, stage, stage.depth - 1)
        joined = g.join("concat", y, shortcut, when=wrapped)
        return Flow(g.conv(joined, stage.out, act="relu", name="fuse", when=wrapped))

    def _blocks(self, g: GraphBuilder, x: int, stage: StageNumbers, depth: Num) -> int:
        """``depth`` half-width residual blocks; only the first can change width."""
        half = stage.out // 2
        changes = _differ(g.channels(x), half)
        if changes is not False:  # depth >= 1 here: a stage that changes width is a stride-1 stage
            x = _residual_pair(g, x, stage.btn, half, stage.k, stage.k, stage.act, scope="block0")
            depth = depth - 1
        for i in g.times(depth):
            x = _residual_pair(g, x, stage.btn, half, stage.k, stage.k, stage.act, scope=f"block{i + 1}")
        return x

    def skeleton_block(self, g: GraphBuilder, x: int, btn: Num, cout: Num, k: Num, stride: int, first: bool) -> int:
        skip = _pooled_skip(g, x, cout, stride, _differ(g.channels(x), cout))
        y = _two_convs(g, x, btn, cout, k, k, stride, "relu", "none")
        return g.single("act", g.join("add", y, skip), "act", kind="relu")

    def fan_ins(self, cin: Num, btn: Num, k: Num) -> list[Num]:
        return [cin * k * k, btn * k * k]


class K1DWK1(_ChainKind):
    """Inverted residual: 1x1 to ``btn``, depth-wise kxk, 1x1 to ``out``; residual where the shape is kept."""

    name, style, tinynas, layers_per_block = "k1dwk1", "mob", "SuperResK1DWK1", 3

    def deploy_block(
        self, g: GraphBuilder, x: int, btn: Num, cout: Num, k: Num, stride: int, act: str, first: bool
    ) -> int:
        y = self._three(g, x, btn, cout, k, stride, act)
        keeps = _negate(_differ(g.channels(x), cout)) if stride == 1 else False
        return g.join("add", y, x, when=keeps)

    def skeleton_block(self, g: GraphBuilder, x: int, btn: Num, cout: Num, k: Num, stride: int, first: bool) -> int:
        y = self._three(g, x, btn, cout, k, stride, "relu")
        keeps = _negate(_differ(g.channels(x), cout))
        if keeps is not False:
            y = g.join("add", y, _pooled_skip(g, x, cout, stride, False), when=keeps)
        return g.single("act", y, "act", kind="relu")

    def _three(self, g: GraphBuilder, x: int, btn: Num, cout: Num, k: Num, stride: int, act: str) -> int:
        y = g.conv(x, btn, act=act, name="conv1")
        y = g.conv(y, btn, k=k, s=stride, g=btn, act=act, name="conv2")
        return g.conv(y, cout, name="conv3")

    def fan_ins(self, cin: Num, btn: Num, k: Num) -> list[Num]:
        return [cin, k * k, btn]


class K1DWSEK1(K1DWK1):
    """``k1dwk1`` with squeeze-excite after the depth-wise conv (TinyNAS's classification space)."""

    name, style, tinynas, layers_per_block = "k1dwsek1", "mob", "SuperResK1DWSEK1", 3

    def _three(self, g: GraphBuilder, x: int, btn: Num, cout: Num, k: Num, stride: int, act: str) -> int:
        y = g.conv(x, btn, act=act, name="conv1")
        y = g.conv(y, btn, k=k, s=stride, g=btn, act=act, name="conv2")
        squeezed = np.maximum(1, np.round(np.asarray(btn) * 0.25).astype(np.int64) // 8) * 8
        z = g.single("global_avgpool", y, "squeeze")
        z = g.conv(z, int(squeezed) if squeezed.ndim == 0 else squeezed, act="silu", name="se1")
        z = g.conv(z, btn, act="sigmoid", name="se2")
        return g.conv(g.join("mul", y, z, name="excite"), cout, name="conv3")


class K1KXK1(_ChainKind):
    """Bottleneck: 1x1 to ``btn``, kxk, 1x1 to ``out``; pooled and projected residual, as in MAE-DET's ResNet space."""

    name, style, tinynas, layers_per_block = "k1kxk1", "bottleneck", "SuperResK1KXK1", 3

    def deploy_block(
        self, g: GraphBuilder, x: int, btn: Num, cout: Num, k: Num, stride: int, act: str, first: bool
    ) -> int:
        skip = _pooled_skip(g, x, cout, stride, True if first else _differ(g.channels(x), cout))
        y = g.conv(x, btn, act=act, name="conv1")
        y = g.conv(y, btn, k=k, s=stride, act=act, name="conv2")
        y = g.conv(y, cout, name="conv3")
        return g.single("act", g.join("add", y, skip), "act", kind=act)

    def skeleton_block(self, g: GraphBuilder, x: int, btn: Num, cout: Num, k: Num, stride: int, first: bool) -> int:
        return self.deploy_block(g, x, btn, cout, k, stride, "relu", first)

    def fan_ins(self, cin: Num, btn: Num, k: Num) -> list[Num]:
        return [cin, btn * k * k, btn]


class PlainConv(_ChainKind):
    """One kxk conv + activation, in any style: TinyNAS's classification texts end with one. ``btn`` is unused."""

    name, style, tinynas, layers_per_block = "conv", ANY_STYLE, "ConvKXBNRELU", 1
    max_depth = 1

    def deploy_block(
        self, g: GraphBuilder, x: int, btn: Num, cout: Num, k: Num, stride: int, act: str, first: bool
    ) -> int:
        return g.conv(x, cout, k=k, s=stride, act=act)

    def skeleton_block(self, g: GraphBuilder, x: int, btn: Num, cout: Num, k: Num, stride: int, first: bool) -> int:
        return g.conv(x, cout, k=k, s=stride, act="relu")

    def fan_ins(self, cin: Num, btn: Num, k: Num) -> list[Num]:
        return [cin * k * k]


def spp(g: GraphBuilder, x: int) -> int:
    """DAMO-YOLO's spatial pyramid: 1x1 to half, max pools 5, 9, 13, concat, 1x1 back; always SiLU."""
    channels = g.channels(x)
    g.scope.append("spp")
    y = g.conv(x, channels // 2, act="silu", name="conv1")
    pools = [g.single("maxpool", y, f"pool{k}", k=(k, k), s=(1, 1), p=(k // 2, k // 2)) for k in (5, 9, 13)]
    out = g.conv(g.join("concat", y, *pools), channels, act="silu", name="conv2")
    g.scope.pop()
    return out


def _two_convs(
    g: GraphBuilder, x: int, btn: Num, cout: Num, k1: Num, k2: Num, stride: int, act: str, out_act: str
) -> int:
    y = g.conv(x, btn, k=k1, act=act, name="conv1")
    return g.conv(y, cout, k=k2, s=stride, act=out_act, name="conv2")


def _residual_pair(
    g: GraphBuilder, x: int, btn: Num, cout: Num, k1: Num, k2: Num, act: str, scope: str | None = None
) -> int:
    """DAMO-YOLO's stride-1 residual block: two convs, add (projected where the width changes), activation."""
    if scope is not None:
        g.scope.append(scope)
    skip = g.conv(x, cout, name="proj", when=_differ(g.channels(x), cout))
    y = _two_convs(g, x, btn, cout, k1, k2, 1, act, "none")
    out = g.single("act", g.join("add", y, skip), "act", kind=act)
    if scope is not None:
        g.scope.pop()
    return out


def _pooled_skip(g: GraphBuilder, x: int, cout: Num, stride: int, project: bool | np.ndarray) -> int:
    """TinyNAS's residual link: 2x2 average pool at stride 2, then a 1x1 projection where asked."""
    if stride == 2:
        x = g.single("avgpool", x, "down", k=(2, 2), s=(2, 2), p=(0, 0))
    return g.conv(x, cout, name="proj", when=project)


def _differ(a: Num, b: Num) -> bool | np.ndarray:
    """Whether channel counts differ: a bool, or a 0/1 array per candidate."""
    if np.ndim(a) == 0 and np.ndim(b) == 0:
        return bool(a != b)
    return np.asarray(np.asarray(a) != np.asarray(b), dtype=np.int64)


def _negate(flag: bool | np.ndarray) -> bool | np.ndarray:
    return not flag if isinstance(flag, bool) else 1 - flag


def _at_least_two(depth: Num) -> bool | np.ndarray:
    if np.ndim(depth) == 0:
        return bool(depth >= 2)
    return np.asarray(np.asarray(depth) >= 2, dtype=np.int64)


BLOCK_KINDS: dict[str, BlockKind] = {kind.name: kind for kind in (K1KX(), KXKX(), K1DWK1(), K1DWSEK1(), K1KXK1(), PlainConv())}
"""Block kinds by name."""
