"""A network that can be costed and run at one input size."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search_spaces.graph import Graph
from workbench.errors import BadInput

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Network:
    """A graph with the ONNX file and the torch module to run it.

    ``size`` is the image's (height, width) in pixels. ``onnx`` returns the bytes of its ONNX file; ``module`` returns a
    torch module from an image ``[1, 3, h, w]`` to its outputs, or is None for a foreign ONNX file.
    """

    name: str
    graph: Graph
    size: tuple[int, int]
    onnx: Callable[[], bytes]
    module: Callable[[], nn.Module] | None

    @property
    def table_px(self) -> tuple[int, int] | None:
        """The size to compute the graph's table at; None if the graph has a fixed size."""
        return None if self.graph.fixed_px else self.size

    def with_cached_onnx(self) -> Network:
        """The same network, whose ONNX file is made once and kept in memory, to be loaded many times."""
        return dataclasses.replace(self, onnx=functools.cache(self.onnx))

    @staticmethod
    def of_graph(graph: Graph, size: tuple[int, int] | None = None, seed: int = 0) -> Network:
        """A network from a Graph alone, with random weights drawn from ``seed``."""
        from zoo.graphs.to_onnx import graph_to_onnx

        px = graph.fixed_px or size
        if px is None:
            raise BadInput(f"graph {graph.name!r} has no size of its own: say at how many pixels it is to run")

        def module() -> nn.Module:
            import torch

            from zoo.graphs.to_torch import build_module

            torch.manual_seed(seed)
            return build_module(graph)

        return Network(graph.name or "graph", graph, px, lambda: graph_to_onnx(graph, px, seed), module)
