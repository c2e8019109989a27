"""CWD: channel-wise distillation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from distill.teach.features.base import FeatureMethod
from distill.teach.standardize import channel_means, standardize_with_scale
from workbench.checks import check_number
from zoo.learning.batch_share import batch_shares
from zoo.learning.targets import Targets

CACHED_NUMBERS = 2**17
"""Numbers of a float32 map that fit into a CPU's L2 cache together with the intermediate results."""
SAFE_EXPONENT = 70.0
"""exp of it, times the positions of any map, is finite in float32."""


class ChannelWise(FeatureMethod):
    """CWD (Shu et al. 2021): every channel is a distribution over positions, and the student matches the teacher's.

    Kullback-Leibler divergence of the softmax over positions, times the temperature squared, as a mean over channels.
    With ``standardize``, as in DAMO-YOLO (Xu et al. 2022), channels are brought to variance 1 first; without it this is
    the formula of the paper.
    """

    def __init__(
        self,
        student_channels: Sequence[int],
        teacher_channels: Sequence[int],
        temperature: float = 1.0,
        standardize: bool = True,
    ) -> None:
        super().__init__(student_channels, teacher_channels, bias=False)
        self.temperature = check_number("temperature", temperature, above=True)
        self.standardize = standardize

    def level_loss(
        self, level: int, student: Tensor, teacher: Tensor, targets: Targets, size: tuple[int, int]
    ) -> Tensor:
        divergence: Tensor = _ChannelDivergence.apply(student, teacher, self.temperature, self.standardize)
        return divergence


class _ChannelDivergence(torch.autograd.Function):
    """The formula of ``ChannelWise`` for maps ``[b, c, h, w]`` of one level.

    The gradient is calculated in the forward pass; not twice differentiable. Channels are independent, so a CPU takes a
    few at a time: all passes but the first then read from its cache.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, temperature: float, standardize: bool) -> Tensor:
        b, c, h, w = student.shape
        # several processes would have to synchronize for every chunk
        whole = batch_shares() > 1 or student.device.type != "cpu"
        chunk = c if whole else max(1, CACHED_NUMBERS * c // student.numel())
        # largest possible value of a standardized channel: one position differs and all others are equal
        largest = math.sqrt(batch_shares() * b * h * w) / temperature if standardize else math.inf
        grads, loss = [], student.new_zeros(())
        for low in range(0, c, chunk):
            x, y, scale = student[:, low : low + chunk], teacher[:, low : low + chunk], None
            if standardize:
                (x, scale), (y, _) = standardize_with_scale(x), standardize_with_scale(y)
            logits, goal = (m.flatten(2) if temperature == 1 else m.flatten(2) / temperature for m in (x, y))
            (probs, log_sum), (goal_probs, goal_log_sum) = _softmax(logits, largest), _softmax(goal, largest)
            # reuse memory that the cache already holds; only standardized maps are our own to overwrite
            difference = torch.sub(goal, logits, out=None if scale is None else goal)
            loss += torch.vdot(difference.flatten(), goal_probs.flatten()) + (log_sum - goal_log_sum).sum()
            grad = probs.sub_(goal_probs).view_as(x)
            if scale is not None:
                # the gradient sums to 0 over the positions of a channel, so its mean need not be subtracted
                means = channel_means(torch.mul(grad, x, out=goal_probs.view_as(x)))
                grad.addcmul_(x, means, value=-1).mul_(scale)
            grads.append(grad)
        ctx.save_for_backward(*grads)
        ctx.weight = temperature / (b * c)
        return loss * (temperature**2 / (b * c))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        chunks, weight = ctx.saved_tensors, grads[0] * ctx.weight
        channels = [chunk.shape[1] for chunk in chunks]
        b, _, h, w = chunks[0].shape
        gradient = chunks[0].new_empty(b, sum(channels), h, w)
        for chunk, part in zip(chunks, gradient.split(channels, 1), strict=True):
            torch.mul(chunk, weight, out=part)
        return gradient, None, None, None


def _softmax(x: Tensor, largest: float) -> tuple[Tensor, Tensor]:
    """The softmax of ``x`` ``[b, c, n]``, whose values are at most ``largest``, and its log-sum-exp ``[b, c, 1]``.

    On a CPU torch's own softmax takes 1.5 times as long as these passes, and gives no log-sum-exp.
    """
    safe = largest <= SAFE_EXPONENT
    top = x.new_zeros(()) if safe else x.amax(-1, keepdim=True)
    powers = x.exp() if safe else (x - top).exp_()
    sums = powers.sum(-1, keepdim=True)
    return powers.mul_(sums.reciprocal()), sums.log_().add_(top)
