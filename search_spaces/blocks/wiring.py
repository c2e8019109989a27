"""Pieces that several block kinds are wired from: pyramid, halves, residual links, attention, array flags."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from search_spaces.graph_builder import GraphBuilder
from search_spaces.ops import Num

Flag: TypeAlias = "bool | np.ndarray"
"""A bool, or a 0/1 array ``[N]``: one value per candidate."""


def spp(g: GraphBuilder, x: int) -> int:
    """DAMO-YOLO's spatial pyramid: 1x1 to half, max pools 5, 9, 13, concat, 1x1 back; always SiLU."""
    channels = g.channels(x)
    g.scope.append("spp")
    y = g.conv(x, channels // 2, act="silu", name="conv1")
    pools = [g.single("maxpool", y, f"pool{k}", k=(k, k), s=(1, 1), p=(k // 2, k // 2)) for k in (5, 9, 13)]
    out = g.conv(g.join("concat", y, *pools), channels, act="silu", name="conv2")
    g.scope.pop()
    return out


def halves(g: GraphBuilder, x: int, part: Num) -> list[int]:
    """The first and the second ``part`` channels of ``x``."""
    return [
        g.single("slice", x, name, part, axis=1, start=start, end=start + part)
        for name, start in (("first", 0 * part), ("second", part))
    ]


def bottleneck(g: GraphBuilder, x: int, mid: Num, k: Num, act: str) -> int:
    """YOLO's bottleneck: two kxk convs with ``mid`` channels between them, each with its activation, and a shortcut."""
    y = g.conv(x, mid, k=k, act=act, name="conv1")
    return g.join("add", x, g.conv(y, g.channels(x), k=k, act=act, name="conv2"))


def half(channels: Num) -> Num:
    """Half of ``channels``, rounded down, at least 1."""
    halved = np.maximum(1, np.asarray(channels) // 2)
    return int(halved) if halved.ndim == 0 else halved


def residual_pair(g: GraphBuilder, x: int, btn: Num, cout: Num, ks: tuple[Num, Num], act: str) -> int:
    """DAMO-YOLO's stride-1 residual block: two convs, add (projected where the width changes), activation."""
    skip = g.conv(x, cout, name="proj", when=differ(g.channels(x), cout))
    y = g.conv(x, btn, k=ks[0], act=act, name="conv1")
    y = g.conv(y, cout, k=ks[1], name="conv2")
    return g.single("act", g.join("add", y, skip), "act", kind=act)


def pooled_skip(g: GraphBuilder, x: int, cout: Num, stride: int, project: Flag) -> int:
    """TinyNAS's residual link: 2x2 average pool at stride 2, then a 1x1 projection where asked."""
    if stride == 2:
        x = g.single("avgpool", x, "down", k=(2, 2), s=(2, 2), p=(0, 0))
    return g.conv(x, cout, name="proj", when=project)


def squeeze_excite(g: GraphBuilder, x: int, inner: Num, act: str, gate: str) -> int:
    """Scale each channel of ``x`` by a ``gate`` of all channels' means, through ``inner`` channels with ``act``."""
    y = g.single("global_avgpool", x, "squeeze")
    y = g.conv(y, inner, act=act, name="se1")
    return g.join("mul", x, g.conv(y, g.channels(x), act=gate, name="se2"), name="excite")


def channel_attention(g: GraphBuilder, x: int) -> int:
    """CSPNeXt's channel attention: scale each channel of ``x`` by one 1x1 conv of all channels' means."""
    y = g.single("global_avgpool", x, "squeeze")
    return g.join("mul", x, g.conv(y, g.channels(x), act="hardsigmoid", name="attention"), name="excite")


def partial_conv(g: GraphBuilder, x: int, part: Num, k: Num) -> int:
    """FasterNet's partial convolution: a kxk conv without bias on the first ``part`` channels; the others pass."""
    whole = g.channels(x)
    y = g.single("slice", x, "first", part, axis=1, start=0, end=part)
    rest = g.single("slice", x, "rest", whole - part, axis=1, start=part, end=whole)
    y = g.single("conv", y, "partial", part, cin=part, cout=part, k=(k, k), p=(k // 2, k // 2))
    return g.join("concat", y, rest)


def differ(a: Num, b: Num) -> Flag:
    """Whether channel counts differ."""
    if np.ndim(a) == 0 and np.ndim(b) == 0:
        return bool(a != b)
    return np.asarray(np.asarray(a) != np.asarray(b), dtype=np.int64)


def negate(flag: Flag) -> Flag:
    """The opposite flag."""
    return not flag if isinstance(flag, bool) else 1 - flag


def at_least_two(depth: Num) -> Flag:
    """Whether ``depth`` is 2 or more."""
    if np.ndim(depth) == 0:
        return bool(depth >= 2)
    return np.asarray(np.asarray(depth) >= 2, dtype=np.int64)
