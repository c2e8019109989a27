"""Detectors of every kind of neck over every set of levels, with several heads."""

from __future__ import annotations

import dataclasses

from search_spaces.architecture import Architecture, Head, Neck, Stage, Stem

LEVELS = ((4, 8, 16, 32), (8, 16, 32), (4, 8, 16), (8, 16), (16, 32))
"""Every supported set of strides but (4, 8) alone."""

WIDTHS = {4: 16, 8: 24, 16: 40, 32: 48}
"""Output channels of the neck by stride."""

HEADS = {
    "zero": Head(3, reg_max=7),
    "plain": Head(3, reg_max=0, k=1, convs=2, width=24),
    "depthwise": Head(3, reg_max=4, k=1, convs=1, depthwise=True, one_to_one=True),
}

NECKS = {
    "repgfpn": Neck(depth=0.5, hidden_ratio=0.5),
    "repgfpn-depthwise": Neck(depth=1.0, act="silu", depthwise=True),
    "pan": Neck(kind="pan", blocks=("k1kx",), depth=2.0, hidden_ratio=0.5),
    "pan-c3k2": Neck(kind="pan", blocks=("c3k2",), depth=2.0, hidden_ratio=0.5, act="silu"),
    "pan-inverted": Neck(kind="pan", blocks=("k1dwsek1",), hidden_ratio=2.0, act="silu", depthwise=True),
}
"""Settings of necks; ``detector`` sets their levels."""


def detector(neck: Neck, strides: tuple[int, ...], head: Head) -> Architecture:
    """A small detector with levels at ``strides``."""
    stages = [Stage("k1kx", out, out // 2, depth=1) for out in (16, 24, 32, 48)][: strides[-1].bit_length() - 2]
    neck = dataclasses.replace(neck, out=tuple(WIDTHS[stride] for stride in strides), strides=strides)
    return Architecture("res", Stem(8), tuple(stages), neck=neck, head=head, name="case")
