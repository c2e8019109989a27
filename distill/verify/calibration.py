"""The images that an INT8 export is calibrated on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from distill.data.formats.readers import open_data
from workbench.errors import BadInput, unknown_name
from zoo.detector import Detector
from zoo.export.options import RANGES, ExportOptions
from zoo.images import image_files, prepare, read_image

IMAGES = 100
"""Default number of images."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Image files, and how the ranges of the activations are found from them (one of ``RANGES``)."""

    files: tuple[Path, ...]
    ranges: str
    source: str

    def __str__(self) -> str:
        return f"{self.ranges} over {len(self.files)} images of {self.source}"

    def batches(self, detector: Detector, options: ExportOptions) -> list[Tensor]:
        """The images as ``nas eval`` prepares them, in batches ``[b, 3, h, w]`` of the file's size.

        The last images are left out where they do not fill a batch, unless there is no full one.
        """
        size, step = (options.height, options.width), options.batch
        files = list(self.files)
        while len(files) < step:
            files += self.files[: step - len(files)]
        starts: Sequence[int] = range(0, len(files) - step + 1, step)
        chunks = [[read_image(file) for file in files[start : start + step]] for start in starts]
        return [prepare(chunk, size, detector.preprocess)[0] for chunk in chunks]


def open_calibration(path: str, images: int = IMAGES, ranges: str = RANGES[0]) -> Calibration:
    """``images`` images evenly spread over a folder of images, or over the train split of a data set."""
    if images < 1:
        raise BadInput(f"--images {images} must be at least 1")
    if ranges not in RANGES:
        raise unknown_name("way to find ranges", ranges, RANGES)
    files = _files(path)
    if not files:
        raise BadInput(f"{path}: its train split has no pictures to calibrate on")
    chosen = np.linspace(0, len(files) - 1, min(images, len(files))).round().astype(int)
    return Calibration(tuple(files[i] for i in chosen), ranges, Path(path).name)


def _files(path: str) -> list[Path]:
    """The pictures of the train split of a data set, else the images directly inside a folder.

    A data set comes first: an image beside its splits, such as a sheet of samples, is no picture of it.
    """
    try:
        data = open_data(path, "train")
    except BadInput as no_data:
        try:
            return image_files(path)
        except BadInput as no_images:
            raise BadInput(f"{path}: no pictures to calibrate on: {no_images}") from no_data
    return [Path(picture.file) for picture in data.pictures]
