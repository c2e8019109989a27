"""Backbone, levels and head of any detector Graph, derived from its wiring, and which layers a gradient can bypass.

The backbone is what the graph marks as such; in a graph without marks, everything that the first upsampling depends on,
without the 1x1 convolutions that only narrow its input. Its levels are the three coarsest strides; the head of a level
begins where the paths to that level's last maps part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from search_spaces.graph import Graph, level_strides
from search_spaces.ops import CONV_KINDS, DECODE_PART, ELEMENTWISE_KINDS, POOL_KINDS, RESIZE_KINDS, Op
from workbench.errors import BadInput

LEVELS = 3
HALVINGS = 4
BACKBONE_PARTS = ("", "backbone")


@dataclass(frozen=True)
class Anatomy:
    """The parts of a detector. Widths are finest level first, and fewer in a shallow network.

    Args:
        in_backbone: Mask over the graph's ops.
        passages: Widths through which the image enters the four coarsest strides.
        backbone_channels: Widths that leave the backbone at the three coarsest strides.
        head_channels: Widths at which the heads begin, for three levels, or empty.
    """

    graph: Graph
    in_backbone: np.ndarray
    passages: tuple[int, ...]
    backbone_channels: tuple[int, ...]
    head_channels: tuple[int, ...]
    input_px: float

    @staticmethod
    def of(graph: Graph, input_px: int) -> Anatomy:
        """Analyze a scalar graph; ``BadInput`` where no convolution works on the image."""
        if any(op.part == DECODE_PART for op in graph.ops):
            graph = graph.without_part(DECODE_PART)
        px = None if graph.fixed_px else input_px
        strides, shapes = _map_strides(graph, px), graph.shapes(px)
        last, mask = backbone_of(graph)
        occupied = sorted(
            {strides[i] for i in np.flatnonzero(mask) if strides[i] > 0 and graph.ops[i].kind in CONV_KINDS}
        )
        if not occupied:
            raise BadInput(f"graph {graph.name!r} has no convolution at image resolution: there is nothing to score")
        levels = occupied[-LEVELS:]
        inside = np.flatnonzero(mask).tolist()
        entered = {
            stride: [passage(graph, i) for i in inside if strides[i] == stride and enters(graph, i)]
            for stride in occupied[-HALVINGS:]
        }
        passages = tuple(int(max(widths)) for widths in entered.values() if widths)
        readers = graph.consumers()
        taps = []
        for stride in levels:
            at_stride = [i for i in inside if strides[i] == stride]
            leaving = [i for i in at_stride if i == last or i in graph.outputs or any(not mask[r] for r in readers[i])]
            taps.append(max(int(shapes[i][0]) for i in leaving or at_stride[-1:]))
        starts = [_head_start(graph, mask, strides, readers, stride) for stride in levels]
        heads = tuple(int(shapes[i][0]) for i in starts if i is not None) if len(levels) == LEVELS else ()
        side = math.sqrt(math.prod(graph.fixed_px)) if px is None and graph.fixed_px else float(input_px)
        return Anatomy(graph, mask, passages, tuple(taps), heads if len(heads) == LEVELS else (), side)


def _map_strides(graph: Graph, px: int | None) -> list[int]:
    """Total stride of every op's output; 0 where it is no map, or one number a channel as squeeze-excite pools it."""
    strides, shapes = level_strides(graph, px), graph.shapes(px)
    pooled: list[bool] = []
    for op, shape in zip(graph.ops, shapes, strict=True):
        single = len(shape) == 3 and tuple(shape[1:]) == (1, 1)
        pooled.append(single and (op.kind == "global_avgpool" or any(i >= 0 and pooled[i] for i in op.inputs)))
    return [0 if is_pooled else stride for stride, is_pooled in zip(strides, pooled, strict=True)]


def enters(graph: Graph, index: int) -> bool:
    """Whether an op makes a feature map smaller (not the image itself, input -1)."""
    op = graph.ops[index]
    return (op.kind == "conv" or op.kind in POOL_KINDS) and max(op.s) > 1 and op.inputs[0] != -1


def passage(graph: Graph, index: int) -> Any:
    """Channels that pass through an op: the least of its input and output channels.

    Where a 1x1 convolution widens its input, the input channels of that convolution count too, unless they are a
    concat: that joins maps which each carry less.
    """
    op = graph.ops[index]
    source = _source(graph, op)
    before = graph.ops[source] if source >= 0 else None
    narrowest = np.minimum(op.cin, op.cout) if op.kind in CONV_KINDS else _channels(graph, op.inputs[0])
    if before is not None and before.kind == "conv" and tuple(before.k) == (1, 1) and not _joined(graph, before):
        narrowest = np.minimum(narrowest, before.cin)
    return narrowest


def _channels(graph: Graph, index: int) -> Any:
    """Channels of an op's output (or of a graph input)."""
    if index < 0:
        return graph.inputs[-1 - index][0]
    op = graph.ops[index]
    if op.kind in CONV_KINDS:
        return op.cout
    if op.kind == "concat":
        return sum(_channels(graph, i) for i in op.inputs)
    return _channels(graph, op.inputs[0])


def skippable(graph: Graph, mask: np.ndarray | None = None) -> np.ndarray:
    """Convolutions on no shortest path (in convolutions) from the inputs to the last op of ``mask``.

    Returns bool ``[ops]``, or ``[ops, N]`` where the graph holds N candidates. A gradient reaches the layers below
    without passing them: a residual or a CSP branch leads around.
    """
    ops = graph.ops
    inside = np.ones(len(ops), dtype=bool) if mask is None else mask
    n = max((np.size(op.count) for op in ops), default=1)
    # A count may be -1: it corrects a block that is counted once too often by the repetitions after it.
    present = np.array([np.broadcast_to(np.asarray(op.count) != 0, (n,)) for op in ops]).reshape(len(ops), n)
    length = present * np.array([[float(op.kind in CONV_KINDS)] for op in ops]).reshape(len(ops), 1)
    down = np.zeros((len(ops), n))
    for i, op in enumerate(ops):
        paths = [down[j] if j >= 0 else np.zeros(n) for j in op.inputs]
        # An op that a candidate lacks passes its first input on.
        down[i] = length[i] + (np.where(present[i], np.min(paths, axis=0), paths[0]) if paths else 0.0)
    up = np.full((len(ops), n), np.inf)
    last = int(np.flatnonzero(inside)[-1])
    up[last] = 0.0
    for i in range(last, -1, -1):
        if inside[i]:
            for place, j in enumerate(ops[i].inputs):
                if j >= 0:
                    path = up[i] + length[i]
                    up[j] = np.minimum(up[j], path if place == 0 else np.where(present[i], path, np.inf))
    away = (down + up > down[last] + 1e-9) & present & inside[:, None]
    convs = np.array([op.kind in CONV_KINDS for op in ops])[:, None]
    bypassed = np.asarray(away & convs)
    return bypassed if any(np.ndim(op.count) for op in ops) else bypassed[:, 0]


def backbone_of(graph: Graph) -> tuple[int, np.ndarray]:
    """The last op of the backbone, and the mask ``[ops]`` of its ops."""
    ops = graph.ops
    marked = {op.part for op in ops} - set(BACKBONE_PARTS)
    if marked and any(op.part in BACKBONE_PARTS for op in ops):
        parts = ("backbone",) if any(op.part == "backbone" for op in ops) else BACKBONE_PARTS
        mask = np.array([op.part in parts for op in ops])
        return int(np.flatnonzero(mask)[-1]), mask
    resized = next((i for i, op in enumerate(ops) if op.kind in RESIZE_KINDS), None)
    if resized is None:
        return len(ops) - 1, np.ones(len(ops), dtype=bool)
    last = ops[resized].inputs[0]
    while last >= 0 and _only_narrows(graph, last):
        last = ops[last].inputs[0]
    if last < 0:  # the image itself is enlarged: nothing lies before that
        return len(ops) - 1, np.ones(len(ops), dtype=bool)
    mask = np.zeros(len(ops), dtype=bool)
    mask[list(made_from(graph, last) | {last})] = True
    return last, mask


def _only_narrows(graph: Graph, index: int) -> bool:
    """A 1x1 convolution to fewer channels whose input is no concat: the neck's, not the backbone's."""
    op = graph.ops[index]
    if op.kind in ELEMENTWISE_KINDS and op.inputs[0] >= 0:
        return _only_narrows(graph, op.inputs[0])
    joined = _joined(graph, op) or _source(graph, op) < 0
    return op.kind == "conv" and tuple(op.k) == (1, 1) and op.cout < op.cin and not joined


def _source(graph: Graph, op: Op) -> int:
    """The op that an op reads, behind elementwise ones; below 0 for an input of the graph."""
    source = op.inputs[0]
    while source >= 0 and graph.ops[source].kind in ELEMENTWISE_KINDS:
        source = graph.ops[source].inputs[0]
    return source


def _joined(graph: Graph, op: Op) -> bool:
    """Whether an op reads a concat."""
    source = _source(graph, op)
    return source >= 0 and graph.ops[source].kind == "concat"


def made_from(graph: Graph, index: int) -> set[int]:
    """Indices of all ops that op ``index`` depends on."""
    producers: set[int] = set()
    waiting = [index]
    while waiting:
        for producer in graph.ops[waiting.pop()].inputs:
            if producer >= 0 and producer not in producers:
                producers.add(producer)
                waiting.append(producer)
    return producers


def _head_start(
    graph: Graph, mask: np.ndarray, strides: list[int], readers: list[list[int]], stride: int
) -> int | None:
    """The op at ``stride`` that all last maps of that level depend on, None where there is no such map."""
    leaves = [
        i for i, at in enumerate(strides) if at == stride and not mask[i] and all(strides[r] == 0 for r in readers[i])
    ]
    ends: list[int] = []
    for leaf in leaves:
        ends += graph.ops[leaf].inputs if graph.ops[leaf].kind == "concat" else [leaf]
    if not ends:
        return None
    common = set.intersection(*(made_from(graph, end) for end in ends if end >= 0))
    return max((i for i in common if strides[i] == stride), default=None)


def spatial(graph: Graph) -> Any:
    """Which ops are convolutions over more than one pixel: bool ``[ops]`` or ``[ops, N]``."""
    wide = [
        np.asarray(op.k[0]) * np.asarray(op.k[1]) > 1 if op.kind in CONV_KINDS else np.asarray(False)
        for op in graph.ops
    ]
    return np.stack(np.broadcast_arrays(*wide)) if any(np.ndim(w) for w in wide) else np.array(wide)


def aligned(first: Any, second: Any, join: Any) -> Any:
    """``join`` of two arrays ``[ops]`` or ``[ops, N]``, ``[ops, N]`` where either is."""
    a, b = np.asarray(first), np.asarray(second)
    if a.ndim < b.ndim:
        a = a[:, None]
    if b.ndim < a.ndim:
        b = b[:, None]
    return join(a, b)
