"""How images lie in a worker's slot of shared memory, and the limits of what is put there."""

from __future__ import annotations

import cv2
import numpy as np

from distill.data.feed.worker_tuner import usable_cpus
from workbench.errors import BadInput
from zoo.images import Preprocess

MAX_WORKERS = 16


def as_images(slot: np.ndarray, count: int, side_px: int) -> np.ndarray:
    """A slot's bytes as images, uint8 ``[count, side, side, 3]``."""
    return slot[: count * side_px * side_px * 3].reshape(count, side_px, side_px, 3)


def write_image(image: np.ndarray, out: np.ndarray, preprocess: Preprocess) -> None:
    """Write an RGB image ``[side, side, 3]`` to ``out`` with its channels in the family's order."""
    if preprocess.order == "bgr":
        cv2.cvtColor(image, cv2.COLOR_RGB2BGR, dst=out)
    else:
        out[:] = image


def max_workers(world: int) -> int:
    """Most workers that one of ``world`` processes on this machine starts by itself."""
    return min(max(usable_cpus() // world, 1), MAX_WORKERS)


def check_input_px(input_px: int) -> None:
    """Refuse an input without pixels."""
    if input_px < 1:
        raise BadInput(f"input of {input_px} pixels: must be 1 or more")
