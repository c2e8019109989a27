"""Optimizers, their parameter groups, and the learning rate as a function of the step alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from distill.train.recipe import TrainRecipe

MAX_WARMUP = 0.1
"""Largest share of all steps for warm-up: short runs shorten it."""
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
    """Trainable parameters with their weight decay and their share of the learning rate (``share``)."""
    norms = [module for module in task.modules() if isinstance(module, BATCH_NORMS)]
    no_decay = {id(parameter) for norm in norms for parameter in norm.parameters(recurse=False)}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in task.named_parameters():
        if parameter.requires_grad:
            share = recipe.backbone_lr if ".backbone." in f".{name}" else 1.0
            decay = 0.0 if id(parameter) in no_decay or parameter.ndim < 2 else recipe.weight_decay
            groups.setdefault((share, decay), []).append(parameter)
    return [{"params": params, "share": share, "weight_decay": decay} for (share, decay), params in groups.items()]


def build_optimizer(task: nn.Module, recipe: TrainRecipe) -> torch.optim.Optimizer:
    """The recipe's optimizer for all trainable parameters of ``task``."""
    groups = parameter_groups(task, recipe)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, 0.999))
    if recipe.optimizer == "muon":
        return MuonSGD(groups, lr=recipe.lr, momentum=recipe.momentum)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


def set_lr(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of ``rate``."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]


def lr_factor(step: int, steps: int, warmup_steps: int, final: float) -> float:
    """Share of the learning rate at ``step`` (from 0) of ``steps``: linear warm-up, then a cosine down to ``final``."""
    warm = min(warmup_steps, int(steps * MAX_WARMUP))
    if step < warm:
        return (step + 1) / (warm + 1)
    done = min(1.0, (step - warm) / max(1, steps - warm))
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))
