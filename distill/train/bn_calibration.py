"""Statistics of batch norms, measured anew over pictures as they are found rather than averaged over the batches of training.

What a norm's running statistics average are batches that were normalised by themselves. In a batch of eight a picture far from
the others stretches what it is divided by; shown alone it is divided by the average and comes out far larger, layer after layer. Over batches
of ``recipe.bn_calibration_images`` pictures no picture weighs much, and a norm gets the statistics of what the norms before it will
really give it (compare Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm"). docs/benchmarks/distillation.md has what this is worth.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from distill.data.dataset import DataSet
from distill.data.feed.evaluation_batches import evaluation_batches
from distill.train.parallel.sync_bn import revert_sync_bn
from zoo.detector import Detector

MOST_BATCHES = 8
"""More of them are not measured: the pictures are taken evenly from all the data."""


def calibration_images(data: DataSet, images: int) -> tuple[DataSet, int]:
    """At most ``MOST_BATCHES`` batches of at most ``images`` pictures, spread over ``data``, and pictures a batch, all about alike."""
    count = min(len(data), MOST_BATCHES * images)
    taken = tuple(data.pictures[number * len(data) // count] for number in range(count))
    batches = -(-count // images)
    return DataSet(data.root, data.name, data.classes, taken), -(-count // batches)


def calibrate_bn(
    detector: Detector, data: DataSet, input_px: int, images: int, *, device: str = "cpu", workers: int | None = None, frozen_backbone: bool = False
) -> Detector:
    """A copy of ``detector`` whose batch norms have the statistics of ``data`` ``[images, 3, input_px, input_px]`` at a time.

    Nothing else of it changes. With ``frozen_backbone`` the norms of the backbone stay as they are.
    """
    some, batch = calibration_images(data, images)
    twin = copy.deepcopy(detector).eval().to(device)
    revert_sync_bn(twin)
    kept = {id(one) for one in twin.backbone.modules()} if frozen_backbone else set()
    norms = [one for one in twin.modules() if type(one) is nn.BatchNorm2d and id(one) not in kept]

    def shown() -> Iterator[Tensor]:
        for prepared in evaluation_batches(some, twin.preprocess, input_px, batch, workers=workers):
            yield prepared.image.to(device)

    update_bn_statistics(twin, norms, shown())
    return twin


@torch.no_grad()
def update_bn_statistics(detector: Detector, norms: list[nn.BatchNorm2d], batches: Iterable[Tensor]) -> None:
    """Give ``norms`` the mean statistics of ``batches`` ``[b, 3, h, w]``, each normalised by itself; one that sees nothing keeps its own."""
    before = [(copy.deepcopy(one.state_dict()), one.momentum) for one in norms]
    for one in norms:
        one.reset_running_stats()
        one.momentum = None  # torch's way to ask for the plain mean of all batches
        one.train()
    for image in batches:
        detector.head(detector.features(image))
    for one, (state, momentum) in zip(norms, before, strict=True):
        one.eval()
        one.momentum = momentum
        seen = one.num_batches_tracked
        assert seen is not None
        if not int(seen):
            one.load_state_dict(state)
        else:
            seen.copy_(state["num_batches_tracked"])
