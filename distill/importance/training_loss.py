"""The training loss of a trained detector on images that are not augmented, with gradients if asked for.

Batch norms use their statistics. The head of RT-DETRv2 computes what its loss needs in training form only; every other
part is in evaluation form, so that both heads of a YOLO26 give their gradients to the features.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from distill.data.dataset import DataSet
from distill.data.feed.batch_order import BatchPlan
from distill.data.feed.loader import Batch, Loader, ReadOptions
from distill.train.task import own_losses
from workbench.errors import BadInput
from zoo.detector import Detector, Raw
from zoo.images import Preprocess
from zoo.layers import LayerStack
from zoo.learning.targets import Phase, Targets, total

PHASE = Phase(progress=1.0)
"""The end of training, where a trained detector stands."""
SEED_STRIDE = 1_000_003


@dataclass(frozen=True, slots=True)
class LossBatch:
    """Some images with their true boxes."""

    first: int
    """Place of the first image in the order that images are drawn in, from 0."""
    image: Tensor
    """float32 ``[b, 3, px, px]``."""
    targets: Targets

    def __len__(self) -> int:
        return len(self.targets)

    def singles(self) -> Iterator[LossBatch]:
        """Every image as a batch of its own."""
        for i, columns in enumerate(zip(self.targets.boxes, self.targets.labels, self.targets.ignored, strict=True)):
            yield LossBatch(self.first + i, self.image[i : i + 1], Targets(*((column,) for column in columns)))


def loss_batches(
    data: DataSet, preprocess: Preprocess, input_px: int, images: int, batch: int, seed: int, start: int = 0
) -> Iterator[LossBatch]:
    """``images`` images of ``data``, drawn by ``seed``, in batches of ``batch`` from batch ``start`` on.

    They are as evaluation sees them. The last batch may be smaller.
    """
    # One image a step, so that the last batch need not be filled up with images that were there before.
    plan, read = BatchPlan(1, seed), ReadOptions(workers=0, cache_bytes=0)
    with Loader(data, preprocess, "none", input_px, plan, read) as loader:
        singles = loader.epoch(0, start * batch)
        for first in range(start * batch, images, batch):
            yield _joined(first, [next(singles) for _ in range(min(batch, images - first))])


def _joined(first: int, singles: list[Batch]) -> LossBatch:
    columns = (
        tuple(value for single in singles for value in getattr(single.targets, name))
        for name in ("boxes", "labels", "ignored")
    )
    return LossBatch(first, torch.cat([single.image for single in singles]), Targets(*columns))


class TrainingLoss:
    """The training loss of a copy of ``detector``, which stays as it is."""

    def __init__(self, detector: Detector, device: str = "cpu", seed: int = 0) -> None:
        self.detector = copy.deepcopy(detector).to(device).eval().requires_grad_(True)
        self.device, self.seed = torch.device(device), seed
        for part in self.detector.modules():
            if isinstance(part, LayerStack):
                part.training = True

    def __call__(self, batch: LossBatch) -> Tensor:
        """The sum of all losses, a mean over the images of ``batch``."""
        return self.with_raw(batch)[1]

    def with_raw(self, batch: LossBatch) -> tuple[Raw, Tensor]:
        """The head's raw outputs too. Random numbers (noised queries) follow from the seed and the first image."""
        devices = [self.device] if self.device.type == "cuda" else []
        image, targets = batch.image.to(self.device), batch.targets.to(self.device)
        with torch.random.fork_rng(devices):
            torch.manual_seed((self.seed * SEED_STRIDE + batch.first) % 2**63)
            raw, losses = own_losses(self.detector, self.detector.features(image), image, targets, PHASE)
        return raw, total(losses)

    def of_raw(self, raw: Raw, batch: LossBatch) -> Tensor:
        """The same loss of other raw outputs for ``batch``."""
        size = (batch.image.shape[-2], batch.image.shape[-1])
        value = total(self.detector.loss(raw, batch.targets.to(self.device), size, PHASE))
        return value / len(batch) if self.detector.loss_counts_images else value


def finite(value: Tensor | float, batch: LossBatch, what: str) -> float:
    """``value`` as a number, or ``BadInput`` where it is none."""
    number = float(value.detach()) if isinstance(value, Tensor) else value
    if not math.isfinite(number):
        raise BadInput(
            f"the training loss of {what} is not finite on image {batch.first} of those drawn: "
            "the detector's weights or its batch-norm statistics have overflowed; train it again, or at a lower rate"
        )
    return number
