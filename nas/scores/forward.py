"""Zero-shot scores that run a randomly initialised network: zen, nwot, synflow.

The module is built from the Graph itself (``zoo.torch_graph``), so anything that becomes a Graph can be scored.
Images are at most ``MOST_PX`` pixels wide where the graph scales, since these scores rank networks alike at
small sizes and cost grows with the square. Same seed, same score on the same machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nas.scores import ScoreResult
from search_spaces.errors import BadInput
from search_spaces.graph import CONV_KINDS, Graph
from zoo.torch_graph import GraphModule, build_module

MOST_PX = 64
ZEN_BATCH, ZEN_REPEATS, ZEN_MIX = 8, 2, 1e-2
NWOT_BATCH = 16


def zen(graph: Graph, input_px: int, seed: int) -> ScoreResult:
    """Zen-NAS (Lin et al., ICCV 2021): log of the output's change under a small Gaussian disturbance of the image,
    plus half the log of every batch norm's variance, which the norm would otherwise hide."""
    with _seeded(seed):
        module = build_module(graph, with_bn=True)
        _gaussian(module)
        module.train()
        px = _side(graph, input_px)
        values = []
        for _ in range(ZEN_REPEATS):
            image, noise = _image(graph, ZEN_BATCH, px), _image(graph, ZEN_BATCH, px)
            moved = image + ZEN_MIX * noise
            variances = _norm_variances(module)
            with torch.no_grad(), variances as logs:
                change = (_representative(module, image) - _representative(module, moved)).abs().mean()
            # Both passes cross every norm; half of what was collected belongs to the first.
            values.append(math.log(_positive(float(change), graph)) + 0.5 * 0.5 * math.fsum(logs.collected))
    return ScoreResult(math.fsum(values) / len(values), notes={"input_px": px, "repeats": ZEN_REPEATS, "batch": ZEN_BATCH})


def nwot(graph: Graph, input_px: int, seed: int) -> ScoreResult:
    """NASWOT (Mellor et al., ICML 2021): log-determinant of the kernel that counts how many units agree, over a
    batch of random images, in being on or off. A unit is on where its activation's input is positive."""
    with _seeded(seed):
        module = build_module(graph, with_bn=True)
        module.train()
        px = _side(graph, input_px)
        with torch.no_grad():
            tensors = module.run(_image(graph, NWOT_BATCH, px))
        kernel = torch.zeros(NWOT_BATCH, NWOT_BATCH, dtype=torch.float64)
        units = 0
        for op, tensor in zip(graph.ops, tensors, strict=True):
            if op.act not in ("relu", "silu", "gelu") and not (op.kind == "act" and tensor.dim() == 4):
                continue
            on = (tensor > 0).flatten(1).double()
            kernel += on @ on.T + (1 - on) @ (1 - on).T
            units += on.shape[1]
    if not units:
        raise BadInput(f"graph {graph.name!r} has no activation: nwot counts which units are on")
    _, logdet = torch.linalg.slogdet(kernel)
    return ScoreResult(float(logdet), notes={"input_px": px, "batch": NWOT_BATCH, "units": units})


def synflow(graph: Graph, input_px: int, seed: int) -> ScoreResult:
    """SynFlow (Tanaka et al., NeurIPS 2020): sum of |weight x gradient| of the summed output, with all weights made
    positive, an image of ones, linear activations kept and no batch norm; natural log, in float64."""
    with _seeded(seed):
        module = build_module(graph).double()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.abs_()
        px = _side(graph, input_px)
        channels = int(graph.inputs[0][0])
        total = torch.stack([out.sum() for out in module(torch.ones(1, channels, px, px, dtype=torch.float64))]).sum()
        total.backward()
        value = math.fsum(float((p.detach() * p.grad).abs().sum()) for p in module.parameters() if p.grad is not None)
    return ScoreResult(math.log(_positive(value, graph)), notes={"input_px": px})


class _NormVariances:
    """Collects ln(mean variance) of every batch norm's input while it is active."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.collected = module, list[float]()
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> _NormVariances:
        def note(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            variance = float(given[0].var(dim=(0, 2, 3), unbiased=False).mean())
            if variance > 0:
                self.collected.append(math.log(variance))

        self._handles = [m.register_forward_pre_hook(note) for m in self.module.modules() if isinstance(m, nn.BatchNorm2d)]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()


def _norm_variances(module: nn.Module) -> _NormVariances:
    return _NormVariances(module)


def _representative(module: GraphModule, image: Tensor) -> Tensor:
    """The last output: the coarsest feature map of a backbone, the last head map of a detector."""
    return module(image)[-1]


def _gaussian(module: nn.Module) -> None:
    """Standard Gaussian weights, no biases, as Zen-NAS prescribes."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _image(graph: Graph, batch: int, px: int) -> Tensor:
    return torch.randn(batch, int(graph.inputs[0][0]), px, px)


def _side(graph: Graph, input_px: int) -> int:
    """The image side to run at: the traced one where the graph is bound to it."""
    if graph.fixed_px is not None and any(op.kind in ("reshape", "matmul", "transpose") for op in graph.ops):
        return graph.fixed_px[0]
    if not any(op.kind in CONV_KINDS for op in graph.ops):
        raise BadInput(f"graph {graph.name!r} has no convolution: forward-pass scores need one")
    return min(input_px, MOST_PX)


def _positive(value: float, graph: Graph) -> float:
    if not math.isfinite(value) or value <= 0:
        raise BadInput(f"graph {graph.name!r}: the forward pass gave {value}, which has no logarithm; the network collapses or overflows at initialisation")
    return value


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's generator at ``seed`` inside, as it was outside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
