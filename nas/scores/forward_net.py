"""What every forward-pass score needs: a network that runs op by op, images, a seed, an image side.

Weights and images are always sampled on the CPU from the seed, so the same seed gives the same score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn

from search_spaces.graph import Graph
from search_spaces.ops import CONV_KINDS, GATES, SIZE_BOUND_KINDS, Op
from workbench.errors import BadInput
from zoo.graphs.to_torch import ACTIVATIONS, build_module

MOST_PX = 64
"""Largest image side (pixels) unless the caller asks for more: these scores rank networks alike at small sizes,
and cost grows with the square."""

Visit: TypeAlias = Callable[[int, Op, Tensor, Tensor], None]
"""Called once an op with its index, itself, and its tensor before and after its activation."""


class ScoreNet(Protocol):
    """A network that runs op by op."""

    graph: Graph

    def walk(self, image: Tensor, visit: Visit | None = None) -> list[Tensor]:
        """Outputs for ``image`` ``[batch, channels, h, w]``; ``visit`` sees every op with weights or an activation."""
        ...

    def modules(self) -> Iterator[nn.Module]:
        """Its layers."""
        ...


class GraphNet(nn.Module):
    """A Graph's module that frees every tensor after its last reader, so that large images fit into memory."""

    def __init__(self, graph: Graph, with_bn: bool = True) -> None:
        super().__init__()
        self.graph = graph
        self.module = build_module(graph, with_bn)
        last = {source: index for index, op in enumerate(graph.ops) for source in op.inputs}
        self._done: dict[int, list[int]] = {}
        for source, index in last.items():
            if source >= 0 and source not in self.module._outputs:
                self._done.setdefault(index, []).append(source)

    @property
    def layers(self) -> nn.ModuleDict:
        """Layers with weights, by the op's index."""
        return self.module.layers

    @property
    def norms(self) -> nn.ModuleDict:
        """Batch norms behind convolutions, by the op's index."""
        return self.module.norms

    def walk(self, image: Tensor, visit: Visit | None = None) -> list[Tensor]:
        """See ``ScoreNet.walk``."""
        known: dict[int, Tensor] = {}
        for index, op in enumerate(self.graph.ops):
            inputs = [known[i] if i >= 0 else image for i in op.inputs]
            key = str(index)
            if key in self.layers:
                before = self.layers[key](inputs[0])
                if key in self.norms:
                    before = self.norms[key](before)
                after = (
                    ACTIVATIONS[op.act](before) if op.act in ACTIVATIONS else self.module._compute(index, op, inputs)
                )
            else:
                before, after = inputs[0], self.module._compute(index, op, inputs)
            if visit is not None and (key in self.layers or op.kind == "act"):
                visit(index, op, before, after)
            known[index] = after
            for source in self._done.get(index, ()):
                del known[source]
        return [known[i] for i in self.module._outputs]


def is_active(op: Op) -> bool:
    """Whether the op's output has passed an activation that has on and off states."""
    return op.activation not in GATES | {"none"}


def gaussian(net: nn.Module) -> None:
    """Initialize with standard Gaussian weights and no biases, as Zen-NAS prescribes."""
    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def images(graph: Graph, batch: int, px: int) -> Tensor:
    """Standard Gaussian images ``[batch, channels, px, px]`` from torch's global generator."""
    return torch.randn(batch, int(graph.inputs[0][0]), px, px)


def side(graph: Graph, input_px: int, most_px: int | None = None) -> int:
    """The image side to run at: ``input_px`` but at most ``most_px`` (``MOST_PX``), or a graph's fixed side."""
    if graph.fixed_px is not None and any(op.kind in SIZE_BOUND_KINDS for op in graph.ops):
        return graph.fixed_px[0]
    if not any(op.kind in CONV_KINDS for op in graph.ops):
        raise BadInput(f"graph {graph.name!r} has no convolution: forward-pass scores need one")
    return min(input_px, MOST_PX if most_px is None else most_px)


def log_of(value: float, graph: Graph) -> float:
    """Natural log of a value that is positive in a healthy network."""
    if not math.isfinite(value) or value <= 0:
        raise BadInput(
            f"graph {graph.name!r}: the forward pass gave {value}, which has no logarithm; "
            "the network collapses or overflows at initialisation"
        )
    return math.log(value)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's generator inside the context, and restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
