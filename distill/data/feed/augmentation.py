"""What an augmentation is: an object with its settings, its place in the pipeline and its random numbers."""

from __future__ import annotations

import abc
import enum
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from distill.data.feed.sample import Sample
from workbench.errors import BadInput


class Stage(enum.Enum):
    """A place in the pipeline, in this order."""

    COMPOSE = "compose"
    """Makes a whole sample of several pictures. At most one applies, and such a sample skips the next two stages."""
    PIXELS = "pixels"
    """Changes the pixels of the single picture, before it is resized."""
    GEOMETRY = "geometry"
    """Sets what part of the picture is shown. All decide whether to apply before the first one does."""
    SAMPLE = "sample"
    """Changes the sample at the size of the network's input."""


class Augmentation(abc.ABC):
    """Subclasses are frozen dataclasses with their settings, one file each in ``distill.data.feed.augmentations``."""

    stage: ClassVar[Stage]
    always_draws: ClassVar[bool] = False
    """Whether a preset without it draws the number that decides about it all the same. A new augmentation says False:
    adding it to the dict then leaves the random numbers of every preset as they are."""

    def applies(self, rng: np.random.Generator) -> bool:
        """Whether to apply it to the sample at hand."""
        return True

    @abc.abstractmethod
    def apply(self, sample: Sample, rng: np.random.Generator) -> None:
        """Change ``sample`` in place; all random numbers come from ``rng``."""


@dataclass(frozen=True)
class RandomAugmentation(Augmentation):
    """An augmentation that applies to a share of the samples."""

    probability: float

    def __post_init__(self) -> None:
        check_share(f"{type(self).__name__} probability", self.probability)

    def applies(self, rng: np.random.Generator) -> bool:
        return rng.random() < self.probability


def check_share(what: str, value: float) -> None:
    """Refuse a value that is no share."""
    if not 0 <= value <= 1:
        raise BadInput(f"{what} {value}: must be from 0 to 1")


def check_range(what: str, low_high: tuple[float, float], least: float = 0.0) -> None:
    """Refuse a range whose ends are in the wrong order or not above ``least``."""
    low, high = low_high
    if not least < low <= high:
        raise BadInput(f"{what} ({low}, {high}): must be two numbers above {least:g}, the smaller one first")
