"""Which pictures make up the batches of an epoch, at which input size, and with which random numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill.data.feed.presets import Preset
from distill.data.feed.views import ORDER, SAMPLE, SIZE, View, Views
from workbench.errors import BadInput


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How pictures are put into batches."""

    batch: int
    """Images a step over all machines."""
    seed: int
    views: int = 0
    """Augmented views of each picture, which repeat; 0 makes a new one in every epoch."""
    rank: int = 0
    """This machine's number of ``world``."""
    world: int = 1

    def __post_init__(self) -> None:
        check_batch(self.batch, self.rank, self.world)
        if self.batch % self.world:
            divisible = self.batch // self.world * self.world or self.world
            machines = f"{self.world} machines"
            raise BadInput(f"batch of {self.batch} over {machines}: must divide evenly, as {divisible} would")
        if self.seed < 0:
            raise BadInput(f"seed {self.seed}: must be 0 or more")

    @property
    def share(self) -> int:
        """Images of a batch that are this machine's."""
        return self.batch // self.world


class BatchOrder:
    """The batches of every epoch of ``pictures`` pictures."""

    def __init__(self, plan: BatchPlan, pictures: int, preset: Preset, input_px: int) -> None:
        self.plan, self.pictures, self.input_px = plan, pictures, input_px
        self._presets = {False: preset, True: preset.closing()}
        self.views = Views(plan.views, pictures, plan.batch, plan.seed, preset, input_px) if plan.views else None
        nothing = np.zeros(0, np.int64)
        self._view_batches: tuple[tuple[int, bool], np.ndarray, np.ndarray] = ((-1, False), nothing, nothing)
        self._order: tuple[int, np.ndarray] = (-1, nothing)

    @property
    def steps(self) -> int:
        """Steps of an epoch. The last batch is filled up with the pictures that the epoch began with."""
        return -(-self.pictures // self.plan.batch)

    def preset(self, closing: bool) -> Preset:
        """The preset, or its form for the last epochs."""
        return self._presets[closing]

    def order(self, epoch: int, closing: bool = False) -> np.ndarray:
        """The pictures of an epoch, int64 ``[steps x batch]``: each once, in random order; the last batch filled up."""
        if self.views is not None:
            return self._batches(epoch, closing)[0].reshape(-1)
        if self._order[0] != epoch:
            shuffled = np.random.default_rng([self.plan.seed, ORDER, epoch]).permutation(self.pictures)
            self._order = (epoch, np.resize(shuffled, self.steps * self.plan.batch))
        return self._order[1]

    def side_px(self, epoch: int, step: int, closing: bool = False) -> int:
        """The side of the input in a step, in pixels."""
        if self.views is not None:
            return int(self._batches(epoch, closing)[1][step])
        preset = self.preset(closing)
        sides = preset.sides_px(self.input_px)
        if len(sides) == 1 or preset.sizes is None:
            return sides[0]
        rng = np.random.default_rng([self.plan.seed, SIZE, epoch, step // preset.sizes.every])
        return sides[int(rng.integers(len(sides)))]

    def view(self, epoch: int, closing: bool = False) -> View | None:
        """The view that an epoch shows, where views repeat."""
        return None if self.views is None else self.views.of(epoch, closing)

    def share(self, epoch: int, step: int, closing: bool = False) -> tuple[np.ndarray, list[np.random.Generator]]:
        """This machine's pictures of a step, int64 ``[share]``, and each one's random numbers."""
        plan, view = self.plan, self.view(epoch, closing)
        first = step * plan.batch + plan.rank * plan.share
        indices = self.order(epoch, closing)[first : first + plan.share]
        keys = [
            [plan.seed, SAMPLE, epoch, first + position] if view is None else [plan.seed, SAMPLE, view.number, index]
            for position, index in enumerate(indices.tolist())
        ]
        return indices, [np.random.default_rng(key) for key in keys]

    def _batches(self, epoch: int, closing: bool) -> tuple[np.ndarray, np.ndarray]:
        """The batches of an epoch and their sides, where views repeat; those of the latest epoch are cached."""
        assert self.views is not None
        if self._view_batches[0] != (epoch, closing):
            self._view_batches = ((epoch, closing), *self.views.batches(epoch, closing))
        return self._view_batches[1:]


def check_batch(batch: int, rank: int, world: int) -> None:
    """Refuse a batch size below 1 and a rank outside the world."""
    if batch < 1:
        raise BadInput(f"batch of {batch}: must be 1 or more")
    if world < 1 or not 0 <= rank < world:
        raise BadInput(f"rank {rank} of {world}: must be from 0 to one less than there are")
