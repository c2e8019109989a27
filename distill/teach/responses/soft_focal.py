"""The soft focal loss of scores against soft goals."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MIN_SCORE = 1e-12
"""Scores are clamped to it before a logarithm."""


def soft_focal(scores: Tensor, goals: Tensor, beta: float) -> Tensor:
    """Per score in 0..1: cross entropy to its goal minus the goal's entropy, times ``|score - goal|`` ** ``beta``.

    Takes scores rather than logits because those of some families are products of two.
    """
    loss: Tensor = _SoftFocal.apply(scores, goals, beta)
    return loss


class _SoftFocal(torch.autograd.Function):
    """Its gradient, to the scores alone, needs half the passes that autograd would take. Not twice differentiable."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, goals: Tensor, beta: float) -> Tensor:
        p, q = _probabilities(scores)
        goal_p, goal_q = _probabilities(goals)
        # cross entropy minus entropy of the goal: g log(g / s) + (1 - g) log((1 - g) / (1 - s))
        divergence = goal_p.div_(p).log_().mul_(goals).add_(goal_q.div_(q).log_().mul_(1 - goals))
        difference = scores - goals
        ctx.save_for_backward(p, q, divergence, difference)
        ctx.beta = beta
        return difference.abs().pow_(beta).mul_(divergence)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        p, q, divergence, difference = ctx.saved_tensors
        distance = difference.abs()
        power = distance.pow(ctx.beta - 1)
        # derivative of the cross entropy: (s - g) / (s (1 - s)); of the power: beta |s - g|^(beta - 1)
        grad = (difference / p).div_(q).mul_(distance).mul_(power)
        power_grad = power.mul_(divergence).mul_(difference.sign())
        return grad.add_(power_grad, alpha=ctx.beta).mul_(grads[0]), None, None


def _probabilities(x: Tensor) -> tuple[Tensor, Tensor]:
    """``x`` and 1 - ``x``, both clamped so that their logarithms are finite."""
    return x.clamp(min=MIN_SCORE), (1 - x).clamp_(min=torch.finfo(x.dtype).eps)
