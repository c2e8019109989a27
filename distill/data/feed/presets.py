"""Recipes of augmentation by name: which transforms, how strong, how often, and what stops for the last epochs.

Shares and probabilities are 0 to 1. Values come from the recipes that each preset names; where a preset leaves something
out, its description says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from workbench.errors import BadInput, unknown_name

STRIDE_PX = 32
"""Sides of a network's input are multiples of this."""


@dataclass(frozen=True, slots=True)
class Affine:
    """Ranges of a random affine map; numbers are drawn evenly."""

    degrees: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shear_degrees: float = 0.0
    translate: float = 0.0
    """Share of the output's side, either way."""
    about: Literal["centre", "corner"] = "centre"
    """What stays in place when nothing is moved: the middle, or the upper left corner."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Which objects remain after cutting; what is dropped counts as background."""

    share: float = 0.1
    """Least share of the object's box that is still in the picture."""
    side_px: float = 2.0
    """Least width and height in pixels of the network's input."""
    aspect: float = math.inf
    """Most that one side may be of the other."""


@dataclass(frozen=True, slots=True)
class Colours:
    """Change of hue (half degrees), saturation and value (0 to 255).

    ``shift`` adds up to so much either way, each of the three half the time; ``gain`` multiplies by 1 plus up to so much.
    """

    kind: Literal["shift", "gain"]
    hue: float
    saturation: float
    value: float


@dataclass(frozen=True, slots=True)
class Sizes:
    """Another input size from batch to batch: multiples of 32 between two shares of the input's side."""

    low: float
    high: float
    every: int = 1
    """Steps that share one size."""
    native: int = 1
    """How many chances the input's own side has against one of every other."""


@dataclass(frozen=True, slots=True)
class Preset:
    """One recipe."""

    name: str
    about: str
    """Where it comes from and what it leaves out."""
    mosaic: float = 0.0
    """Probability that a sample is a mosaic."""
    nine: float = 0.0
    """Share of the mosaics that are of nine pictures; the others are of four."""
    mosaic_affine: Affine | None = None
    mixup: float = 0.0
    """Probability that a sample with objects is mixed, half and half, with another picture that has some."""
    mixup_scale: tuple[float, float] = (0.5, 1.5)
    affine: Affine | None = None
    """For samples that are no mosaic."""
    colours: Colours | None = None
    flip: float = 0.0
    distort: float = 0.0
    """Probability of SSD's photometric distortion."""
    zoom_out: float = 0.0
    """Probability that the picture is put into a black one up to four times as wide and high."""
    crop: float = 0.0
    """Probability of SSD's crop, which keeps objects with their centre inside."""
    sizes: Sizes | None = None
    keep: Keep = Keep()
    strong: tuple[str, ...] = ("mosaic", "mixup")
    """Fields that fall back to nothing in the last epochs."""

    def __post_init__(self) -> None:
        for name in ("mosaic", "nine", "mixup", "flip", "distort", "zoom_out", "crop"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"preset {self.name!r}: {name} is {getattr(self, name)}; a probability is from 0 to 1")

    def closing(self) -> Preset:
        """The form for the last epochs, without what is strong."""
        nothing: dict[str, Any] = {field.name: field.default for field in fields(self) if field.name in self.strong}
        return replace(self, **nothing)

    def with_sizes(self, share: float) -> Preset:
        """The same with input sizes that differ by up to ``share`` of the input's side either way; 0 for one size."""
        if not 0 <= share < 1:
            raise BadInput(f"input sizes that differ by {share} of the input: must be from 0 to less than 1")
        return replace(self, sizes=replace(self.sizes or Sizes(1, 1, every=10), low=1 - share, high=1 + share) if share else None)

    def sides_px(self, input_px: int) -> tuple[int, ...]:
        """The sides of the input that batches are drawn from, each as often as its chances."""
        if self.sizes is None:
            return (input_px,)
        low, high = math.ceil(self.sizes.low * input_px / STRIDE_PX), math.floor(self.sizes.high * input_px / STRIDE_PX)
        others = [STRIDE_PX * n for n in range(max(low, 1), high + 1) if STRIDE_PX * n != input_px]
        return tuple(sorted([*others, *[input_px] * self.sizes.native]))


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "damo",
            "DAMO-YOLO T and N: its configuration files (Apache-2.0). Its learnt box-level colour and geometry policy (SADA) is left out.",
            mosaic=1.0, mosaic_affine=Affine(10, (0.1, 2.0), 0.2, 0.2), mixup=0.15, flip=0.5, keep=Keep(0.1, 2, 20),
        ),
        Preset(
            "yolox",
            "YOLOX-S to X: its default configuration (Apache-2.0), the corner as the fixed point of its affine map included.",
            mosaic=1.0, mosaic_affine=Affine(10, (0.1, 2.0), 2, 0.1, "corner"), mixup=1.0, colours=Colours("shift", 5, 30, 30),
            flip=0.5, sizes=Sizes(0.75, 1.25, every=10), keep=Keep(0.0, 1),
        ),
        Preset(
            "yolo",
            "The values commonly published for YOLOv7-tiny and YOLO11; their copy-and-paste is left out.",
            mosaic=1.0, mosaic_affine=Affine(0, (0.5, 1.5), 0, 0.1), affine=Affine(0, (0.5, 1.5), 0, 0.1),
            colours=Colours("gain", 0.015, 0.7, 0.4), flip=0.5, keep=Keep(0.1, 2, 100),
        ),
        Preset(
            "detr",
            "RT-DETRv2: its configuration (Apache-2.0).",
            distort=0.5, zoom_out=0.5, crop=0.8, flip=0.5, sizes=Sizes(0.75, 1.25, native=3), keep=Keep(0.0, 1),
            strong=("distort", "zoom_out", "crop", "sizes"),
        ),
        Preset(
            "light",
            "Ours, for small data and short training: half the samples mosaics, gentle geometry, no mixup.",
            mosaic=0.5, mosaic_affine=Affine(0, (0.5, 1.5), 0, 0.1), affine=Affine(3, (0.75, 1.25), 0, 0.1),
            colours=Colours("gain", 0.01, 0.4, 0.3), flip=0.5, keep=Keep(0.2, 2, 20), strong=("mosaic", "mixup", "affine"),
        ),
        Preset("none", "The picture as evaluation sees it.", keep=Keep(0.0, 0)),
    )
}  # fmt: skip


def find_preset(preset: Preset | str) -> Preset:
    """A preset by name, or the one given."""
    if isinstance(preset, Preset):
        return preset
    if preset not in PRESETS:
        raise unknown_name("augmentation preset", preset, PRESETS)
    return PRESETS[preset]
