"""Optimizers and their parameter groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from distill.train.recipe import TrainRecipe
from distill.train.schedules import decay_scale

BATCH_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the iteration in K. Jordan's Muon (2024), which brings all singular values near 1 in 5 steps."""
MIN_SIDE = 16
"""Matrices with a shorter side use plain SGD: there is little to orthogonalize."""
MATCHED_RMS = 0.2
"""Size of a Muon update relative to the root of the longer side (Liu et al. 2025), near that of AdamW."""


class MuonSGD(torch.optim.Optimizer):
    """Muon for weights with two or more dimensions, SGD with Nesterov momentum for all others.

    A convolution's weight counts as a matrix ``[out, in * k * k]``.
    """

    def __init__(self, params: Iterable[Any], lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group["lr"], group["momentum"], group["weight_decay"])
        return value

    def _update(self, weight: Tensor, lr: float, momentum: float, decay: float) -> None:
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].mul_(momentum).add_(weight.grad)
        update = weight.grad + momentum * state["momentum"]
        rows = weight.shape[0] if weight.ndim >= 2 else 1
        columns = weight.numel() // rows
        if min(rows, columns) >= MIN_SIDE:
            size = MATCHED_RMS * math.sqrt(max(rows, columns))
            update = orthogonal(update.reshape(rows, columns)).reshape(weight.shape) * size
        weight.mul_(1 - lr * decay).add_(update, alpha=-lr)


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """About the nearest matrix ``[r, c]`` with orthonormal rows or columns, computed in float32."""
    a, b, c = NEWTON_SCHULZ
    x = matrix.float()
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x if wide else x.T).to(matrix.dtype)


def parameter_groups(task: nn.Module, recipe: TrainRecipe) -> list[dict[str, Any]]:
    """Trainable parameters with their weight decay, their share of the learning rate (``share``) and whether they
    follow the rate of biases (``bias``), as ``recipe.parameter_groups`` sorts them.
    """
    norms = [module for module in task.modules() if isinstance(module, BATCH_NORMS)]
    of_norm = {id(parameter) for norm in norms for parameter in norm.parameters(recurse=False)}
    sort, scale = GROUPS[recipe.parameter_groups], decay_scale(recipe, recipe.batch)
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in task.named_parameters():
        if parameter.requires_grad:
            place = sort(name, parameter, id(parameter) in of_norm)
            if place is not None:
                share = recipe.backbone_lr if place.backbone else 1.0
                decay = recipe.weight_decay * scale if place.decays else 0.0
                groups.setdefault((share, decay, place.bias), []).append(parameter)
    return [
        {"params": params, "share": share, "weight_decay": decay, "bias": bias}
        for (share, decay, bias), params in groups.items()
    ]


class Place(NamedTuple):
    """The group of a parameter."""

    decays: bool
    backbone: bool = False
    """Whether it has the backbone's share of the learning rate."""
    bias: bool = False
    """Whether it has the learning rate of biases."""


def _plain(name: str, parameter: nn.Parameter, of_norm: bool) -> Place:
    """Ours: weights with two or more dimensions decay; the backbone has its own rate."""
    return Place(not of_norm and parameter.ndim >= 2, ".backbone." in f".{name}")


def _yolo(name: str, parameter: nn.Parameter, of_norm: bool) -> Place:
    """YOLOX, YOLOv7, YOLO11, YOLO26: weights decay; norms, biases and what is neither (YOLOv7's implicit knowledge) do
    not, and biases have a rate of their own.
    """
    last = name.rpartition(".")[2]
    return Place(last == "weight" and not of_norm, bias=last == "bias")


def _damo(name: str, parameter: nn.Parameter, of_norm: bool) -> Place | None:
    """DAMO-YOLO: the same; its optimizer is given weights and biases only, so that the scales of the head stay 1."""
    return None if name.rpartition(".")[2] not in ("weight", "bias") else _yolo(name, parameter, of_norm)


def _detr(name: str, parameter: nn.Parameter, of_norm: bool) -> Place:
    """RT-DETRv2 m, l, x: the backbone has its own rate, the norms behind it no decay; biases decay."""
    backbone = ".backbone." in f".{name}"
    return Place(backbone or not of_norm, backbone and not of_norm)


def _detr_norms(name: str, parameter: nn.Parameter, of_norm: bool) -> Place:
    """RT-DETRv2 s: everything but norms decays, biases too."""
    return Place(not of_norm)


GROUPS: dict[str, Callable[[str, nn.Parameter, bool], Place | None]] = {
    "plain": _plain, "yolo": _yolo, "damo": _damo, "detr": _detr, "detr-norms": _detr_norms,
}  # fmt: skip
"""Name to function of a parameter's name, itself and whether it is a norm's; None leaves it untrained."""


def build_optimizer(task: nn.Module, recipe: TrainRecipe) -> torch.optim.Optimizer:
    """The recipe's optimizer for all trainable parameters of ``task``."""
    groups = parameter_groups(task, recipe)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, 0.999))
    if recipe.optimizer == "muon":
        return MuonSGD(groups, lr=recipe.lr, momentum=recipe.momentum)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


def set_lr(
    optimizer: torch.optim.Optimizer, rate: float, bias_rate: float | None = None, momentum: float | None = None
) -> None:
    """Give every group its share of ``rate``, biases of ``bias_rate``, and SGD and Muon their ``momentum``."""
    for group in optimizer.param_groups:
        own = bias_rate if bias_rate is not None and group.get("bias") else rate
        group["lr"] = own * group["share"]
        if momentum is not None and "momentum" in group:
            group["momentum"] = momentum
