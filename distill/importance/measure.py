"""Measures importance with one of the methods: batch by batch, resumable, with a cache and progress."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill.data.dataset import DataSet
from distill.data.feed.slots import check_input_px
from distill.importance.method import DataImportance, WeightImportance
from distill.importance.methods import DEFAULT_IMPORTANCE, find_importance
from distill.importance.progress_file import ProgressFile, Sums
from distill.importance.removal import losses_by_depth, losses_without_blocks
from distill.importance.scores import ImportanceScores
from distill.importance.training_loss import LossBatch, TrainingLoss, finite, loss_batches
from distill.train.detect import check_classes
from workbench.checks import check_int
from workbench.console import Progress
from workbench.errors import BadInput
from zoo.detector import Detector
from zoo.pruning.groups import ChannelGroups

FORMAT = 1
"""Version of the measurement; files of another one are not used."""


@dataclass(frozen=True, slots=True)
class MeasureOptions:
    """How to measure. All but ``device`` changes the result."""

    images: int = 256
    """Images of the data, drawn by ``seed``; all of them where there are fewer."""
    input_px: int | None = None
    """Side of the input; None is the detector's own."""
    batch: int = 8
    """Images that blocks and stacks are measured on at once; losses average over the objects of a batch."""
    seed: int = 0
    device: str = "cpu"


def measure_importance(
    detector: Detector, groups: ChannelGroups, method: str = DEFAULT_IMPORTANCE, data: DataSet | None = None,
    options: MeasureOptions | None = None, *, folder: str | Path | None = None, progress: Progress | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> ImportanceScores:  # fmt: skip
    """Importance of every unit, block and depth of ``detector`` (training form), which stays as it is.

    Args:
        groups: Its channel groups.
        method: A name in ``IMPORTANCES``.
        data: Labeled images, which methods with data need.
        folder: Where the sums so far are kept, such as a run folder: the same call resumes there, to the same bits, or
            returns the finished result. None keeps nothing.
        progress: Shows the batches.
        log: Takes a line where the file in ``folder`` cannot be used.
    """
    chosen = find_importance(method)
    options = options or MeasureOptions()
    if detector.fused:
        raise BadInput(f"{detector.recipe.model} is folded: importance is measured in training form, before folding")
    if isinstance(chosen, WeightImportance):
        return _of_weights(detector, groups, method, chosen)
    assert isinstance(chosen, DataImportance)
    if data is None:
        raise BadInput(f"importance {method!r} is measured on images: give data, or choose 'norm', which needs none")
    images, input_px, batch = _checked(detector, data, options)
    key = {
        "format": FORMAT, "method": method, "weights": weights_digest(detector), "data": data.digest(),
        "preprocess": asdict(detector.preprocess), "images": images, "input_px": input_px, "batch": batch,
        "seed": options.seed,
    }  # fmt: skip
    file = ProgressFile(None if folder is None else Path(folder), key, log)
    sums = file.read(Sums.zero(groups.count, len(groups.blocks), groups.stacks))
    total = -(-images // batch)
    if sums.batches < total:
        loss = TrainingLoss(detector, options.device, options.seed)
        place = data, detector.preprocess, input_px, images, batch, options.seed, sums.batches
        for part in loss_batches(*place):
            _add(sums, loss, chosen, groups, part)
            file.write(sums)
            if progress is not None:
                progress.show(f"importance ({method}): batch {sums.batches} of {total}", sums.batches == total)
    return _scores(sums, groups, method, images)


def _checked(detector: Detector, data: DataSet, options: MeasureOptions) -> tuple[int, int, int]:
    """Images, input in pixels, and images a batch."""
    images = min(check_int("importance images", options.images), len(data))
    if not images:
        raise BadInput(f"split {data.name!r} of {data.root} has no pictures: importance has nothing to be measured on")
    check_int("importance seed", options.seed, 0)
    check_classes(detector, data)
    input_px = options.input_px or detector.info.input_px
    check_input_px(input_px)
    return images, input_px, min(check_int("importance batch", options.batch), images)


def _add(sums: Sums, loss: TrainingLoss, method: DataImportance, groups: ChannelGroups, batch: LossBatch) -> None:
    """Add one batch to ``sums``."""
    with torch.no_grad():
        sums.loss += finite(loss(batch), batch, "the detector") * len(batch)
    sums.units += method.unit_scores(loss, groups, batch) * len(batch)
    sums.blocks += np.array(losses_without_blocks(loss, groups.blocks, batch)) * len(batch)
    for path, values in losses_by_depth(loss, groups.stacks, batch).items():
        sums.stacks[path] += np.array(values) * len(batch)
    sums.batches += 1


def _scores(sums: Sums, groups: ChannelGroups, method: str, images: int) -> ImportanceScores:
    """Means over images, and rises of the loss; a removal that lowers it costs nothing."""
    rises = np.maximum(sums.blocks - sums.loss, 0.0) / images
    return ImportanceScores(
        {group.name: sums.units[group.units] / images for group in groups.groups},
        dict(zip(groups.blocks, rises.tolist(), strict=True)),
        {path: np.maximum(values - values[-1], 0.0) / images for path, values in sums.stacks.items()},
        method, images, sums.loss / images,
    )  # fmt: skip


def _of_weights(
    detector: Detector, groups: ChannelGroups, method: str, chosen: WeightImportance
) -> ImportanceScores:
    """Without data a block, or a layer of a stack, has the importance of the units inside of it."""
    units = chosen.unit_scores(detector, groups)
    by_name = {group.name: units[group.units] for group in groups.groups}

    def inside(prefix: str) -> float:
        return float(sum(by_name[g.name].sum() for g in groups.groups if g.layer.startswith(prefix)))

    stacks = {}
    for path, count in groups.stacks.items():
        layers = [inside(f"{path}.layers.{i}.") for i in range(count)]
        stacks[path] = np.array([sum(layers[depth:]) for depth in range(1, count + 1)], dtype=np.float64)
    return ImportanceScores(by_name, {path: inside(f"{path}.") for path in groups.blocks}, stacks, method)


def weights_digest(detector: Detector) -> str:
    """SHA-256 of model, cuts, and every tensor's name, shape and values."""
    recipe = detector.recipe
    digest = hashlib.sha256(repr((recipe.model, recipe.classes, recipe.cuts.to_dict())).encode())
    for name, value in detector.state_dict().items():
        array: Any = value.detach().cpu().contiguous().numpy()
        digest.update(repr((name, array.shape, str(array.dtype))).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
