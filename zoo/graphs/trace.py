"""From a torch module to a Graph.

The module runs once, on the meta device, while every torch function that touches the image's descendants is recorded. A
function without an entry in ``RULES`` is an error that names it. Afterwards an activation joins the convolution or
linear layer that only it reads, as the analytic lowering writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.graph import Graph
from search_spaces.ops import DECODE_PART
from zoo.graphs.trace_rules import RULES
from zoo.graphs.tracer import Tracer, tensors_in


def trace(
    module: nn.Module, input_px: int | tuple[int, int] = 640, name: str = "",
    outputs: Callable[[Any], Sequence[Tensor]] | None = None, decode: Callable[[Any], Sequence[Tensor]] | None = None,
) -> Graph:  # fmt: skip
    """The Graph of a module on the meta device for an image ``[1, 3, h, w]`` of ``input_px`` pixels (side, or h and w).

    ``outputs`` picks the Graph's outputs from what the module returns (default: every tensor in it). ``decode`` runs on
    the same return value; its ops are part ``decode``, and its tensors are ``meta["decode_outputs"]``.
    """
    height, width = (input_px, input_px) if isinstance(input_px, int) else input_px
    image = torch.empty(1, 3, height, width, device="meta")
    tracer = Tracer(module, image, RULES)
    with torch.no_grad(), torch.device("meta"), tracer.naming(), tracer:
        result = module(image)
        ends = [tracer.index(tensor) for tensor in (tensors_in(result) if outputs is None else outputs(result))]
        decoded: list[int] = []
        if decode is not None:
            tracer.part = DECODE_PART
            decoded = [tracer.index(tensor) for tensor in decode(result)]
    return tracer.graph(ends, name or type(module).__name__, {"decode_outputs": decoded} if decoded else {})
