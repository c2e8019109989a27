"""RTMDet's backbones as architectures, with their published sizes."""

from __future__ import annotations

from search_spaces.architecture import Architecture, Stage, Stem

CSPNEXT = {
    "tiny": (0.375, 0.167, 2.73, 0.339),
    "s": (0.5, 0.33, 4.89, 0.664),
    "m": (0.75, 0.67, 13.05, 1.93),
    "l": (1.0, 1.0, 27.16, 4.19),
    "x": (1.25, 1.33, 48.85, 7.76),
}
"""Factors on width and depth, and the published totals as ImageNet classifiers: parameters (1e6, training form), and
multiply-accumulates (1e9, at 224 px, normalization and activations included)."""


def cspnext(width: float, depth: float) -> Architecture:
    """RTMDet's backbone: the stem's three convolutions, three stages, and one with a pyramid and no residuals."""
    c = [int(channels * width) for channels in (64, 128, 256, 512, 1024)]
    blocks = [max(round(n * depth), 1) for n in (3, 6, 6, 3)]
    stages = (
        Stage("conv", c[0] // 2, 1, 3, 1), Stage("conv", c[0], 1, 3, 1),
        *(Stage("cspnext", c[i], c[i] // 2, 5, 2, blocks[i - 1]) for i in (1, 2, 3)),
        Stage("conv", c[4], 1, 3, 2), Stage("spp", c[4], c[4] // 2, 3, 1),
        Stage("cspnext_plain", c[4], c[4] // 2, 5, 1, blocks[3]),
    )  # fmt: skip
    return Architecture("mixed", Stem(c[0] // 2, 3, False, 2), stages, "silu", spp=False)
