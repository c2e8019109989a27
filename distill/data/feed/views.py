"""Views that repeat: with ``count`` views, epoch e shows every picture as epoch e + ``count`` will.

What a picture looks like in a view follows from (seed, number of the view, index of the picture) alone. Batches are
still put together anew in every epoch. Where a preset has several input sizes, each picture has one size in a view, and
a batch holds pictures of one size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill.data.feed.presets import Preset
from workbench.errors import BadInput

ORDER, SIZE, SAMPLE = 0, 1, 2
"""What a stream of random numbers is for; with seed and epoch or view it is the stream's key."""


@dataclass(frozen=True, slots=True)
class View:
    """One way in which all pictures are augmented."""

    number: int
    closing: bool = False
    """Whether it is of the last epochs, without strong augmentation."""

    def __str__(self) -> str:
        return f"{'closing' if self.closing else 'view'}-{self.number:03d}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the images of a batch come from."""

    view: View
    indices: tuple[int, ...]
    """Each image's picture: its index in the data set."""
    side_px: int
    """Side of the input."""


class Views:
    """``count`` views of a data set's pictures, and the batches of every epoch."""

    def __init__(self, count: int, pictures: int, batch: int, seed: int, preset: Preset, input_px: int) -> None:
        if count < 1:
            raise BadInput(f"views {count}: must be 1 or more")
        self.count, self.pictures, self.batch, self.seed, self.input_px = count, pictures, batch, seed, input_px
        self.preset = preset
        self._presets = {False: preset, True: preset.closing()}
        self._sides: tuple[View | None, np.ndarray] = (None, np.zeros(0, np.int64))

    def of(self, epoch: int, closing: bool = False) -> View:
        """The view that an epoch shows."""
        return View(epoch % self.count, closing)

    def sides_px(self, view: View) -> np.ndarray:
        """The side of the input for each picture in a view, int64 ``[pictures]``."""
        if self._sides[0] != view:
            self._sides = (view, self._random_sides(view))
        return self._sides[1]

    def all_sides_px(self) -> tuple[int, ...]:
        """Every side of the input that any view has."""
        return tuple(sorted({side for preset in self._presets.values() for side in preset.sides_px(self.input_px)}))

    def _random_sides(self, view: View) -> np.ndarray:
        """Whole batches in a row share a size, so that at most one size has a batch that is not full."""
        preset = self._presets[view.closing]
        sides = preset.sides_px(self.input_px)
        chosen = np.full(self.pictures, sides[0], np.int64)
        if len(sides) > 1 and preset.sizes is not None:
            rng = np.random.default_rng([self.seed, SIZE, view.number, int(view.closing)])
            shuffled = rng.permutation(self.pictures)
            run = self.batch * preset.sizes.every
            for start in range(0, self.pictures, run):
                chosen[shuffled[start : start + run]] = sides[int(rng.integers(len(sides)))]
        return chosen

    def batches(self, epoch: int, closing: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The pictures of an epoch's batches, int64 ``[steps, batch]``, and the side of each batch, int64 ``[steps]``.

        Each picture occurs once; the one batch that is not full is filled up with pictures of its size.
        """
        sides = self.sides_px(self.of(epoch, closing))
        rng = np.random.default_rng([self.seed, ORDER, epoch])
        shuffled = rng.permutation(self.pictures)
        sizes = self._presets[closing].sizes
        runs: list[np.ndarray] = []
        for side in np.unique(sides):
            of_side = shuffled[sides[shuffled] == side]
            batches = np.resize(of_side, -(-len(of_side) // self.batch) * self.batch).reshape(-1, self.batch)
            every = len(batches) if sizes is None else sizes.every
            runs += [batches[start : start + every] for start in range(0, len(batches), every)]
        indices = np.concatenate([runs[number] for number in rng.permutation(len(runs))])
        return indices, sides[indices[:, 0]]
