"""Fresh weights for the architecture of a cut detector: what the same network learns from nothing."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import nn

from zoo.detector import Detector
from zoo.factory import build_recipe
from zoo.pruning.summary import uncut_network


def with_fresh_weights(detector: Detector, seed: int) -> Detector:
    """A detector like ``detector``, with the same cuts, whose weights are initialized from ``seed``.

    Weights that lost input channels keep the variance that an initialization at their new width has: it is one over the
    number of inputs in torch's layers.
    """
    torch.manual_seed(seed)
    fresh = build_recipe(detector.recipe)
    uncut = uncut_network(detector.recipe)
    for path, layer in fresh.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            inputs = uncut.get_submodule(path).get_parameter("weight").shape[1]
            with torch.no_grad():
                layer.weight.mul_(math.sqrt(inputs / layer.weight.shape[1]))
    fresh.info = dataclasses.replace(detector.info, provenance={"weights": "random", "seed": seed}, lineage=())
    return fresh.eval()
