"""Entropy of a Graph by resolution level, which the maximum-entropy scores are sums of.

The entropy of a tensor is the largest log-gain of any path that leads to it: half the log of the fan-in of every
convolution or linear layer on the path. A level is represented by the tensor in which it ends where the graph says so
(``meta["levels"]``, as TinyNAS's block boundaries do), else by its tensor of largest entropy. Levels stop where an
upsampling begins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from search_spaces.graph import Graph, level_strides
from search_spaces.ops import CONV_KINDS, RESIZE_KINDS
from workbench.errors import BadInput

WEIGHTS = (0.0, 0.0, 1.0, 1.0, 16.0)
"""Stage weights of DAMO-YOLO's searches, coarsest last: P3 and P4 once, P5 sixteen times."""


@dataclass(frozen=True)
class Level:
    """One resolution level, described by its representative tensor.

    ``entropy`` in nats; ``side`` of the map in pixels; ``layers`` on the path to it, and the sum of their ln fan-in.
    """

    stride: int
    entropy: float
    channels: int
    side: int
    layers: int
    log_width: float


def levels(graph: Graph, input_px: int, whole: bool = False) -> list[Level]:
    """The descending part of a network by resolution, finest first.

    ``whole`` takes the neck too, where paths go up and down again: a level is its tensor of largest entropy outside of
    the head, or anywhere in a graph that marks no parts.
    """
    px = None if graph.fixed_px else input_px
    strides, shapes = level_strides(graph, px), graph.shapes(px)
    entropy: list[float] = []
    layers: list[int] = []
    descends: list[bool] = []
    carries_image: list[bool] = []
    best: dict[int, int] = {}
    for index, op in enumerate(graph.ops):
        descends.append(op.kind not in RESIZE_KINDS and all(i < 0 or descends[i] for i in op.inputs))
        # The output of a global pooling (squeeze-excite) is a gate, not an image: no path leads through it.
        sources = [i for i in op.inputs if i < 0 or carries_image[i]]
        carries_image.append(op.kind != "global_avgpool" and bool(sources))
        source = max(sources, key=lambda i: entropy[i] if i >= 0 else 0.0, default=-1)
        fan_in = _fan_in(op.kind, op.cin, op.g, op.k)
        entropy.append((entropy[source] if source >= 0 else 0.0) + (0.5 * math.log(fan_in) if fan_in else 0.0))
        layers.append((layers[source] if source >= 0 else 0) + (1 if fan_in else 0))
        stride = strides[index]
        inside = op.part in ("", "backbone", "neck") if whole else descends[index] and op.part in ("", "backbone")
        counts = carries_image[index] and inside and stride > 0 and layers[index] > 0
        if counts and (stride not in best or entropy[index] >= entropy[best[stride]]):
            best[stride] = index
    if "levels" in graph.meta and not whole:
        best = {strides[index]: index for index in graph.meta["levels"]}
    all_levels = []
    for stride, index in sorted(best.items()):
        channels, side = int(shapes[index][0]), int(shapes[index][1])
        if index in graph.meta.get("squeezed", ()):  # keeps DeepMAD's published value on TinyNAS's SE structures
            side = 1
        all_levels.append(Level(stride, entropy[index], channels, side, layers[index], 2 * entropy[index]))
    if not all_levels:
        raise BadInput(f"graph {graph.name!r} has no convolution at image resolution: there is nothing to score")
    return all_levels


def align_weights(weights: tuple[float, ...], count: int) -> tuple[float, ...]:
    """The last ``count`` weights, with zeros in front where there are fewer."""
    padded = (0.0,) * max(0, count - len(weights)) + tuple(weights)
    return padded[len(padded) - count :]


def _fan_in(kind: str, cin: int, groups: int, k: tuple[int, int]) -> float:
    if kind in CONV_KINDS:
        return cin / groups * k[0] * k[1]
    return float(cin) if kind == "linear" else 0.0
