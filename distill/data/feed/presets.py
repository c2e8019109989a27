"""Augmentation presets by name: which augmentations, how strong, how often, and which stop for the last epochs.

Values come from the recipes that each preset names; where a preset leaves something out, its description says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from distill.data.feed.augmentation import Augmentation, RandomAugmentation
from distill.data.feed.augmentations import AUGMENTATIONS
from distill.data.feed.augmentations.affine import Affine
from distill.data.feed.augmentations.color import ColorJitter
from distill.data.feed.augmentations.crop import Crop
from distill.data.feed.augmentations.distort import Distort
from distill.data.feed.augmentations.flip import Flip
from distill.data.feed.augmentations.mixup import Mixup
from distill.data.feed.augmentations.mosaic import Mosaic
from distill.data.feed.augmentations.zoom_out import ZoomOut
from distill.data.feed.scene import BoxFilter
from workbench.errors import BadInput, unknown_name

STRIDE_PX = 32
"""Sides of a network's input are multiples of this."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Multi-scale training: input sizes are multiples of 32 between two shares of the input's side."""

    low: float
    high: float
    every: int = 1
    """Steps that share one size."""
    native: int = 1
    """Chances of the input's own side, where every other size has one."""


@dataclass(frozen=True, slots=True)
class Preset:
    """One set of augmentations."""

    name: str
    about: str
    """Where it comes from and what it leaves out."""
    augmentations: Mapping[str, Augmentation] = field(default_factory=dict)
    """By their names in ``AUGMENTATIONS``, which also has their order."""
    sizes: Sizes | None = None
    box_filter: BoxFilter = field(default_factory=BoxFilter)
    strong: tuple[str, ...] = ("mosaic", "mixup")
    """Augmentations (and ``sizes``) that are left out in the last epochs."""

    def __post_init__(self) -> None:
        for name, augmentation in self.augmentations.items():
            if name not in AUGMENTATIONS:
                raise unknown_name("augmentation", name, AUGMENTATIONS)
            if type(augmentation) is not AUGMENTATIONS[name]:
                kinds = f"{type(augmentation).__name__}, not {AUGMENTATIONS[name].__name__}"
                raise BadInput(f"preset {self.name!r}: augmentation {name!r} is a {kinds}")

    def closing(self) -> Preset:
        """The preset for the last epochs, without the strong augmentations."""
        return replace(self.without(*self.strong), sizes=None if "sizes" in self.strong else self.sizes)

    def without(self, *names: str) -> Preset:
        """The preset without some augmentations."""
        return replace(self, augmentations={n: a for n, a in self.augmentations.items() if n not in names})

    def changed(self, changes: Mapping[str, float]) -> Preset:
        """The preset with other probabilities (``flip``, ``mosaic``, ``mixup``) and strengths (``hue``, ``saturation``,
        ``value``); an augmentation that it does not have is added with its usual settings.
        """
        augmentations = dict(self.augmentations)
        for name, value in changes.items():
            if name in USUAL:
                chance = augmentations.get(name)
                own = chance if isinstance(chance, RandomAugmentation) else USUAL[name]
                augmentations[name] = replace(own, probability=value)
            else:
                jitter = augmentations.get("color")
                own_jitter = jitter if isinstance(jitter, ColorJitter) else ColorJitter("gain", 0.0, 0.0, 0.0)
                strength: dict[str, Any] = {name: value}
                augmentations["color"] = replace(own_jitter, **strength)
        return replace(self, augmentations={name: a for name, a in augmentations.items() if not _never(a)})

    def with_sizes(self, share: float) -> Preset:
        """The preset with input sizes up to ``share`` of the input's side smaller or larger; 0 for one size."""
        if not 0 <= share < 1:
            raise BadInput(f"input sizes that differ by {share} of the input: must be from 0 to less than 1")
        if not share:
            return replace(self, sizes=None)
        return replace(self, sizes=replace(self.sizes or Sizes(1, 1, every=10), low=1 - share, high=1 + share))

    def sides_px(self, input_px: int) -> tuple[int, ...]:
        """The sides of the input to draw from, each as often as its chances."""
        if self.sizes is None:
            return (input_px,)
        low = math.ceil(self.sizes.low * input_px / STRIDE_PX)
        high = math.floor(self.sizes.high * input_px / STRIDE_PX)
        others = [STRIDE_PX * n for n in range(max(low, 1), high + 1) if STRIDE_PX * n != input_px]
        return tuple(sorted([*others, *[input_px] * self.sizes.native]))


USUAL: dict[str, RandomAugmentation] = {
    "flip": Flip(0.5), "mosaic": Mosaic(0.5, Affine(0, (0.5, 1.5), 0, 0.1)), "mixup": Mixup(0.15),
}  # fmt: skip
"""What is added to a preset without it, before its probability is set."""


def _never(augmentation: Augmentation) -> bool:
    """Whether it changes no image."""
    return isinstance(augmentation, RandomAugmentation) and augmentation.probability == 0


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "damo",
            "DAMO-YOLO T and N: its configuration files (Apache-2.0). Its learnt box-level color and geometry policy "
            "(SADA) is left out.",
            {"mosaic": Mosaic(1.0, Affine(10, (0.1, 2.0), 0.2, 0.2)), "mixup": Mixup(0.15), "flip": Flip(0.5)},
            box_filter=BoxFilter(0.1, 2, 20),
        ),
        Preset(
            "damo-s",
            "DAMO-YOLO S, M and L: their configuration files (Apache-2.0), with the same left out.",
            {"mosaic": Mosaic(1.0, Affine(10, (0.1, 2.0), 2, 0.2)), "mixup": Mixup(0.15), "flip": Flip(0.5)},
            box_filter=BoxFilter(0.1, 2, 20),
        ),
        Preset(
            "damo-ns",
            "DAMO-YOLO NS: its configuration file (Apache-2.0), with the same left out.",
            {"mosaic": Mosaic(1.0, Affine(10, (0.75, 1.25), 0.2, 0.2)), "mixup": Mixup(0.15), "flip": Flip(0.5)},
            box_filter=BoxFilter(0.1, 2, 20),
        ),
        Preset(
            "yolox",
            "YOLOX-S to X: its default configuration (Apache-2.0), the corner as the fixed point of its affine map "
            "included.",
            {
                "mosaic": Mosaic(1.0, Affine(10, (0.1, 2.0), 2, 0.1, "corner")),
                "mixup": Mixup(1.0),
                "color": ColorJitter("shift", 5, 30, 30),
                "flip": Flip(0.5),
            },
            sizes=Sizes(0.75, 1.25, every=10),
            box_filter=BoxFilter(0.0, 1),
        ),
        Preset(
            "yolox-tiny",
            "YOLOX-Tiny: its configuration (Apache-2.0), for an input of 416 px: no mixup, gentler scales, sizes of "
            "320 to 640 px.",
            {
                "mosaic": Mosaic(1.0, Affine(10, (0.5, 1.5), 2, 0.1, "corner")),
                "color": ColorJitter("shift", 5, 30, 30),
                "flip": Flip(0.5),
            },
            sizes=Sizes(320 / 416, 640 / 416, every=10),
            box_filter=BoxFilter(0.0, 1),
        ),
        Preset(
            "yolox-nano",
            "YOLOX-Nano: its configuration (Apache-2.0): that of Tiny with a mosaic half the time.",
            {
                "mosaic": Mosaic(0.5, Affine(10, (0.5, 1.5), 2, 0.1, "corner")),
                "color": ColorJitter("shift", 5, 30, 30),
                "flip": Flip(0.5),
            },
            sizes=Sizes(320 / 416, 640 / 416, every=10),
            box_filter=BoxFilter(0.0, 1),
        ),
        Preset(
            "yolov7",
            "YOLOv7 and YOLOv7-X: the published settings. Mosaics of nine images and pasted objects are left out.",
            {
                "mosaic": Mosaic(1.0, Affine(0, (0.1, 1.9), 0, 0.2)),
                "mixup": Mixup(0.15),
                "color": ColorJitter("gain", 0.015, 0.7, 0.4),
                "flip": Flip(0.5),
            },
            box_filter=BoxFilter(0.1, 2, 100),
        ),
        Preset(
            "yolov7-tiny",
            "YOLOv7-tiny: the published settings, with the same left out.",
            {
                "mosaic": Mosaic(1.0, Affine(0, (0.5, 1.5), 0, 0.1)),
                "mixup": Mixup(0.05),
                "color": ColorJitter("gain", 0.015, 0.7, 0.4),
                "flip": Flip(0.5),
            },
            box_filter=BoxFilter(0.1, 2, 100),
        ),
        Preset(
            "yolo",
            "The values commonly published for YOLOv7-tiny and YOLO11; their copy-and-paste is left out.",
            {
                "mosaic": Mosaic(1.0, Affine(0, (0.5, 1.5), 0, 0.1)),
                "affine": Affine(0, (0.5, 1.5), 0, 0.1),
                "color": ColorJitter("gain", 0.015, 0.7, 0.4),
                "flip": Flip(0.5),
            },
            box_filter=BoxFilter(0.1, 2, 100),
        ),
        Preset(
            "detr",
            "RT-DETRv2: its configuration (Apache-2.0).",
            {"distort": Distort(0.5), "zoom_out": ZoomOut(0.5), "crop": Crop(0.8), "flip": Flip(0.5)},
            sizes=Sizes(0.75, 1.25, native=3),
            box_filter=BoxFilter(0.0, 1),
            strong=("distort", "zoom_out", "crop", "sizes"),
        ),
        Preset(
            "light",
            "Made here for small data and short training: mosaic half the time, gentle geometry, no mixup.",
            {
                "mosaic": Mosaic(0.5, Affine(0, (0.5, 1.5), 0, 0.1)),
                "affine": Affine(3, (0.75, 1.25), 0, 0.1),
                "color": ColorJitter("gain", 0.01, 0.4, 0.3),
                "flip": Flip(0.5),
            },
            box_filter=BoxFilter(0.2, 2, 20),
            strong=("mosaic", "mixup", "affine"),
        ),
        Preset("none", "The image as evaluation sees it.", box_filter=BoxFilter(0.0, 0)),
    )
}
PRESETS["upright"] = replace(
    PRESETS["light"].without("flip"),
    name="upright",
    about="light without the flip, for what a mirror makes wrong: digits, letters, road signs.",
)


def find_preset(preset: Preset | str) -> Preset:
    """A preset by name, or the one given."""
    if isinstance(preset, Preset):
        return preset
    if preset not in PRESETS:
        raise unknown_name("augmentation preset", preset, PRESETS)
    return PRESETS[preset]
