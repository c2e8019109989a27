"""Calibration of batch norms: their statistics are computed anew over large batches of training images.

Running statistics average small batches, each of which was normalized by its own statistics in training. An image far
from the others raises the variance that its batch is divided by; alone, in evaluation, it is divided by the average and
its activations grow layer after layer. With batches of ``recipe.bn_calibration_images`` no image has much weight, and
each norm gets the statistics of inputs that passed the calibrated norms before it (compare Wu and Johnson 2021,
"Rethinking 'Batch' in BatchNorm"). docs/benchmarks/distillation.md has the gain.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator

import torch
from torch import Tensor, nn

from distill.data.dataset import DataSet
from distill.data.feed.evaluation_batches import evaluation_batches
from distill.train.parallel.sync_bn import revert_sync_bn
from zoo.detector import Detector

MAX_BATCHES = 8
"""Batches at most; their images are spread evenly over the data."""


def calibration_images(data: DataSet, images: int) -> tuple[DataSet, int]:
    """At most ``MAX_BATCHES`` batches of at most ``images`` images, spread over ``data``, and the size of each."""
    count = min(len(data), MAX_BATCHES * images)
    pictures = tuple(data.pictures[number * len(data) // count] for number in range(count))
    batches = -(-count // images)
    return DataSet(data.root, data.name, data.classes, pictures), -(-count // batches)


def calibrate_bn(
    detector: Detector, data: DataSet, input_px: int, images: int, *, device: str = "cpu", workers: int | None = None,
    frozen_backbone: bool = False, frozen_norms: Collection[str] = (),
) -> Detector:  # fmt: skip
    """A copy of ``detector`` whose batch norms have the statistics of ``data`` ``[images, 3, input_px, input_px]``.

    Nothing else changes. With ``frozen_backbone`` the norms of the backbone stay as they are, and those that
    ``frozen_norms`` names.
    """
    subset, batch = calibration_images(data, images)
    twin = copy.deepcopy(detector).eval().to(device)
    revert_sync_bn(twin)
    frozen = {id(module) for module in twin.backbone.modules()} if frozen_backbone else set()
    frozen |= {id(module) for name, module in twin.named_modules() if name in frozen_norms}
    norms = [module for module in twin.modules() if type(module) is nn.BatchNorm2d and id(module) not in frozen]

    def image_batches() -> Iterator[Tensor]:
        for prepared in evaluation_batches(subset, twin.preprocess, input_px, batch, workers=workers):
            yield prepared.image.to(device)

    update_bn_statistics(twin, norms, image_batches())
    return twin


@torch.no_grad()
def update_bn_statistics(detector: Detector, norms: list[nn.BatchNorm2d], batches: Iterable[Tensor]) -> None:
    """Give ``norms`` the mean statistics of ``batches`` ``[b, 3, h, w]``; a norm without any input keeps its own.

    Every batch is normalized by its own statistics on the way.
    """
    before = [(copy.deepcopy(norm.state_dict()), norm.momentum) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch then takes the plain mean of all batches
        norm.train()
    for image in batches:
        detector.head(detector.features(image))
    for norm, (state, momentum) in zip(norms, before, strict=True):
        norm.eval()
        norm.momentum = momentum
        tracked = norm.num_batches_tracked
        assert tracked is not None
        if not int(tracked):
            norm.load_state_dict(state)
        else:
            tracked.copy_(state["num_batches_tracked"])
