"""The loss measured without single residual blocks, and with the first layers of a stack alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from distill.importance.training_loss import LossBatch, TrainingLoss, finite
from zoo.detector import Detector, Raw
from zoo.layers import LayerStack, SkippableBlock

BY_LAYER = ("layer_", "denoising_")
"""Raw outputs of a decoder in training form that are lists of one tensor a layer."""


@contextmanager
def skipping(detector: Detector, path: str) -> Iterator[None]:
    """Skip a residual block for a while."""
    block = detector.get_submodule(path)
    assert isinstance(block, SkippableBlock)
    before, block.skipped = block.skipped, True
    try:
        yield
    finally:
        block.skipped = before


@torch.no_grad()
def losses_without_blocks(loss: TrainingLoss, blocks: Sequence[str], batch: LossBatch) -> list[float]:
    """The loss on ``batch`` without each block by itself."""
    found = []
    for path in blocks:
        with skipping(loss.detector, path):
            found.append(finite(loss(batch), batch, f"the detector without block {path}"))
    return found


@torch.no_grad()
def losses_by_depth(loss: TrainingLoss, stacks: Mapping[str, int], batch: LossBatch) -> dict[str, list[float]]:
    """The loss on ``batch`` with the first 1, 2, ... layers of each stack alone.

    The training loss is a sum over layers and would fall with every layer that goes. So it is taken of as many layers
    as prediction runs, where those that are gone repeat the outputs of the last one that stays.
    """
    found = {}
    for path, layers in stacks.items():
        stack = loss.detector.get_submodule(path)
        assert isinstance(stack, LayerStack) and stack is loss.detector.head
        raw, _ = loss.with_raw(batch)
        found[path] = [
            finite(loss.of_raw(repeating(raw, depth, layers), batch), batch, f"{path} with {depth} layers")
            for depth in range(1, layers + 1)
        ]
    return found


def repeating(raw: Raw, depth: int, layers: int) -> Raw:
    """``raw`` of ``layers`` layers, of which those beyond ``depth`` repeat the outputs of layer ``depth``."""
    order = [min(i, depth - 1) for i in range(layers)]
    changed = {name: [v[i] for i in order] for name, v in raw.items() if name.startswith(BY_LAYER)}
    return {**raw, **changed}
