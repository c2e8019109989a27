"""Maximum-entropy scores as closed forms over a Graph.

The entropy of a tensor is the largest log-gain of any path that leads to it: half the log of the fan-in of
every convolution or linear layer on the way. A resolution level is represented by the tensor in which it ends
where the graph says so (``meta["levels"]``, as TinyNAS's block boundaries do), else by its tensor of largest
entropy; levels stop where an upsampling begins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nas.scores import ScoreResult
from search_spaces.graph import Graph, level_strides
from search_spaces.ops import CONV_KINDS, RESIZE_KINDS
from workbench.errors import BadInput


@dataclass(frozen=True)
class Level:
    """One resolution: ``entropy`` (nats) of its representative, its channels, map side (pixels), and the layers
    and summed log fan-in (per layer product) up to it."""

    stride: int
    entropy: float
    channels: int
    side: int
    layers: int
    log_width: float


def levels(graph: Graph, input_px: int) -> list[Level]:
    """The descending part of a network by resolution, finest first."""
    px = None if graph.fixed_px else input_px
    strides, shapes = level_strides(graph, px), graph.shapes(px)
    entropy: list[float] = []
    layers: list[int] = []
    descends: list[bool] = []
    leads: list[bool] = []
    best: dict[int, int] = {}
    for index, op in enumerate(graph.ops):
        descends.append(op.kind not in RESIZE_KINDS and all(i < 0 or descends[i] for i in op.inputs))
        # What comes out of a global pooling (squeeze-excite) is a gate, not an image: no path leads through it.
        ways = [i for i in op.inputs if i < 0 or leads[i]]
        leads.append(op.kind != "global_avgpool" and bool(ways))
        source = max(ways, key=lambda i: entropy[i] if i >= 0 else 0.0, default=-1)
        fan_in = _fan_in(op.kind, op.cin, op.g, op.k)
        entropy.append((entropy[source] if source >= 0 else 0.0) + (0.5 * math.log(fan_in) if fan_in else 0.0))
        layers.append((layers[source] if source >= 0 else 0) + (1 if fan_in else 0))
        stride = strides[index]
        counts = leads[index] and descends[index] and stride > 0 and layers[index] > 0 and op.part in ("", "backbone")
        if counts and (stride not in best or entropy[index] >= entropy[best[stride]]):
            best[stride] = index
    if "levels" in graph.meta:
        best = {strides[index]: index for index in graph.meta["levels"]}
    found = []
    for stride, index in sorted(best.items()):
        channels, side = int(shapes[index][0]), int(shapes[index][1])
        if index in graph.meta.get("squeezed", ()):  # keeps DeepMAD's published value on TinyNAS's SE structures
            side = 1
        found.append(Level(stride, entropy[index], channels, side, layers[index], 2 * entropy[index]))
    if not found:
        raise BadInput(f"graph {graph.name!r} has no convolution at image resolution: there is nothing to score")
    return found


def maxent(graph: Graph, input_px: int, weights: tuple[float, ...]) -> ScoreResult:
    """Sum over levels of weight x (entropy + ln channels); the last weight belongs to the coarsest level."""
    found = levels(graph, input_px)
    terms = [w * (level.entropy + math.log(level.channels)) for w, level in zip(_aligned(weights, len(found)), found, strict=True)]
    return ScoreResult(math.fsum(terms), tuple(terms), {"strides": [level.stride for level in found]})


def deepmad(graph: Graph, input_px: int, weights: tuple[float, ...]) -> ScoreResult:
    """Sum over levels of weight x ln(channels x side^2) x entropy, with the effectiveness in the notes."""
    found = levels(graph, input_px)
    terms = [
        w * (math.log(level.channels) + math.log(level.side**2)) * level.entropy
        for w, level in zip(_aligned(weights, len(found)), found, strict=True)
    ]
    notes = {"strides": [level.stride for level in found], "effectiveness": effectiveness(graph, input_px)}
    return ScoreResult(math.fsum(terms), tuple(terms), notes)


def effectiveness(graph: Graph, input_px: int) -> float:
    """DeepMAD's depth against width: the largest over levels of layers / exp(mean log fan-in).

    Small is trainable; DeepMAD keeps it below about 0.5 for images.
    """
    return max(level.layers * math.exp(-level.log_width / level.layers) for level in levels(graph, input_px))


def _fan_in(kind: str, cin: int, groups: int, k: tuple[int, int]) -> float:
    if kind in CONV_KINDS:
        return cin / groups * k[0] * k[1]
    return float(cin) if kind == "linear" else 0.0


def _aligned(weights: tuple[float, ...], count: int) -> tuple[float, ...]:
    """The last ``count`` weights, with zeros in front where there are fewer."""
    padded = (0.0,) * max(0, count - len(weights)) + tuple(weights)
    return padded[len(padded) - count :]
