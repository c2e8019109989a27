"""Small chains of one kind of op each, whose times tell the coefficients of a latency model apart.

Convolutions over kernel, channels, size, stride and groups; products, pools, joins, activations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from search_spaces.ops import Op

MOST_MACS = 2e8
"""Multiply-accumulates of a chain: a few milliseconds on a laptop core."""
MOST_MOVED = 2e7
"""Numbers read and written by a chain."""
LEAST_MACS, LEAST_MOVED = 3e6, 3e5
"""Below both, the time would be that of starting a run alone."""


def designed_chains(count: int, seed: int, size: float = 1.0) -> list[Graph]:
    """``count`` small graphs, kinds in turn and everything else sampled from ``seed``; ``size`` scales the limits."""
    rng = np.random.default_rng(seed)
    kinds = [kind for kind, (_, weight) in DESIGNS.items() for _ in range(weight)]
    order = [kind for _ in range(-(-count // len(kinds))) for kind in rng.permutation(kinds)]
    return [_sample_chain(str(kind), i, rng, size) for i, kind in enumerate(order[:count])]


def _sample_chain(kind: str, number: int, rng: np.random.Generator, size: float) -> Graph:
    """One chain, sampled until it is within the limits on multiply-accumulates and traffic."""
    while True:
        px = int(rng.choice([5, 7, 10, 13, 20, 26, 40, 52, 80, 104, 160, 208, 320]))
        graph = DESIGNS[kind][0](_Sampler(rng, px))
        if graph is None:
            continue
        chain = Graph(graph.ops, [(int(graph.inputs[0][0]), px, px)], graph.outputs, f"{kind}-{number:03d}")
        table = chain.table()
        macs = float(table.total(table.macs)) / size
        moved = float(table.total(table.in_elems + table.out_elems)) / size
        if macs <= MOST_MACS and moved <= MOST_MOVED and (macs >= LEAST_MACS or moved >= LEAST_MOVED):
            return chain


@dataclass(frozen=True)
class _Sampler:
    """Random choices for one chain at one side in pixels."""

    rng: np.random.Generator
    px: int

    def choice(self, *values: Any) -> Any:
        """One of the values, uniformly."""
        return values[int(self.rng.integers(len(values)))]

    def channels(self, low: int = 8, high: int = 640) -> int:
        """A log-uniform number of channels, mostly a multiple of 8 as in real networks."""
        value = math.exp(self.rng.uniform(math.log(low), math.log(high)))
        step = self.choice(8, 8, 8, 16, 16, 4)
        return max(step, round(value / step) * step)

    def act(self) -> str:
        """An activation, or ``none``."""
        return str(self.choice("none", "relu", "silu", "silu", "relu", "hardswish", "leaky_relu", "sigmoid"))

    def start(self, channels: int) -> GraphBuilder:
        """A builder for an image-like input of ``channels``."""
        return GraphBuilder(channels, part="")


def _dense(d: _Sampler) -> Graph:
    a, b, k, act = d.channels(), d.channels(), d.choice(1, 1, 3, 3, 5), d.act()
    g = d.start(a)
    x = -1
    for i in range(d.choice(2, 4, 6)):
        x = g.conv(x, b if i % 2 == 0 else a, k=k, act=act)
    return g.finish([x])


def _strided(d: _Sampler) -> Graph:
    a, k, act = d.channels(8, 256), d.choice(1, 3, 3, 5), d.act()
    g = d.start(a)
    x = -1
    for _ in range(2 if d.px >= 20 else 1):
        x = g.conv(x, d.channels(), k=k, s=2, act=act)
    return g.finish([g.conv(x, d.channels(), act=act)])


def _stem(d: _Sampler) -> Graph | None:
    if d.px < 104:
        return None
    g, act = d.start(d.choice(3, 3, 12)), d.act()
    x = g.conv(-1, d.channels(16, 64), k=d.choice(3, 3, 6, 7) // 2 * 2 + 1, s=d.choice(1, 2, 2), act=act)
    return g.finish([g.conv(x, d.channels(16, 64), k=3, s=2, act=act)])


def _depthwise(d: _Sampler) -> Graph:
    c, k, act = d.channels(16), d.choice(3, 3, 5, 5, 7), d.act()
    g = d.start(c)
    x = -1
    for i in range(d.choice(2, 4)):
        x = g.conv(x, c, k=k, s=2 if i == 0 and d.px >= 20 and d.choice(0, 1) else 1, g=c, act=act)
    return g.finish([x])


def _separable(d: _Sampler) -> Graph:
    c, inner, k, act = d.channels(16, 320), d.channels(16), d.choice(3, 5, 7), d.act()
    g = d.start(c)
    x = -1
    for _ in range(d.choice(1, 2, 3)):
        y = g.conv(x, inner, act=act)
        y = g.conv(y, inner, k=k, g=inner, act=act)
        x = g.join("add", g.conv(y, c, act="none"), x) if x >= 0 else g.conv(y, c)
    return g.finish([x])


def _grouped(d: _Sampler) -> Graph:
    groups = d.choice(2, 4, 8)
    c = -(-d.channels(32) // (8 * groups)) * 8 * groups
    g, act, k = d.start(c), d.act(), d.choice(1, 3, 3)
    x = -1
    for _ in range(d.choice(2, 3)):
        x = g.conv(x, c, k=k, g=groups, act=act)
    return g.finish([x])


def _residual(d: _Sampler) -> Graph:
    c, inner, k, act = d.channels(16), d.channels(16), d.choice(1, 3, 3, 5), d.act()
    g = d.start(c)
    x = g.conv(-1, c, act=act)
    for _ in range(d.choice(1, 2, 3)):
        y = g.join("add", g.conv(g.conv(x, inner, act=act), c, k=k), x)
        x = g.single("act", y, kind=act) if act in ("relu", "silu") else y
    return g.finish([x])


def _split(d: _Sampler) -> Graph:
    c, act = 2 * d.channels(16, 256), d.act()
    g = d.start(c)
    x = g.conv(-1, c, act=act)
    half = c // 2
    left = g.single("slice", x, "left", half, start=0, end=half)
    right = g.single("slice", x, "right", half, start=half, end=c)
    parts = [left, right]
    for _ in range(d.choice(1, 2, 3)):
        parts.append(g.conv(parts[-1], half, k=d.choice(1, 3), act=act))
    return g.finish([g.conv(g.join("concat", *parts), c, act=act)])


def _pool(d: _Sampler) -> Graph:
    c, k = d.channels(16), d.choice(3, 5, 9, 13)
    g = d.start(c)
    kind = d.choice("maxpool", "maxpool", "maxpool", "avgpool")
    x = g.conv(-1, c)
    parts = [x]
    for _ in range(d.choice(1, 3)):
        parts.append(g.single(kind, parts[-1], k=(k, k), s=(1, 1), p=(k // 2, k // 2)))
    if d.px >= 20 and d.choice(0, 1):
        return g.finish([g.single(kind, parts[-1], k=(2, 2), s=(2, 2), p=(0, 0))])
    return g.finish([g.conv(g.join("concat", *parts), c)])


def _upsample(d: _Sampler) -> Graph | None:
    if d.px > 104:
        return None
    c, act = d.channels(16, 384), d.act()
    g = d.start(c)
    up = g.single("upsample", g.conv(-1, c, act=act), scale=2)
    side = g.single("upsample", g.conv(-1, d.channels(16, 128), act=act), scale=2)
    return g.finish([g.conv(g.join("concat", up, side), c, act=act)])


def _joins(d: _Sampler) -> Graph:
    c = d.channels(16)
    g = d.start(c)
    a, b = g.single("act", -1, kind="relu"), g.single("act", -1, kind="sigmoid")
    x = a
    for _ in range(d.choice(2, 4)):
        x = g.join(d.choice("add", "add", "mul"), x, b)
    return g.finish([g.join("concat", x, a, b) if d.choice(0, 1) else x])


def _activations(d: _Sampler) -> Graph:
    c, act = d.channels(16), d.choice("relu", "silu", "silu", "sigmoid", "hardswish", "leaky_relu", "gelu")
    g = d.start(c)
    x = -1
    for _ in range(d.choice(2, 4)):
        x = g.conv(x, c, k=3, g=c, act="none") if d.choice(0, 1) else g.single("scale", x, params=1)
        x = g.single("act", x, kind=act)
    return g.finish([x])


def _attention(d: _Sampler) -> Graph | None:
    if d.px > 26:
        return None
    heads, width = d.choice(1, 2, 4, 8), d.choice(16, 32, 64)
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


def _linear(d: _Sampler) -> Graph | None:
    if d.px > 40:
        return None
    c, inner, n = d.channels(32, 320), d.channels(64), d.px * d.px
    act = d.choice("relu", "gelu", "silu")
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


def _squeeze(d: _Sampler) -> Graph:
    c, act = d.channels(16), d.act()
    g = d.start(c)
    x = g.conv(-1, c, k=3, g=c, act=act)
    gate = g.conv(g.conv(g.single("global_avgpool", x), max(8, c // 4), act="relu"), c, act="sigmoid")
    return g.finish([g.conv(g.join("mul", x, gate), c, act=act)])


DESIGNS: dict[str, tuple[Callable[[_Sampler], Graph | None], int]] = {
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
"""Kinds of chains, and how often each is sampled in a round of all."""
