"""What the score ``forecast`` reads from a network: input side, widths, depth and attention, from the wiring alone.

* *Widths*: where the backbone first enters strides 4, 8, 16 and 32, the channels that the entering layer works on. It
  cannot use more than ``expansion`` times the channels that reach it, so a thread before a wide layer is seen, and more
  than ``saturation`` times the stride is worth ever less, so no level can take all channels.
* *Heads*: the channels that every head begins with, at strides 8, 16 and 32.
* *Depth*: convolutions over more than one pixel, depthwise ones like others, each counted by its narrowest width: in
  the backbone those that a gradient can bypass, those of the neck by half. What lies behind a head's start is not read.
* *Attention*: softmax layers that weight a sum.

Networks of tokens have no map at some strides: their token width stands in.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.scores.anatomy import aligned, backbone_of, enters, made_from, passage, skippable, spatial
from search_spaces.graph import Graph, level_strides
from search_spaces.ops import CONV_KINDS, DECODE_PART, ELEMENTWISE_KINDS, VIEW_KINDS
from workbench.errors import BadInput

TERMS = ("size", "widths", "heads", "depth", "attention")
"""The terms of the sum, each times its coefficient."""
ENTRIES = {4: 0.1, 8: 0.3, 16: 0.3, 32: 0.3}
"""Strides whose entrances are read, with their shares of the term. By reason: no head works at stride 4, and in the
evidence all levels widen together."""
HEADS = {8: 1 / 3, 16: 1 / 3, 32: 1 / 3}
"""Strides whose heads are read, with their shares."""
USUAL_PX = 640
"""The input side at which the input term is 0."""
FEWEST_TOKEN_CHANNELS = 64
"""Linear layers with fewer outputs predict something; they are no token width."""


@dataclass(frozen=True)
class Form:
    """What is not fitted.

    Args:
        bend: How fast the input side's returns diminish; 0 is its logarithm.
        half_width: Channels at which a layer counts half.
        saturation: Channels per unit of stride at which a wider entrance is worth half as much.
        expansion: How many channels a layer can use for each that reaches it; published inverted residuals have 6.
        neck: What a layer of the neck counts of one of the backbone.
        bypassed: Whether only those layers of the backbone count that a gradient can bypass.
    """

    bend: float = 0.5
    half_width: float = 64.0
    expansion: float = 6.0
    saturation: float = 128.0
    neck: float = 0.5
    bypassed: bool = True

    def size(self, input_px: Any) -> Any:
        """The input term, 0 at ``USUAL_PX``; near there it is the logarithm of the side over ``USUAL_PX``."""
        ratio = np.asarray(input_px, dtype=np.float64) / USUAL_PX
        return np.log(ratio) if self.bend == 0 else (1 - ratio**-self.bend) / self.bend

    def useful(self, channels: Any, stride: int) -> Any:
        """Channels of an entrance as far as they are of use at its stride; never more than saturation x stride."""
        wide = np.asarray(channels, dtype=np.float64)
        return wide / (1 + wide / (self.saturation * stride))

    def weight(self, channels: Any) -> Any:
        """Depth that a layer of so many channels counts, from 0 to 1.

        Its value for its cost is greatest near ``half_width``: many narrow layers do not pay.
        """
        squared = np.asarray(channels, dtype=np.float64) ** 2
        return squared / (squared + self.half_width**2)


def terms_of(graph: Graph, input_px: int, form: Form) -> dict[str, float]:
    """The terms of a scalar graph; ``BadInput`` where it has no layer that could be read."""
    if any(op.part == DECODE_PART for op in graph.ops):
        graph = graph.without_part(DECODE_PART)
    px = None if graph.fixed_px else input_px
    strides = [_level(stride) for stride in level_strides(graph, px)]
    side = math.sqrt(math.prod(graph.fixed_px)) if px is None and graph.fixed_px else float(input_px)
    tokens = token_width(graph)
    _, backbone = backbone_of(graph)
    widths = entrance_widths(graph, strides, backbone, form)
    if len(widths) < 3 and tokens is not None:
        widths = dict.fromkeys(ENTRIES, float(tokens))
    if not widths:  # nothing halves the map: the last convolution of an image-shaped map stands in
        last = [i for i, op in enumerate(graph.ops) if op.kind in CONV_KINDS and strides[i] > 0][-1:]
        widths = {min(ENTRIES): float(graph.ops[i].cout) for i in last}
    if not widths:
        raise BadInput(f"graph {graph.name!r} has no convolution at image resolution: there is nothing to score")
    starts = head_starts(graph, strides)
    shapes = graph.shapes(px)
    heads = {at: float(shapes[op][0]) for at, op in starts.items() if at in HEADS}
    if not heads:
        heads = dict.fromkeys(HEADS, float(tokens or widths[max(widths)]))
    return {
        "size": float(form.size(side)),
        "widths": mean_log({at: float(form.useful(width, at)) for at, width in widths.items()}, ENTRIES),
        "heads": mean_log(heads, HEADS),
        "depth": network_depth(graph, strides, backbone, starts, form),
        "attention": float(attention_layers(graph)),
    }


def mean_log(channels: Mapping[int, float], levels: Mapping[int, float]) -> float:
    """Mean of ln channels over levels by their shares; a level that is not there counts as its nearest."""
    shares = level_shares(channels, levels)
    return math.fsum(share * math.log(channels[level]) for level, share in shares.items())


def level_shares(known: Any, levels: Mapping[int, float]) -> dict[int, float]:
    """The shares of the levels, those of missing ones given to the nearest known one, the coarser of two."""
    present = [level for level in levels if level in known]
    shares = dict.fromkeys(present, 0.0)
    for level, share in levels.items():
        nearest = min(present, key=lambda other: (abs(math.log2(other / level)), -other))
        shares[nearest] += share
    return shares


def entrance_widths(graph: Graph, strides: list[int], backbone: np.ndarray, form: Form) -> dict[int, float]:
    """Width at which the backbone enters each of ``ENTRIES`` on its way down, the widest of parallel layers."""
    found: dict[int, float] = {}
    deepest = 0
    for index in np.flatnonzero(backbone).tolist():
        if strides[index] >= max(1, deepest) and enters(graph, index):
            deepest = strides[index]
            if deepest in ENTRIES:
                found[deepest] = max(found.get(deepest, 0.0), float(entrance_width(graph, index, form)))
    return found


def entrance_width(graph: Graph, index: int, form: Form) -> Any:
    """Channels that an entering op works on, as far as those before it can fill them."""
    op = graph.ops[index]
    before = passage(graph, index)
    own = np.minimum(op.cin, op.cout) if op.kind in CONV_KINDS else before
    return np.minimum(own, form.expansion * before)


def head_starts(graph: Graph, strides: list[int]) -> dict[int, int]:
    """By stride, the last op that all output maps of that stride are made from."""
    ends: dict[int, list[int]] = {}
    for output in graph.outputs:
        while output >= 0 and graph.ops[output].kind in ELEMENTWISE_KINDS:
            output = graph.ops[output].inputs[0]
        if output >= 0 and strides[output] > 0:
            op = graph.ops[output]
            ends.setdefault(strides[output], []).extend(op.inputs if op.kind == "concat" else [output])
    starts = {}
    for stride, maps in ends.items():
        common = set.intersection(*(made_from(graph, end) for end in maps if end >= 0))
        start = max((i for i in common if strides[i] == stride), default=None)
        if start is not None:
            starts[stride] = start
    return starts


def network_depth(
    graph: Graph, strides: list[int], backbone: np.ndarray, starts: Mapping[int, int], form: Form
) -> float:
    """Depth of backbone and neck; what follows the start of a head does not count."""
    neck = np.asarray(spatial(graph)) & ~backbone & ~_behind(graph, strides, starts)
    counts = depth_weights(graph, form, backbone) + np.where(neck, form.neck * plain_weights(graph, form), 0.0)
    return float((counts * np.array([float(op.count) for op in graph.ops])).sum())


def depth_weights(graph: Graph, form: Form, mask: np.ndarray | None = None) -> np.ndarray:
    """Depth that one repetition of each backbone op counts: ``[ops]``, or ``[ops, N]`` for N candidates."""
    counted = spatial(graph)
    inside = np.ones(len(graph.ops), dtype=bool) if mask is None else mask
    if form.bypassed:
        counted = aligned(counted, skippable(graph, mask), np.logical_and)
    else:
        counted = aligned(counted, inside, np.logical_and)
    weights = plain_weights(graph, form)
    return np.asarray(aligned(counted, weights, lambda a, b: np.where(a, b, 0.0)))


def plain_weights(graph: Graph, form: Form) -> np.ndarray:
    """``Form.weight`` of the narrowest width of every convolution, 0 for other ops: ``[ops]`` or ``[ops, N]``."""
    rows = [
        form.weight(np.minimum(op.cin, op.cout)) if op.kind in CONV_KINDS else np.asarray(0.0) for op in graph.ops
    ]
    return np.stack(np.broadcast_arrays(*rows)) if any(np.ndim(row) for row in rows) else np.array(rows, dtype=float)


def attention_layers(graph: Graph) -> int:
    """Softmax layers whose result weights a sum: those that reach a product before any other layer."""
    readers = graph.consumers()
    return sum(
        int(op.count) for index, op in enumerate(graph.ops) if op.kind == "softmax" and _weights(graph, readers, index)
    )


def token_width(graph: Graph) -> int | None:
    """The most frequent output width of the linear layers, the greatest of several; None without any."""
    widths = Counter(
        int(op.cout) for op in graph.ops if op.kind == "linear" and op.cout >= FEWEST_TOKEN_CHANNELS
    )
    return max(widths, key=lambda width: (widths[width], width), default=None)


def _weights(graph: Graph, readers: list[list[int]], index: int) -> bool:
    waiting = list(readers[index])
    while waiting:
        reader = waiting.pop()
        kind = graph.ops[reader].kind
        if kind in ("matmul", "mul"):
            return True
        if kind in VIEW_KINDS or kind in ("transpose", "slice", "select", "expand", "stack"):
            waiting += readers[reader]
    return False


def _behind(graph: Graph, strides: list[int], starts: Mapping[int, int]) -> np.ndarray:
    """Which ops follow the start of a head at its own stride, bool ``[ops]``."""
    behind = np.zeros(len(graph.ops), dtype=bool)
    for stride, start in starts.items():
        from_start = {start}
        for index in range(start + 1, len(graph.ops)):
            if strides[index] == stride and any(i in from_start for i in graph.ops[index].inputs):
                from_start.add(index)
                behind[index] = True
    return behind


def _level(stride: int) -> int:
    """The power of two nearest to a total stride; 0 stays 0."""
    return 2 ** round(math.log2(stride)) if stride > 0 else 0


