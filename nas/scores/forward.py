"""Zero-shot scores that run a randomly initialised network; the definitions are in ``docs/scores.md``.

The module is built from the Graph itself, so anything that becomes a Graph can be scored. Images are at most
``MOST_PX`` pixels wide unless ``most_px`` says otherwise. Same seed, same score on the same machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nas.scores import ScoreResult
from nas.scores.forward_net import GraphNet, ScoreNet, gaussian, images, log_of, seeded, side
from nas.scores.forward_observers import Agreement, Correlation, Expressivity, Observer, Patterns
from search_spaces.graph import Graph
from workbench.errors import BadInput

ZEN_BATCH, ZEN_REPEATS, ZEN_MIX = 8, 2, 1e-2
BATCH = 16
SWAP_BATCH = 32
ZICO_BATCH, ZICO_BATCHES = 4, 2

OBSERVERS: dict[str, tuple[int, Callable[[Graph, int, int], Observer]]] = {
    "nwot": (BATCH, lambda graph, px, seed: Agreement(graph, BATCH)),
    "nwot_pre": (BATCH, lambda graph, px, seed: Agreement(graph, BATCH, before=True)),
    "meco": (BATCH, lambda graph, px, seed: Correlation(seed)),
    "expressivity": (BATCH, lambda graph, px, seed: Expressivity(graph, px)),
    "swap": (SWAP_BATCH, lambda graph, px, seed: Patterns(graph)),
}
"""Scores that only watch: images a batch, and what watches."""


def observed(names: Sequence[str], graph: Graph, input_px: int, seed: int, most_px: int | None = None) -> dict[str, ScoreResult]:
    """Several of ``OBSERVERS`` at the price of one pass a batch size; the same values as one by one."""
    px = side(graph, input_px, most_px)
    found = {}
    for batch in sorted({OBSERVERS[name][0] for name in names}):
        watching = {name: OBSERVERS[name][1](graph, px, seed) for name in names if OBSERVERS[name][0] == batch}
        with seeded(seed):
            net = GraphNet(graph).train()
            watch(net, images(graph, batch, px), list(watching.values()))
        for name, observer in watching.items():
            units = {"units": observer.units} if isinstance(observer, Agreement) else {}
            found[name] = ScoreResult(observer.value(), notes={"input_px": px, "batch": batch, **units})
    return found


def watch(net: ScoreNet, batch: Tensor, observers: Sequence[Observer]) -> None:
    """One pass of ``batch`` with everybody watching."""

    def visit(index: int, op: object, before: Tensor, after: Tensor) -> None:
        for observer in observers:
            observer(index, op, before, after)  # type: ignore[arg-type]

    with torch.no_grad():
        net.walk(batch, visit)


def nwot(graph: Graph, input_px: int, seed: int, most_px: int | None = None) -> ScoreResult:
    """NASWOT (Mellor et al., ICML 2021), on the outputs of the activations."""
    return observed(["nwot"], graph, input_px, seed, most_px)["nwot"]


def nwot_pre(graph: Graph, input_px: int, seed: int, most_px: int | None = None) -> ScoreResult:
    """NASWOT on what convolutions and linear layers put out before any activation."""
    return observed(["nwot_pre"], graph, input_px, seed, most_px)["nwot_pre"]


def swap(graph: Graph, input_px: int, seed: int, most_px: int | None = None) -> ScoreResult:
    """SWAP-Score (Peng et al., ICLR 2024), without its regularisation."""
    return observed(["swap"], graph, input_px, seed, most_px)["swap"]


def meco(graph: Graph, input_px: int, seed: int, most_px: int | None = None) -> ScoreResult:
    """MeCo (Jiang et al., NeurIPS 2023), its sampled form."""
    return observed(["meco"], graph, input_px, seed, most_px)["meco"]


def expressivity(graph: Graph, input_px: int, seed: int, most_px: int | None = None) -> ScoreResult:
    """The expressivity of AZ-NAS (Lee and Ham, CVPR 2024), by resolution."""
    return observed(["expressivity"], graph, input_px, seed, most_px)["expressivity"]


def zen(graph: Graph, input_px: int, seed: int, most_px: int | None = None) -> ScoreResult:
    """Zen-NAS (Lin et al., ICCV 2021): log of the output's change under a small Gaussian disturbance of the image,
    plus half the log of every batch norm's variance, which the norm would otherwise hide."""
    px = side(graph, input_px, most_px)
    with seeded(seed):
        net = GraphNet(graph)
        gaussian(net)
        net.train()
        values = [zen_of(net, images(graph, ZEN_BATCH, px), images(graph, ZEN_BATCH, px)) for _ in range(ZEN_REPEATS)]
    return ScoreResult(math.fsum(values) / len(values), notes={"input_px": px, "repeats": ZEN_REPEATS, "batch": ZEN_BATCH})


def zen_of(net: ScoreNet, image: Tensor, noise: Tensor) -> float:
    """Zen score of a net for one batch and one disturbance. What counts as output is the last one: the coarsest
    feature map of a backbone, the last head map of a detector."""
    with torch.no_grad(), _NormVariances(net) as logs:
        change = (net.walk(image)[-1] - net.walk(image + ZEN_MIX * noise)[-1]).abs().mean()
    # Both passes cross every norm; half of what was collected belongs to the first.
    return log_of(float(change), net.graph) + 0.5 * 0.5 * math.fsum(logs.collected)


def synflow(graph: Graph, input_px: int, seed: int, most_px: int | None = None) -> ScoreResult:
    """SynFlow (Tanaka et al., NeurIPS 2020): sum of |weight x gradient| of the summed output, with all weights made
    positive, an image of ones, the network's activations kept and no batch norm; natural log, in float64."""
    px = side(graph, input_px, most_px)
    with seeded(seed):
        net = GraphNet(graph, with_bn=False).double()
    return ScoreResult(log_of(synflow_of(net, px), graph), notes={"input_px": px})


def synflow_of(net: ScoreNet, px: int) -> float:
    """Sum of |weight x gradient| of a float64 net, whose weights are made positive for good."""
    weights = [p for module in net.modules() for p in module.parameters(recurse=False)]
    with torch.no_grad():
        for weight in weights:
            weight.abs_()
    torch.stack([out.sum() for out in net.walk(torch.ones(1, int(net.graph.inputs[0][0]), px, px, dtype=torch.float64))]).sum().backward()
    return math.fsum(float((p.detach() * p.grad).abs().sum()) for p in weights if p.grad is not None)


def zico(graph: Graph, input_px: int, seed: int, most_px: int | None = None) -> ScoreResult:
    """ZiCo (Li et al., ICLR 2023): how steady the gradients are from batch to batch."""
    px = side(graph, input_px, most_px)
    with seeded(seed):
        net = GraphNet(graph).train()
        batches = [images(graph, ZICO_BATCH, px) for _ in range(ZICO_BATCHES)]
        value = zico_of(net, batches)
    return ScoreResult(value, notes={"input_px": px, "batches": ZICO_BATCHES, "batch": ZICO_BATCH})


def zico_of(net: ScoreNet, batches: Sequence[Tensor]) -> float:
    """Sum over layers of ln of the sum over weights of mean |gradient| / its deviation over ``batches``.

    There are no labels: the loss is the mean squared distance of every output from standard Gaussian targets.
    """
    layers = [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))]
    collected: list[list[Tensor]] = [[] for _ in layers]
    for batch in batches:
        for layer in layers:
            layer.weight.grad = None
        torch.stack([(out - torch.randn_like(out)).square().mean() for out in net.walk(batch)]).sum().backward()
        for kept, layer in zip(collected, layers, strict=True):
            if layer.weight.grad is not None:
                kept.append(layer.weight.grad.abs())
    terms = []
    for kept in collected:
        if len(kept) == len(batches):
            size = torch.stack(kept)
            mean, deviation = size.mean(0), size.std(0, unbiased=False)
            ratio = float((mean / deviation)[deviation > 0].double().sum())
            if ratio > 0:
                terms.append(math.log(ratio))
    if not terms:
        raise BadInput(f"graph {net.graph.name!r}: no gradient reaches any weight, so zico has nothing to compare")
    return math.fsum(terms)


class _NormVariances:
    """Collects ln(mean variance) of every batch norm's input while it is active."""

    def __init__(self, net: ScoreNet) -> None:
        self.net, self.collected = net, list[float]()
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> _NormVariances:
        def note(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            variance = float(given[0].var(dim=(0, 2, 3), unbiased=False).mean())
            if variance > 0:
                self.collected.append(math.log(variance))

        self._handles = [m.register_forward_pre_hook(note) for m in self.net.modules() if isinstance(m, nn.BatchNorm2d)]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
