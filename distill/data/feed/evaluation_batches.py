"""Batches for evaluation: every picture once, in order, not augmented, as ``nas predict`` prepares it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from distill.data.dataset import DataSet
from distill.data.feed.batch_order import check_batch
from distill.data.feed.cache import Pictures
from distill.data.feed.slots import as_images, check_input_px, max_workers, write_image
from distill.data.feed.worker_pool import WorkerPool
from workbench.errors import BadInput
from zoo.images import Placement, Preprocess, prepare

SkipFunction = Callable[[Path, str], None]
"""Takes the file of a picture that cannot be read, and the reason."""


@dataclass(frozen=True, slots=True)
class EvaluationBatch:
    """Some pictures, prepared."""

    image: Tensor
    """float32 ``[b, 3, input_px, input_px]``."""
    placements: tuple[Placement, ...]
    """Where each picture lies in the input."""
    indices: tuple[int, ...]
    """Each picture's index in the data set."""


def evaluation_batches(
    data: DataSet, preprocess: Preprocess, input_px: int, batch: int, workers: int | None = None,
    skip_broken: SkipFunction | None = None, rank: int = 0, world: int = 1,
) -> Iterator[EvaluationBatch]:  # fmt: skip
    """All pictures in order, ``batch`` at a time; ``world`` machines take turns, this one being number ``rank``.

    A picture's pixels depend on its file alone, so every batch size gives the same numbers. One that cannot be read
    ends the evaluation, or, with ``skip_broken``, is passed to that function and shown as plain gray.
    """
    check_input_px(input_px)
    check_batch(batch, rank, world)
    reader = _Reader(data, preprocess, input_px, skip_broken is not None)
    # pixels are sent as bytes with their channels in order, and scaled on arrival by the same function, which does
    # not change the pixels of an image that fits already
    received = replace(preprocess, order="rgb")
    indices = list(range(len(data)))[rank::world]
    jobs = [indices[start : start + batch] for start in range(0, len(indices), batch)]
    count = min(max_workers(world), len(jobs)) if workers is None else workers
    with WorkerPool(reader.fill, batch * 3 * input_px**2, count) as pool:
        for job, (reply, slot) in zip(jobs, pool.ordered(jobs), strict=True):
            placements, broken = reply
            for index, reason in broken.items():
                if skip_broken is not None:
                    skip_broken(reader.pictures.file(index), reason)
            image, _ = prepare(list(as_images(slot, len(job), input_px)), input_px, received)
            yield EvaluationBatch(image, tuple(placements), tuple(job))


class _Reader:
    """Reads and fits pictures; runs in a worker."""

    def __init__(self, data: DataSet, preprocess: Preprocess, input_px: int, skip_broken: bool) -> None:
        self.data, self.preprocess, self.input_px, self.skip_broken = data, preprocess, input_px, skip_broken
        self.pictures = Pictures(data, input_px, preprocess, cache_bytes=0)
        self._fit = replace(preprocess, order="rgb", scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

    def fill(self, indices: list[int], slot: np.ndarray) -> tuple[list[Placement], dict[int, str]]:
        """Write pictures to ``slot``; where they lie in the input, and which of them are broken."""
        images = as_images(slot, len(indices), self.input_px)
        placements, broken = [], {}
        for index, out in zip(indices, images, strict=True):
            try:
                image = self.pictures.original(index)
            except BadInput as error:
                if not self.skip_broken:
                    raise
                broken[index] = str(error)
                stated = self.data.pictures[index]
                image = np.full((stated.height, stated.width, 3), self.preprocess.pad, np.uint8)
            fitted, (placement,) = prepare([image], self.input_px, self._fit)
            write_image(fitted[0].permute(1, 2, 0).numpy().astype(np.uint8), out, self.preprocess)
            placements.append(placement)
        return placements, broken
