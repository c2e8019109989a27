"""Training batches.

What a batch holds follows from (seed, epoch, step) alone: not from the number of workers, the cache, or the batches
before. An interrupted run resumes from epoch and step, and several machines that split a batch see together what one
would have seen. With ``views``, what a picture looks like follows from (seed, view, picture) alone: see ``views.py``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from distill.data.dataset import DataSet
from distill.data.feed.batch_order import BatchOrder, BatchPlan
from distill.data.feed.cache import Pictures
from distill.data.feed.presets import Preset, find_preset
from distill.data.feed.sampler import Sampler
from distill.data.feed.scene import Scene
from distill.data.feed.slots import as_images, check_input_px, max_workers, write_image
from distill.data.feed.views import Origin, View
from distill.data.feed.worker_pool import WorkerPool
from distill.data.feed.worker_tuner import WorkerTuner
from workbench.errors import BadInput
from zoo.images import Preprocess, prepare
from zoo.learning.targets import Targets


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How images are read. Nothing here changes a batch, except for pictures that cannot be read."""

    workers: int | None = None
    """Worker processes; 0 reads in this process, None starts as many as the training turns out to need."""
    cache_bytes: int | None = None
    """Size of the cache of decoded pictures; 0 keeps none, None chooses."""
    cache_folder: str | Path | None = None
    """Where the cache's file is; None is the system's folder for temporary files."""
    skip_broken: bool = False
    """Replace a picture that cannot be read by a gray one without objects, and list it in ``broken``; else such a
    picture ends the epoch with an error that names it."""


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
    """The view, where views repeat."""

    @property
    def origin(self) -> Origin | None:
        """Where the images come from, if they will be seen again."""
        return None if self.view is None else Origin(self.view, tuple(self.indices.tolist()), self.image.shape[-1])


class Loader:
    """Training batches of a data set under a preset. Close it, or use it as a context manager."""

    def __init__(
        self, data: DataSet, preprocess: Preprocess, preset: Preset | str, input_px: int, plan: BatchPlan,
        read: ReadOptions | None = None,
    ) -> None:  # fmt: skip
        check_input_px(input_px)
        read = read or ReadOptions()
        self.data, self.preprocess, self.input_px, self.plan = data, preprocess, input_px, plan
        self.preset = find_preset(preset)
        self.broken: dict[Path, str] = {}
        """Pictures that were skipped, and why."""
        self.waited_s = 0.0
        """Seconds that the training has waited for batches since the epoch began."""
        self.total_s = 0.0
        """Seconds since the epoch began, those between batches included."""
        self._pictures = Pictures(data, input_px, preprocess, read.cache_bytes, read.cache_folder, read.skip_broken)
        self.batches = BatchOrder(plan, len(self._pictures), self.preset, input_px)
        self._received = replace(preprocess, order="rgb")
        self._sampler = Sampler(self._pictures)
        most = max_workers(plan.world) if read.workers is None else read.workers
        self._tuner = WorkerTuner(most) if read.workers is None else None
        now = max(most // 2, 1) if read.workers is None else read.workers
        slot_bytes = plan.share * 3 * max(self.preset.sides_px(input_px)) ** 2
        self._pool = WorkerPool(self._fill, slot_bytes, now, most)

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """Steps of an epoch."""
        return self.batches.steps

    @property
    def workers(self) -> int:
        """Worker processes now."""
        return self._pool.size

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Their process ids."""
        return self._pool.pids

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
        """Share of the epoch's time so far that the training has waited for batches, 0 to 1."""
        return self.waited_s / self.total_s if self.total_s else 0.0

    def close(self) -> None:
        """End the workers. May be called again."""
        self._pool.close()

    def epoch(self, number: int, start_step: int = 0, closing: bool = False) -> Iterator[Batch]:
        """The batches of an epoch from ``start_step`` on; ``closing`` uses the preset's form for the last epochs."""
        if number < 0 or not 0 <= start_step <= len(self):
            raise BadInput(
                f"epoch {number}, step {start_step}: epochs count from 0, steps from 0 to {len(self)}"
            )
        self.waited_s = self.total_s = 0.0
        return self._epoch(number, start_step, closing)

    def _epoch(self, number: int, start_step: int, closing: bool) -> Iterator[Batch]:
        jobs = ((number, step, closing) for step in range(start_step, len(self)))
        before = time.perf_counter()
        results = self._pool.ordered(jobs)
        for step in range(start_step, len(self)):
            asked = time.perf_counter()
            sent, pixels = next(results)
            self.broken.update((self._pictures.file(index), reason) for index, reason in sent.broken.items())
            batch = self._batch(sent, pixels, number, step, closing)
            ready = time.perf_counter()
            self._count_wait(ready - asked, ready - before)
            before = ready
            yield batch

    def _count_wait(self, waited_s: float, total_s: float) -> None:
        self.waited_s += waited_s
        self.total_s += total_s
        if self._tuner is not None:
            change = self._tuner.update(waited_s, total_s, self._pool.size)
            if change > 0:
                self._pool.add()
            elif change < 0:
                self._pool.remove()

    def _fill(self, job: tuple[int, int, bool], slot: np.ndarray) -> _SentBatch:
        """Write a batch's images into ``slot``; runs in a worker."""
        epoch, step, closing = job
        side_px, preset = self.batches.side_px(epoch, step, closing), self.batches.preset(closing)
        indices, rngs = self.batches.share(epoch, step, closing)
        images = as_images(slot, len(indices), side_px)
        scenes = []
        for index, rng, image in zip(indices.tolist(), rngs, images, strict=True):
            scene = self._sampler.sample(index, preset, side_px, rng)
            write_image(scene.image, image, self.preprocess)
            scenes.append(scene)
        broken, self._pictures.broken = self._pictures.broken, {}
        return _SentBatch.of(scenes, indices, side_px, broken)

    def _batch(self, sent: _SentBatch, pixels: np.ndarray, epoch: int, step: int, closing: bool) -> Batch:
        images = as_images(pixels, self.plan.share, sent.side_px)
        image, _ = prepare(list(images), sent.side_px, self._received)
        indices = torch.from_numpy(sent.indices.copy())
        return Batch(image, sent.targets(), indices, epoch, step, self.batches.view(epoch, closing))


@dataclass(frozen=True, slots=True)
class _SentBatch:
    """What a worker sends beside the pixels: flat arrays, which cost the least to send."""

    side_px: int
    indices: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    counts: list[int]
    broken: dict[int, str]

    @staticmethod
    def of(scenes: list[Scene], indices: np.ndarray, side_px: int, broken: dict[int, str]) -> _SentBatch:
        return _SentBatch(
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
