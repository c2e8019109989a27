"""Parameters and FLOPs of every model of the zoo against the published digits, with thop as the referee.

Run ``python benchmarks/zoo_sizes.py`` (a minute, no GPU, no seed: everything is counted on the meta device). It prints
the tables of docs/benchmarks/zoo-sizes.md. FLOPs are twice the multiply-accumulates at the published input size:

folded     the deploy form: convolutions and linear layers
+ products the same and the matrix products of attention, as our costs count them
+ biases   folded, and one multiply-accumulate for every bias added
+ norms    re-parameterised branches merged, batch norms counted with two multiply-accumulates an element
training   the training form, batch norms counted as thop counts them today (four an element)
"""

from __future__ import annotations

import argparse
import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from zoo.detector import Detector
from zoo.factory import build
from zoo.families.card import Card, find_card, load_cards
from zoo.layers import ConvBN

COUNTS = ("folded", "+ products", "+ biases", "+ norms", "training")


class Measured(nn.Module):
    """A detector as thop wants it: tensors in, tensors out."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> list[Tensor]:
        return self.detector.raw_outputs(self.detector(image))


def on_meta(model: str) -> Detector:
    """The model on the meta device."""
    with torch.device("meta"):
        return build(model).eval()


def gflops(detector: Detector, px: int, norm_macs: int) -> float:
    """thop's count, in 1e9, with so many multiply-accumulates an element of a batch norm."""
    import thop

    def norm(module: nn.Module, given: Any, made: Tensor) -> None:
        module.total_ops += norm_macs * made.numel()  # type: ignore[assignment,operator]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        macs, _ = thop.profile(
            Measured(detector),
            (torch.empty(1, 3, px, px, device="meta"),),
            verbose=False,
            custom_ops={nn.BatchNorm2d: norm},
        )
    return 2 * float(macs) / 1e9


def biases(detector: Detector, px: int) -> float:
    """Biases added in one image, in 1e9 FLOPs."""
    graph = detector.graph(px)
    shapes = graph.shapes(None if graph.fixed_px else px)
    return (
        2
        * sum(math.prod(shape) for op, shape in zip(graph, shapes, strict=True) if op.kind == "conv" and op.bias)
        / 1e9
    )


def merged(model: str) -> Detector:
    """Re-parameterised branches merged and training-only parts dropped, batch norms left standing."""
    detector = on_meta(model)
    detector.drop_training_parts()
    for part in list(detector.modules()):
        if hasattr(part, "fold") and not isinstance(part, ConvBN):
            part.fold()  # type: ignore[operator]
    return detector


def count(card: Card) -> dict[str, float]:
    """GFLOPs by each way of counting."""
    values = (
        folded := gflops(on_meta(card.model).fuse(), card.input_px, 0),
        card.measured_flops / 1e9,
        folded + biases(on_meta(card.model), card.input_px),
        gflops(merged(card.model), card.input_px, 2),
        gflops(on_meta(card.model), card.input_px, 4),
    )
    return dict(zip(COUNTS, values, strict=True))


def digits(value: float) -> int:
    """Decimals that a published figure is given with; the cards keep whole ones as 20.0."""
    text = f"{value:.10g}"
    return len(text.partition(".")[2])


def rounds_to(ours: float, published: float, decimals: int) -> bool:
    """Whether ours rounds to the published digits."""
    return abs(ours - published) <= 0.5 * 10.0**-decimals + 1e-9


def table(header: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="only these (default: all of the zoo)")
    args = parser.parse_args()
    params, flops = [], []
    for card in load_cards().values() if args.models is None else map(find_card, args.models):
        whole = card.family == "rtdetrv2"
        decimals = 0 if whole else max(1, digits(card.params_m))
        forms = {"folded": on_meta(card.model).fuse(), "+ norms": merged(card.model), "training": on_meta(card.model)}
        sizes = {name: sum(p.numel() for p in form.parameters()) / 1e6 for name, form in forms.items()}
        fits = [name for name, value in sizes.items() if rounds_to(value, card.params_m, decimals)]
        verdict = (
            ", ".join(fits)
            or f"none: training is {100 * (sizes['training'] / card.params_m - 1):+.1f} %, cut to whole millions"
        )
        params.append([card.model, f"{card.params_m:g}", *(f"{v:.3f}" for v in sizes.values()), verdict])
        decimals = 0 if whole else max(1, digits(card.gflops))
        values = count(card)
        fits = [name for name, value in values.items() if rounds_to(value, card.gflops, decimals)]
        nearest = min(values, key=lambda name: abs(values[name] - card.gflops))
        verdict = ", ".join(fits) or f"none: {nearest} is {100 * (values[nearest] / card.gflops - 1):+.2f} %"
        flops.append(
            [card.model, str(card.input_px), f"{card.gflops:g}", *(f"{v:.3f}" for v in values.values()), verdict]
        )
    print(table(["model", "published M", "folded", "+ norms", "training", "rounds to the published digits"], params))
    print()
    print(table(["model", "px", "published GFLOPs", *COUNTS, "rounds to the published digits"], flops))


if __name__ == "__main__":
    main()
