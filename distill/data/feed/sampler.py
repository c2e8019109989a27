"""The pipeline: one training sample, its augmentations applied stage by stage."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from distill.data.feed.augmentation import Augmentation, Stage
from distill.data.feed.augmentations import AUGMENTATIONS
from distill.data.feed.cache import Pictures
from distill.data.feed.presets import Preset
from distill.data.feed.sample import Sample
from distill.data.feed.scene import Scene


class Sampler:
    """Makes samples of the pictures. Not shared between processes: it keeps a canvas to work on."""

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures
        side = 2 * pictures.input_px
        self._canvas = np.empty((side, side, 3), np.uint8)

    def sample(self, index: int, preset: Preset, side_px: int, rng: np.random.Generator) -> Scene:
        """Picture ``index`` under ``preset`` in a square of ``side_px``; the result follows from ``rng`` alone."""
        sample = Sample(index, self.pictures, side_px, self._canvas, self.pictures.scene(index))
        composition = next(chosen(preset, Stage.COMPOSE, rng), None)
        if composition is not None:
            composition.apply(sample, rng)
        else:
            for augmentation in chosen(preset, Stage.PIXELS, rng):
                augmentation.apply(sample, rng)
            for augmentation in list(chosen(preset, Stage.GEOMETRY, rng)):
                augmentation.apply(sample, rng)
            sample.place()
        for augmentation in chosen(preset, Stage.SAMPLE, rng):
            augmentation.apply(sample, rng)
        return preset.box_filter.apply(sample.scene)


def chosen(preset: Preset, stage: Stage, rng: np.random.Generator) -> Iterator[Augmentation]:
    """The preset's augmentations of ``stage`` that apply to a sample, each decided when it is asked for."""
    for name, kind in AUGMENTATIONS.items():
        if kind.stage != stage:
            continue
        augmentation = preset.augmentations.get(name)
        if augmentation is None:
            if kind.always_draws:
                rng.random()
        elif augmentation.applies(rng):
            yield augmentation
