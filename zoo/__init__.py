"""What was built: detectors, their parts and checkpoints, and the doors that lead from modules and files to a Graph.

``zoo.build("yolo26n")`` gives a detector with fresh weights, ``zoo.load("best.safetensors")`` one of our checkpoints,
``zoo.save(detector, path)`` writes one. Torch is imported when one of them is first called.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.detector import Detector


def build(model: str, classes: int = 80) -> Detector:
    """A detector by name, with fresh weights, in training form."""
    from zoo import families

    return families.build(model, classes)


def load(path: str | Path) -> Detector:
    """The detector of one of our checkpoints, in evaluation mode on the CPU."""
    from zoo.weights import checkpoint

    return checkpoint.load(path)


def save(detector: Detector, path: str | Path) -> None:
    """Write a detector as a checkpoint that rebuilds itself."""
    from zoo.weights import checkpoint

    checkpoint.save(detector, path)
