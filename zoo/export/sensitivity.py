"""How much each layer of a detector alone costs when it computes in INT8, emulated in torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from zoo.detector import Detector

WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
"""Modules whose weights, inputs and results are quantized."""


@torch.no_grad()
def layer_sensitivities(folded: Detector, layers: Sequence[str], images: Sequence[Tensor]) -> dict[str, float]:
    """The error of the outputs with one layer in INT8 at a time, by layer.

    The error is the mean, over the rows of all ``images`` ``[b, 3, h, w]``, of the difference of boxes in input sides
    plus the largest difference of scores, each row weighted by its best score. A layer whose weights are no module's,
    such as the projections of ``nn.MultiheadAttention``, has an infinite one.
    """
    references = [_outputs(folded, image) for image in images]
    targets = {layer: _weighted(folded.get_submodule(layer)) for layer in layers}
    ranges = _ranges([module for modules in targets.values() for module in modules], folded, images)
    found = {}
    for layer, modules in targets.items():
        if not modules:
            found[layer] = math.inf
            continue
        weights = [module.weight.detach().clone() for module in modules]
        hooks = [hook for module in modules for hook in _round_activations(module, *ranges[module])]
        for module in modules:
            module.weight.copy_(_rounded_weight(module))
        errors = [
            _error(reference, _outputs(folded, image), max(image.shape[-2:]))
            for reference, image in zip(references, images, strict=True)
        ]
        for hook in hooks:
            hook.remove()
        for module, weight in zip(modules, weights, strict=True):
            module.weight.copy_(weight)
        found[layer] = sum(errors) / len(errors)
    return found


def _weighted(module: nn.Module) -> list[nn.Conv2d]:
    """The weighted modules inside a module, itself included; typed as one of ``WEIGHTED``."""
    return [part for part in module.modules() if isinstance(part, WEIGHTED)]  # type: ignore[misc]


def _outputs(folded: Detector, image: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes ``[b, n, 4]`` and scores ``[b, n, classes]``; best first where the network ranks its own rows."""
    boxes, scores = folded.decode(folded(image), (image.shape[-2], image.shape[-1]))
    if boxes.shape[1] == folded.selection.max_detections:
        order = scores.amax(-1).argsort(dim=1, descending=True, stable=True)[..., None]
        return boxes.take_along_dim(order, 1), scores.take_along_dim(order, 1)
    return boxes, scores


def _error(reference: tuple[Tensor, Tensor], found: tuple[Tensor, Tensor], side: int) -> float:
    boxes = (reference[0] - found[0]).abs().mean(-1) / side
    scores = (reference[1] - found[1]).abs().amax(-1)
    weight = torch.maximum(reference[1].amax(-1), found[1].amax(-1)).clamp(min=1e-6)
    error = float(((boxes + scores) * weight).sum() / weight.sum())
    return error if math.isfinite(error) else math.inf


class _Range:
    """The smallest and the largest value seen, 0 included."""

    def __init__(self) -> None:
        self.low = self.high = 0.0

    def add(self, values: Tensor) -> None:
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))

    def rounded(self, values: Tensor) -> Tensor:
        """``values`` at the nearest of 256 levels of the range."""
        scale = max(self.high - self.low, 1e-12) / 255
        return torch.fake_quantize_per_tensor_affine(values, scale, round(-self.low / scale), 0, 255)


def _ranges(
    modules: Sequence[nn.Conv2d], folded: Detector, images: Sequence[Tensor]
) -> dict[nn.Module, tuple[_Range, _Range]]:
    """The ranges of every module's input and result."""
    ranges: dict[nn.Module, tuple[_Range, _Range]] = {module: (_Range(), _Range()) for module in modules}

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ranges[module][0].add(inputs[0])
        ranges[module][1].add(output)

    hooks = [module.register_forward_hook(record) for module in ranges]
    for image in images:
        folded(image)
    for hook in hooks:
        hook.remove()
    return ranges


def _round_activations(module: nn.Module, before: _Range, after: _Range) -> list[RemovableHandle]:
    """Hooks that round a module's input and result."""
    return [
        module.register_forward_pre_hook(lambda module, inputs: (before.rounded(inputs[0]), *inputs[1:])),
        module.register_forward_hook(lambda module, inputs, output: after.rounded(output)),
    ]


def _rounded_weight(module: nn.Conv2d) -> Tensor:
    """The weight with 255 levels an output channel."""
    weight = module.weight
    axis = 1 if isinstance(module, nn.ConvTranspose2d) else 0
    others = [dim for dim in range(weight.ndim) if dim != axis]
    scale = weight.abs().amax(others, keepdim=True).clamp(min=1e-12) / 127
    return (weight / scale).round().clamp(-127, 127) * scale
