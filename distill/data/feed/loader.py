"""Batches for training and for evaluation.

What a training batch holds follows from (seed, epoch, step) alone: not from the number of workers, the cache, or what was
drawn before. An interrupted run goes on from epoch and step, and several machines that split a batch see together what
one would have seen. With ``views``, what a picture looks like follows from (seed, view, picture) alone: see ``views.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from distill.data.dataset import DataSet
from distill.data.feed.augment import Scene
from distill.data.feed.cache import Pictures
from distill.data.feed.presets import Preset, find_preset
from distill.data.feed.sampler import Sampler
from distill.data.feed.views import ORDER, SAMPLE, SIZE, Origin, View, Views
from distill.data.feed.workers import Tuner, WorkerPool, usable_cpus
from workbench.errors import BadInput
from zoo.images import Placement, Preprocess, prepare
from zoo.learning.targets import Targets

MOST_WORKERS = 16


@dataclass(frozen=True, slots=True)
class Batch:
    """What a detector learns from in one step."""

    image: Tensor
    """float32 ``[b, 3, h, w]`` as the family's ``Preprocess`` says."""
    targets: Targets
    indices: Tensor
    """int64 ``[b]``: each sample's picture in the data set (the first one of a mosaic)."""
    epoch: int
    step: int
    view: View | None = None
    """Where views come round again, the one that this is of."""

    @property
    def origin(self) -> Origin | None:
        """Where the images come from, if they will be seen again."""
        return None if self.view is None else Origin(self.view, tuple(self.indices.tolist()), self.image.shape[-1])


class Loader:
    """Training batches of a data set under a preset. Close it, or use it as a context manager."""

    def __init__(
        self, data: DataSet, preprocess: Preprocess, preset: Preset | str, input_px: int, batch: int, seed: int,
        workers: int | None = None, cache_bytes: int | None = None, cache_folder: str | Path | None = None,
        skip_broken: bool = False, rank: int = 0, world: int = 1, multi_scale: float | None = None, views: int = 0,
    ) -> None:  # fmt: skip
        """``batch`` images a step over all ``world`` machines, of which this is number ``rank``.

        ``workers`` processes, 0 for none, None for as many as the loop turns out to need. ``cache_bytes`` and
        ``cache_folder`` are those of ``Pictures``. ``skip_broken`` trains on a grey picture without objects for one that
        cannot be read, and lists it in ``broken``; else such a picture ends the epoch with an error that names it.
        ``multi_scale`` is the share of ``input_px`` by which a batch's size may differ; None is as the preset has it.
        ``views`` of each picture come round again; 0 makes a new one in every epoch.
        """
        _check(input_px, batch, rank, world)
        if batch % world:
            raise BadInput(f"batch of {batch} over {world} machines: must divide evenly, as {batch // world * world or world} would")
        if seed < 0:
            raise BadInput(f"seed {seed}: must be 0 or more")
        self.data = data
        found = find_preset(preset)
        self.preset = found if multi_scale is None else found.with_sizes(multi_scale)
        self.preprocess = preprocess
        self.input_px = input_px
        self.batch = batch
        self.seed = seed
        self.rank = rank
        self.world = world
        self.broken: dict[Path, str] = {}
        """Pictures that were skipped, and why."""
        self.waited_s = 0.0
        """Seconds that the loop has waited for batches since the epoch began."""
        self.total_s = 0.0
        """Seconds since the epoch began, those between batches included."""
        self._pictures = Pictures(data, input_px, preprocess, cache_bytes, cache_folder, skip_broken)
        self._arrived = replace(preprocess, order="rgb")
        self._sampler = Sampler(self._pictures)
        self.views = Views(views, len(self._pictures), batch, seed, self.preset, input_px) if views else None
        self._plan: tuple[tuple[int, bool], np.ndarray, np.ndarray] = ((-1, False), np.zeros(0, np.int64), np.zeros(0, np.int64))
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))
        most = workers if workers is not None else min(max(usable_cpus() // world, 1), MOST_WORKERS)
        self._tuner = Tuner(most) if workers is None else None
        now = max(most // 2, 1) if workers is None else workers
        slot_bytes = self._share * 3 * max(self.preset.sides_px(input_px)) ** 2
        self._crew = WorkerPool(self._fill, slot_bytes, now, most)

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """Steps of an epoch. The last batch is filled up with the pictures that the epoch began with."""
        return -(-len(self._pictures) // self.batch)

    @property
    def workers(self) -> int:
        """Worker processes now."""
        return self._crew.size

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Their process ids."""
        return self._crew.pids

    @property
    def cached_pictures(self) -> int:
        """Pictures the cache has room for."""
        return self._pictures.cached_pictures

    @property
    def cached_bytes(self) -> int:
        """Its size when full."""
        return self._pictures.cached_bytes

    @property
    def waited_share(self) -> float:
        """Share of the epoch's time so far that the loop has waited for batches, 0 to 1."""
        return self.waited_s / self.total_s if self.total_s else 0.0

    @property
    def _share(self) -> int:
        """Images of a batch that are this machine's."""
        return self.batch // self.world

    def close(self) -> None:
        """End the workers. May be called again."""
        self._crew.close()

    def order(self, epoch: int, closing: bool = False) -> np.ndarray:
        """The pictures of an epoch, int64 ``[steps x batch]``: each once, in random order; the last batch is filled up."""
        if self.views is not None:
            return self._planned(epoch, closing)[0].reshape(-1)
        if self._order[0] != epoch:
            shuffled = np.random.default_rng([self.seed, ORDER, epoch]).permutation(len(self._pictures))
            self._order = (epoch, np.resize(shuffled, len(self) * self.batch))
        return self._order[1]

    def side_px(self, epoch: int, step: int, closing: bool = False) -> int:
        """The side of the input in a step, in pixels."""
        if self.views is not None:
            return int(self._planned(epoch, closing)[1][step])
        preset = self._form(closing)
        sides = preset.sides_px(self.input_px)
        if len(sides) == 1 or preset.sizes is None:
            return sides[0]
        draw = np.random.default_rng([self.seed, SIZE, epoch, step // preset.sizes.every])
        return sides[int(draw.integers(len(sides)))]

    def _planned(self, epoch: int, closing: bool) -> tuple[np.ndarray, np.ndarray]:
        """The batches of an epoch and their sides, where there are views; the last epoch's are kept."""
        assert self.views is not None
        if self._plan[0] != (epoch, closing):
            self._plan = ((epoch, closing), *self.views.batches(epoch, closing))
        return self._plan[1:]

    def epoch(self, number: int, start_step: int = 0, closing: bool = False) -> Iterator[Batch]:
        """The batches of epoch ``number`` from ``start_step`` on; ``closing`` uses the preset's form for the last epochs."""
        if number < 0 or not 0 <= start_step <= len(self):
            raise BadInput(f"epoch {number}, step {start_step}: epochs count from 0, steps from 0 to {len(self)}")
        self.waited_s = self.total_s = 0.0
        return self._epoch(number, start_step, closing)

    def _epoch(self, number: int, start_step: int, closing: bool) -> Iterator[Batch]:
        jobs = ((number, step, closing) for step in range(start_step, len(self)))
        before = time.perf_counter()
        filled = self._crew.ordered(jobs)
        for step in range(start_step, len(self)):
            asked = time.perf_counter()
            found, pixels = next(filled)
            self.broken.update((self._pictures.file(index), reason) for index, reason in found.broken.items())
            batch = self._batch(found, pixels, number, step, closing)
            ready = time.perf_counter()
            self._count(ready - asked, ready - before)
            before = ready
            yield batch

    def _count(self, waited_s: float, total_s: float) -> None:
        self.waited_s += waited_s
        self.total_s += total_s
        if self._tuner is not None:
            change = self._tuner.seen(waited_s, total_s, self._crew.size)
            if change > 0:
                self._crew.add()
            elif change < 0:
                self._crew.remove()

    def _form(self, closing: bool) -> Preset:
        return self.preset.closing() if closing else self.preset

    def _fill(self, job: tuple[int, int, bool], room: np.ndarray) -> _Found:
        """A batch into ``room``; runs in a worker."""
        epoch, step, closing = job
        side = self.side_px(epoch, step, closing)
        pixels = _as_pictures(room, self._share, side)
        preset = self._form(closing)
        first = step * self.batch + self.rank * self._share
        indices = self.order(epoch, closing)[first : first + self._share]
        view = None if self.views is None else self.views.of(epoch, closing)
        scenes = []
        for place, index in enumerate(indices.tolist()):
            draw = np.random.default_rng([self.seed, SAMPLE, epoch, first + place] if view is None else [self.seed, SAMPLE, view.number, index])
            scene = self._sampler.sample(index, preset, side, draw)
            _lay(scene.image, pixels[place], self.preprocess)
            scenes.append(scene)
        broken, self._pictures.broken = self._pictures.broken, {}
        return _Found.of(scenes, indices, side, broken)

    def _batch(self, found: _Found, pixels: np.ndarray, epoch: int, step: int, closing: bool) -> Batch:
        image, _ = prepare(list(_as_pictures(pixels, self._share, found.side_px)), found.side_px, self._arrived)
        view = None if self.views is None else self.views.of(epoch, closing)
        return Batch(image, found.targets(), torch.from_numpy(found.indices.copy()), epoch, step, view)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a worker sends beside the pixels: flat arrays, which cost the least to send."""

    side_px: int
    indices: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    counts: list[int]
    broken: dict[int, str]

    @staticmethod
    def of(scenes: list[Scene], indices: np.ndarray, side_px: int, broken: dict[int, str]) -> _Found:
        return _Found(
            side_px, indices, np.concatenate([s.boxes for s in scenes]), np.concatenate([s.labels for s in scenes]),
            np.concatenate([s.crowd for s in scenes]), [len(s.labels) for s in scenes], broken,
        )  # fmt: skip

    def targets(self) -> Targets:
        """Objects and ignored regions apart."""
        ends = np.cumsum(self.counts)[:-1]
        boxes, labels, crowds = (np.split(column, ends) for column in (self.boxes, self.labels, self.crowd))
        return Targets(
            tuple(torch.from_numpy(box[~crowd]) for box, crowd in zip(boxes, crowds, strict=True)),
            tuple(torch.from_numpy(label[~crowd]) for label, crowd in zip(labels, crowds, strict=True)),
            tuple(torch.from_numpy(box[crowd]) for box, crowd in zip(boxes, crowds, strict=True)),
        )


@dataclass(frozen=True, slots=True)
class EvaluationBatch:
    """Pictures as ``nas predict`` prepares them."""

    image: Tensor
    """float32 ``[b, 3, input_px, input_px]``."""
    placements: tuple[Placement, ...]
    """Where each picture lies in the input."""
    indices: tuple[int, ...]
    """Each picture's place in the data set."""


def evaluation_batches(
    data: DataSet, preprocess: Preprocess, input_px: int, batch: int, workers: int | None = None,
    skip_broken: Callable[[Path, str], None] | None = None, rank: int = 0, world: int = 1,
) -> Iterator[EvaluationBatch]:  # fmt: skip
    """All pictures in order, not augmented, ``batch`` at a time; ``world`` machines take turns, this one being ``rank``.

    A picture's pixels depend on nothing but its file, so every batch size gives the same numbers. One that cannot be read
    ends the evaluation, or, with ``skip_broken``, is handed to that function with the reason and shown as plain grey.
    """
    _check(input_px, batch, rank, world)
    pictures = Pictures(data, input_px, preprocess, cache_bytes=0)
    # pixels travel as bytes, their colours in order; they are scaled on arrival by the same function, which leaves the pixels
    # of a picture that fits alone
    plain = replace(preprocess, order="rgb", scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    arrived = replace(preprocess, order="rgb")

    def fill(job: list[int], room: np.ndarray) -> tuple[list[Placement], dict[int, str]]:
        pixels = _as_pictures(room, len(job), input_px)
        places, broken = [], {}
        for at, index in enumerate(job):
            try:
                image = pictures.original(index)
            except BadInput as error:
                if skip_broken is None:
                    raise
                broken[index] = str(error)
                stated = data.pictures[index]
                image = np.full((stated.height, stated.width, 3), preprocess.pad, np.uint8)
            one, (place,) = prepare([image], input_px, plain)
            _lay(one[0].permute(1, 2, 0).numpy().astype(np.uint8), pixels[at], preprocess)
            places.append(place)
        return places, broken

    mine = list(range(len(data)))[rank::world]
    jobs = [mine[at : at + batch] for at in range(0, len(mine), batch)]
    count = min(max(usable_cpus() // world, 1), MOST_WORKERS, len(jobs)) if workers is None else workers
    with WorkerPool(fill, batch * 3 * input_px**2, count) as crew:
        filled: Iterator[tuple[Any, np.ndarray]] = crew.ordered(jobs)
        for job, (reply, room) in zip(jobs, filled, strict=True):
            places, broken = reply
            for index, reason in broken.items():
                if skip_broken is not None:
                    skip_broken(pictures.file(index), reason)
            image, _ = prepare(list(_as_pictures(room, len(job), input_px)), input_px, arrived)
            yield EvaluationBatch(image, tuple(places), tuple(job))


def _lay(image: np.ndarray, place: np.ndarray, preprocess: Preprocess) -> None:
    """Write an RGB picture to ``place`` with its colours in the family's order."""
    if preprocess.order == "bgr":
        cv2.cvtColor(image, cv2.COLOR_RGB2BGR, dst=place)
    else:
        place[:] = image


def _as_pictures(room: np.ndarray, count: int, side_px: int) -> np.ndarray:
    """Room of a slot as uint8 ``[count, side, side, 3]``."""
    return room[: count * side_px * side_px * 3].reshape(count, side_px, side_px, 3)


def _check(input_px: int, batch: int, rank: int, world: int) -> None:
    if input_px < 1:
        raise BadInput(f"input of {input_px} pixels: must be 1 or more")
    if batch < 1:
        raise BadInput(f"batch of {batch}: must be 1 or more")
    if world < 1 or not 0 <= rank < world:
        raise BadInput(f"rank {rank} of {world}: must be from 0 to one less than there are")
