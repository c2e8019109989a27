"""Every augmentation by name, in the order of the pipeline. A new one is one file here and one line below."""

from __future__ import annotations

from distill.data.feed.augmentation import Augmentation
from distill.data.feed.augmentations.affine import Affine
from distill.data.feed.augmentations.color import ColorJitter
from distill.data.feed.augmentations.crop import Crop
from distill.data.feed.augmentations.distort import Distort
from distill.data.feed.augmentations.flip import Flip
from distill.data.feed.augmentations.mixup import Mixup
from distill.data.feed.augmentations.mosaic import Mosaic
from distill.data.feed.augmentations.zoom_out import ZoomOut

AUGMENTATIONS: dict[str, type[Augmentation]] = {
    "mosaic": Mosaic,
    "distort": Distort,
    "zoom_out": ZoomOut,
    "crop": Crop,
    "affine": Affine,
    "mixup": Mixup,
    "color": ColorJitter,
    "flip": Flip,
}
