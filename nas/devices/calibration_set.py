"""The networks that a calibration measures: small chains of one kind of op each, and random detectors.

Chains (convolutions over kernel, channels, size, stride and groups; products, pools, joins, activations) tell the
coefficients apart; detectors drawn from the shipped spaces tell what whole networks make of them. Others of those, two
published ones and, where torch is there to build them, three of the zoo, are not fitted but judge the fit.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.devices.runtimes import Network
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from search_spaces.ops import Op

DESIGN = 1
"""Changes whenever the designed set does: a journal of another one is not gone on with."""
MOST_MACS = 2e8
"""Of a chain: a few milliseconds on a laptop core."""
MOST_MOVED = 2e7
LEAST_MACS, LEAST_MOVED = 3e6, 3e5
"""Multiply-accumulates, and numbers read and written. Below both, a chain would tell of the start of a run alone."""
MOST_DETECTOR_MACS = 1.5e9
"""Of a random detector that is fitted, where one of its sides allows it."""
SIDES = (160, 224, 320, 416, 512, 640)
"""Input sides of the random detectors that are fitted, pixels."""
JUDGE_PX = 320
ZOO_JUDGES = ("yolox-nano", "yolo11n", "yolo26n")
"""Strangers of other families, where torch is there to build them."""


@dataclass(frozen=True)
class Design:
    """How much is measured: chains and random detectors that are fitted; random detectors and models that judge.

    ``fewest_fitted`` and ``fewest_judges`` of them must have been measured before a fit is attempted. ``size`` multiplies
    the limits on the work and traffic of a chain, and on a fitted detector.
    """

    chains: int = 240
    detectors: int = 36
    strangers: int = 12
    models: tuple[str, ...] = ("damo-yolo-ns", "damo-yolo-t", *ZOO_JUDGES)
    fewest_fitted: int = 60
    fewest_judges: int = 6
    size: float = 1.0

    @staticmethod
    def of_device(device: str) -> Design:
        """The shipped design. On a GPU what takes a CPU core milliseconds would tell of nothing but starting kernels."""
        return Design(size=30.0) if device == "cuda" else Design()


@dataclass(frozen=True)
class CalibrationNetwork:
    """One network of the set: what it is called, its kind, whether it judges, and how to make it."""

    name: str
    kind: str
    judges: bool
    make: Callable[[], Network]


def designed_chains(count: int, seed: int, size: float = 1.0) -> list[Graph]:
    """``count`` small graphs of known size, kinds in turn, everything else drawn from ``seed``; ``size`` multiplies the limits."""
    rng = np.random.default_rng(seed)
    kinds = [kind for kind, (_, weight) in DESIGNS.items() for _ in range(weight)]
    order = [kind for _ in range(-(-count // len(kinds))) for kind in rng.permutation(kinds)]
    return [_draw(str(kind), i, rng, size) for i, kind in enumerate(order[:count])]


def _draw(kind: str, number: int, rng: np.random.Generator, size: float) -> Graph:
    """One chain within the limits on multiply-accumulates and traffic; drawn again until it is."""
    while True:
        px = int(rng.choice([5, 7, 10, 13, 20, 26, 40, 52, 80, 104, 160, 208, 320]))
        draw = _Draw(rng, px)
        graph = DESIGNS[kind][0](draw)
        if graph is None:
            continue
        whole = Graph(graph.ops, [(int(graph.inputs[0][0]), px, px)], graph.outputs, f"{kind}-{number:03d}")
        table = whole.table()
        macs, moved = float(table.total(table.macs)), float(table.total(table.in_elems + table.out_elems))
        macs, moved = macs / size, moved / size
        if macs <= MOST_MACS and moved <= MOST_MOVED and (macs >= LEAST_MACS or moved >= LEAST_MOVED):
            return whole


@dataclass(frozen=True)
class _Draw:
    """Random choices for one chain at one side in pixels."""

    rng: np.random.Generator
    px: int

    def one(self, *values: Any) -> Any:
        """One of the values."""
        return values[int(self.rng.integers(len(values)))]

    def channels(self, low: int = 8, high: int = 640) -> int:
        """Channels, evenly in their logarithm; mostly multiples of 8, as networks have them, some not."""
        value = math.exp(self.rng.uniform(math.log(low), math.log(high)))
        step = self.one(8, 8, 8, 16, 16, 4)
        return max(step, round(value / step) * step)

    def act(self) -> str:
        """An activation, none among them."""
        return str(self.one("none", "relu", "silu", "silu", "relu", "hardswish", "leaky_relu", "sigmoid"))

    def start(self, channels: int) -> GraphBuilder:
        """A builder for an image-like input of so many channels."""
        return GraphBuilder(channels, part="")


def _dense(d: _Draw) -> Graph:
    a, b, k, act = d.channels(), d.channels(), d.one(1, 1, 3, 3, 5), d.act()
    g = d.start(a)
    x = -1
    for i in range(d.one(2, 4, 6)):
        x = g.conv(x, b if i % 2 == 0 else a, k=k, act=act)
    return g.finish([x])


def _strided(d: _Draw) -> Graph:
    a, k, act = d.channels(8, 256), d.one(1, 3, 3, 5), d.act()
    g = d.start(a)
    x = -1
    for _ in range(2 if d.px >= 20 else 1):
        x = g.conv(x, d.channels(), k=k, s=2, act=act)
    return g.finish([g.conv(x, d.channels(), act=act)])


def _stem(d: _Draw) -> Graph | None:
    if d.px < 104:
        return None
    g, act = d.start(d.one(3, 3, 12)), d.act()
    x = g.conv(-1, d.channels(16, 64), k=d.one(3, 3, 6, 7) // 2 * 2 + 1, s=d.one(1, 2, 2), act=act)
    return g.finish([g.conv(x, d.channels(16, 64), k=3, s=2, act=act)])


def _depthwise(d: _Draw) -> Graph:
    c, k, act = d.channels(16), d.one(3, 3, 5, 5, 7), d.act()
    g = d.start(c)
    x = -1
    for i in range(d.one(2, 4)):
        x = g.conv(x, c, k=k, s=2 if i == 0 and d.px >= 20 and d.one(0, 1) else 1, g=c, act=act)
    return g.finish([x])


def _separable(d: _Draw) -> Graph:
    c, inner, k, act = d.channels(16, 320), d.channels(16), d.one(3, 5, 7), d.act()
    g = d.start(c)
    x = -1
    for _ in range(d.one(1, 2, 3)):
        y = g.conv(x, inner, act=act)
        y = g.conv(y, inner, k=k, g=inner, act=act)
        x = g.join("add", g.conv(y, c, act="none"), x) if x >= 0 else g.conv(y, c)
    return g.finish([x])


def _grouped(d: _Draw) -> Graph:
    groups = d.one(2, 4, 8)
    c = -(-d.channels(32) // (8 * groups)) * 8 * groups
    g, act, k = d.start(c), d.act(), d.one(1, 3, 3)
    x = -1
    for _ in range(d.one(2, 3)):
        x = g.conv(x, c, k=k, g=groups, act=act)
    return g.finish([x])


def _residual(d: _Draw) -> Graph:
    c, inner, k, act = d.channels(16), d.channels(16), d.one(1, 3, 3, 5), d.act()
    g = d.start(c)
    x = g.conv(-1, c, act=act)
    for _ in range(d.one(1, 2, 3)):
        y = g.join("add", g.conv(g.conv(x, inner, act=act), c, k=k), x)
        x = g.single("act", y, kind=act) if act in ("relu", "silu") else y
    return g.finish([x])


def _split(d: _Draw) -> Graph:
    c, act = 2 * d.channels(16, 256), d.act()
    g = d.start(c)
    x = g.conv(-1, c, act=act)
    half = c // 2
    left, right = g.single("slice", x, "left", half, start=0, end=half), g.single("slice", x, "right", half, start=half, end=c)
    parts = [left, right]
    for _ in range(d.one(1, 2, 3)):
        parts.append(g.conv(parts[-1], half, k=d.one(1, 3), act=act))
    return g.finish([g.conv(g.join("concat", *parts), c, act=act)])


def _pool(d: _Draw) -> Graph:
    c, k = d.channels(16), d.one(3, 5, 9, 13)
    g = d.start(c)
    kind = d.one("maxpool", "maxpool", "maxpool", "avgpool")
    x = g.conv(-1, c)
    parts = [x]
    for _ in range(d.one(1, 3)):
        parts.append(g.single(kind, parts[-1], k=(k, k), s=(1, 1), p=(k // 2, k // 2)))
    if d.px >= 20 and d.one(0, 1):
        return g.finish([g.single(kind, parts[-1], k=(2, 2), s=(2, 2), p=(0, 0))])
    return g.finish([g.conv(g.join("concat", *parts), c)])


def _upsample(d: _Draw) -> Graph | None:
    if d.px > 104:
        return None
    c, act = d.channels(16, 384), d.act()
    g = d.start(c)
    up = g.single("upsample", g.conv(-1, c, act=act), scale=2)
    side = g.single("upsample", g.conv(-1, d.channels(16, 128), act=act), scale=2)
    return g.finish([g.conv(g.join("concat", up, side), c, act=act)])


def _joins(d: _Draw) -> Graph:
    c = d.channels(16)
    g = d.start(c)
    a, b = g.single("act", -1, kind="relu"), g.single("act", -1, kind="sigmoid")
    x = a
    for _ in range(d.one(2, 4)):
        x = g.join(d.one("add", "add", "mul"), x, b)
    return g.finish([g.join("concat", x, a, b) if d.one(0, 1) else x])


def _activations(d: _Draw) -> Graph:
    c, act = d.channels(16), d.one("relu", "silu", "silu", "sigmoid", "hardswish", "leaky_relu", "gelu")
    g = d.start(c)
    x = -1
    for _ in range(d.one(2, 4)):
        x = g.conv(x, c, k=3, g=c, act="none") if d.one(0, 1) else g.single("scale", x, params=1)
        x = g.single("act", x, kind=act)
    return g.finish([x])


def _attention(d: _Draw) -> Graph | None:
    if d.px > 26:
        return None
    heads, width = d.one(1, 2, 4, 8), d.one(16, 32, 64)
    c, n = heads * width, d.px * d.px
    ops: list[Op] = []

    def add(kind: str, *inputs: int, cin: int = 0, **attrs: Any) -> int:
        ops.append(Op(kind, inputs, cin, cin, bias=kind == "conv", name=f"{kind}{len(ops)}", attrs=attrs))
        return len(ops) - 1

    def columns(x: int) -> int:
        return add("reshape", add("conv", x, cin=c), shape=[1, heads, width, n])

    def turned(x: int, *shape: int) -> int:
        return add("transpose", x, perm=[0, 1, 3, 2], shape=[1, heads, *shape])

    q, k, v = turned(columns(-1), n, width), columns(-1), turned(columns(-1), n, width)
    scores = add("softmax", add("matmul", q, k, shape=[1, heads, n, n]), axis=-1)
    mixed = turned(add("matmul", scores, v, shape=[1, heads, n, width]), width, n)
    add("conv", add("reshape", mixed, shape=[1, c, d.px, d.px]), cin=c)
    return Graph(ops, [(c,)], [len(ops) - 1])


def _linear(d: _Draw) -> Graph | None:
    if d.px > 40:
        return None
    c, inner, n = d.channels(32, 320), d.channels(64), d.px * d.px
    act = d.one("relu", "gelu", "silu")
    ops = [
        Op("reshape", (-1,), name="rows", attrs={"shape": [1, c, n]}),
        Op("transpose", (0,), name="turned", attrs={"perm": [0, 2, 1], "shape": [1, n, c]}),
        Op("layernorm", (1,), c, c, name="norm"),
        Op("linear", (2,), c, inner, bias=True, name="up", attrs={"shape": [1, n, inner]}),
        Op("act", (3,), name="act", attrs={"kind": act}),
        Op("linear", (4,), inner, c, bias=True, name="down", attrs={"shape": [1, n, c]}),
        Op("add", (5, 1), name="add"),
    ]
    return Graph(ops, [(c,)], [len(ops) - 1])


def _squeeze(d: _Draw) -> Graph:
    c, act = d.channels(16), d.act()
    g = d.start(c)
    x = g.conv(-1, c, k=3, g=c, act=act)
    gate = g.conv(g.conv(g.single("global_avgpool", x), max(8, c // 4), act="relu"), c, act="sigmoid")
    return g.finish([g.conv(g.join("mul", x, gate), c, act=act)])


DESIGNS: dict[str, tuple[Callable[[_Draw], Graph | None], int]] = {
    "dense": (_dense, 6),
    "strided": (_strided, 2),
    "stem": (_stem, 2),
    "depthwise": (_depthwise, 3),
    "separable": (_separable, 3),
    "grouped": (_grouped, 1),
    "residual": (_residual, 3),
    "split": (_split, 2),
    "pool": (_pool, 2),
    "upsample": (_upsample, 2),
    "joins": (_joins, 1),
    "activations": (_activations, 2),
    "attention": (_attention, 2),
    "linear": (_linear, 1),
    "squeeze": (_squeeze, 1),
}
"""Kinds of chains, and how often each is drawn in a round of all."""


def random_detectors(count: int, seed: int, sides: Sequence[int], most_macs: float, label: str) -> list[tuple[Graph, int]]:
    """Detectors drawn evenly from the shipped spaces in turn, each with an input side (pixels) that keeps it small if one does."""
    from search_spaces.lowering import lower
    from search_spaces.space_file import load_space, space_names

    rng = np.random.default_rng(seed)
    spaces = [load_space(name) for name in space_names()]
    found: list[tuple[Graph, int]] = []
    while len(found) < count:
        space = spaces[len(found) % len(spaces)]
        graph = lower(space.decode(space.sample(1, rng)[0], f"{label}-{space.name}-{len(found):02d}"))
        table = graph.table(640)
        macs = float(table.total(table.macs)) / 640**2
        small = [side for side in sides if macs * side**2 <= most_macs] or [min(sides)]
        found.append((graph, int(rng.choice(small))))
    return found


def designed_tasks(design: Design, seed: int) -> list[CalibrationNetwork]:
    """The whole set, in the order of its first pass."""
    from search_spaces.lowering import lower
    from search_spaces.published import PUBLISHED

    found = [CalibrationNetwork(graph.name, graph.name.rpartition("-")[0], False, _maker(graph, None)) for graph in designed_chains(design.chains, seed, design.size)]
    for graph, px in random_detectors(design.detectors, seed + 1, SIDES, design.size * MOST_DETECTOR_MACS, "fit"):
        found.append(CalibrationNetwork(graph.name, "detector", False, _maker(graph, (px, px))))
    for graph, px in random_detectors(design.strangers, seed + 2, (JUDGE_PX,), math.inf, "stranger"):
        found.append(CalibrationNetwork(graph.name, "random detector", True, _maker(graph, (px, px))))
    for name in design.models:
        if name in PUBLISHED:
            found.append(CalibrationNetwork(name, "damo-yolo", True, _maker(lower(PUBLISHED[name]), (JUDGE_PX, JUDGE_PX))))
        elif _has_torch():
            found.append(CalibrationNetwork(name, "zoo", True, _zoo_maker(name)))
    order = np.random.default_rng(seed + 3).permutation(len(found))
    return [found[i] for i in order]


def _maker(graph: Graph, size: tuple[int, int] | None) -> Callable[[], Network]:
    return lambda: Network.of_graph(graph, size)


def _zoo_maker(name: str) -> Callable[[], Network]:
    """A zoo network whose file is exported once: that takes longer than measuring it."""
    kept: list[Network] = []

    def make() -> Network:
        from nas.devices.runtimes import find_network

        if not kept:
            network = find_network(name, JUDGE_PX)
            kept.append(dataclasses.replace(network, onnx=_once(network.onnx)))
        return kept[0]

    return make


def _once(make: Callable[[], bytes]) -> Callable[[], bytes]:
    kept: list[bytes] = []

    def give() -> bytes:
        if not kept:
            kept.append(make())
        return kept[0]

    return give


def _has_torch() -> bool:
    from importlib.util import find_spec

    return find_spec("torch") is not None
