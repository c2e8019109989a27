"""Self-attention over the cells of a feature map, as YOLO11 and YOLO26 have it: pieces of the kinds with attention.

Shapes of the ops between the two reshapes are ``(heads, channels, cells)``; they follow from the map's size, so that
the graph answers for any input size (see ``search_spaces.shapes``).
"""

from __future__ import annotations

import numpy as np

from search_spaces.graph_builder import GraphBuilder
from search_spaces.ops import Num

HEAD_CHANNELS = 64
"""Channels of one attention head."""
KEY_CHANNELS = 32
"""Channels of a head's query, and of its key."""


def attention_heads(channels: Num) -> Num:
    """Heads for a map of ``channels``: one for each ``HEAD_CHANNELS``, or the next smaller number that divides them."""
    width = np.asarray(channels)
    most = np.maximum(width // HEAD_CHANNELS, 1)
    heads = np.ones_like(width)
    for count in range(2, int(most.max(initial=1)) + 1):
        heads = np.where((count <= most) & (width % count == 0), count, heads)
    return int(heads) if heads.ndim == 0 else heads


def attention_block(g: GraphBuilder, x: int, k: Num, act: str) -> int:
    """Attention, then a two-layer network at every position, each with a shortcut; ``k``: kernel of the position
    encoding."""
    return _with_network(g, x, _attention(g, x, k), act)


def skeleton_attention_block(g: GraphBuilder, x: int, k: Num, act: str) -> int:
    """The same as the maximum-entropy scores see it: without queries and keys, because weights that sum to 1 add no
    gain."""
    value = g.conv(x, g.channels(x), name="value")
    return _with_network(g, x, _position_and_project(g, value, value, k), act)


def _with_network(g: GraphBuilder, x: int, attended: int, act: str) -> int:
    x = g.join("add", x, attended)
    y = g.conv(x, 2 * g.channels(x), act=act, name="ffn1")
    return g.join("add", x, g.conv(y, g.channels(x), name="ffn2"))


def _attention(g: GraphBuilder, x: int, k: Num) -> int:
    channels = g.channels(x)
    heads = attention_heads(channels)
    tokens = g.conv(x, 2 * KEY_CHANNELS * heads + channels, name="qkv")
    tokens = g.single("reshape", tokens, "tokens", heads=heads)
    ends = (0, KEY_CHANNELS, 2 * KEY_CHANNELS, 2 * KEY_CHANNELS + channels // heads)
    query, key, value = (
        g.single("slice", tokens, name, channels, axis=2, start=start, end=end)
        for name, start, end in zip(("query", "key", "value"), ends, ends[1:], strict=False)
    )
    query = g.single("mul_const", query, "scale", value=KEY_CHANNELS**-0.5, const_shape=[])
    scores = g.join("matmul", g.single("transpose", query, "turn1", perm=[0, 1, 3, 2]), key, name="scores")
    weights = g.single("transpose", g.single("softmax", scores, axis=3), "turn2", perm=[0, 1, 3, 2])
    mixed = g.join("reshape", g.join("matmul", value, weights, name="mix"), x, name="map1")
    return _position_and_project(g, mixed, g.join("reshape", value, x, name="map2"), k)


def _position_and_project(g: GraphBuilder, mixed: int, value: int, k: Num) -> int:
    channels = g.channels(value)
    position = g.conv(value, channels, k=k, g=channels, name="position")
    return g.conv(g.join("add", mixed, position), channels, name="project")
