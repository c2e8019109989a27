"""Weights of distillation losses: by their share of the gradient, and by the progress of training.

Losses of different methods differ by orders of magnitude, and what a weight of 1 means depends on channels, input
size and family. What the student's features receive is the gradient, so a loss is weighted such that the norm of its
gradient is a given share of that of the detector's own loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workbench.checks import check_int, check_number
from workbench.errors import BadInput
from zoo.learning.batch_share import sum_over_batch
from zoo.learning.targets import Phase

PROBE_SCALE = 1024.0
"""Factor of losses while gradients are measured: those of float16 networks would underflow without it."""
MAX_WEIGHT = 1e4
"""Upper bound of a weight, for losses that are almost 0."""
MAX_RATIO = 4.0
"""Upper bound of a smoothed weight over the weight of the last measurement."""
WARMUP_CALLS = 16
"""Gradients are measured in each of the first calls, while the student changes fastest."""
MEASUREMENTS_PER_INTERVAL, MAX_DOUBLINGS = 32, 3
"""The interval between measurements doubles after this number of them, at most this number of times."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The weight of distillation over a run: a cosine from ``start`` to ``end``, then 0 for the last part, ``tail``.

    The defaults are DAMO-YOLO's (Xu et al. 2022): from 1 to 0.1, and 16 of 300 epochs without a teacher.
    """

    start: float = 1.0
    end: float = 0.1
    tail: float = 16 / 300

    def __post_init__(self) -> None:
        check_number("start", self.start)
        check_number("end", self.end)
        check_number("tail", self.tail, 0, 1)

    def factor(self, progress: float) -> float:
        """The factor at ``progress`` (0 to 1) of the steps; 0 in the tail, where no teacher is needed."""
        tail_start = 1 - self.tail
        if progress >= tail_start and self.tail > 0:
            return 0.0
        return self.end + (self.start - self.end) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress / tail_start)))


CONSTANT = Schedule(1.0, 1.0, 0.0)
"""The same weight from the first step to the last."""


class Balance(nn.Module):
    """Weights of named distillation losses.

    Gradients are measured in the first calls and then in every ``every``-th, less often in long runs (``measures_at``).
    Both norms are averaged exponentially and the weight is their ratio: a batch whose loss is almost 0 hardly changes
    it, which an average of weights would. All state is in buffers, so a resumed run continues with the same bits.

    Args:
        shares: for every balanced loss, the norm of its gradient over that of the detector's own loss, both with
            respect to the student's levels together.
        fixed: plain weights of the other losses.
        momentum: weight of the past in the averages. With 0.9 the weights of a run of a few hundred steps were
            still those of its first steps.
    """

    def __init__(
        self,
        shares: Mapping[str, float],
        fixed: Mapping[str, float] | None = None,
        *,
        schedule: Schedule = CONSTANT,
        every: int = 32,
        momentum: float = 0.7,
    ) -> None:
        super().__init__()
        self.shares = {name: check_number(f"share of {name}", value, above=True) for name, value in shares.items()}
        self.fixed = {name: check_number(f"weight of {name}", value) for name, value in (fixed or {}).items()}
        for name in self.shares:
            if name in self.fixed:
                raise BadInput(f"{name!r} has a share and a fixed weight: give it one of the two")
        self.schedule, self.every = schedule, check_int("every", every)
        self.momentum = check_number("momentum", momentum, 0, 0.9999)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("measured", torch.zeros(len(self.shares), dtype=torch.int64))
        self.register_buffer("norms", torch.zeros(len(self.shares), 2, dtype=torch.float64))

    def weights(self) -> dict[str, float]:
        """The current weight of every loss, without the schedule; 0 for one that has not been measured yet."""
        norms, measured = self.get_buffer("norms").tolist(), self.get_buffer("measured").tolist()
        balanced = {
            name: min(share * own_norm / norm, MAX_WEIGHT) if count else 0.0
            for (name, share), (own_norm, norm), count in zip(self.shares.items(), norms, measured, strict=True)
        }
        return {**balanced, **self.fixed}

    def measures_at(self, call: int) -> bool:
        """Whether gradients are measured in that call, from 0 on. The interval grows with the number of calls."""
        doublings = min(MAX_DOUBLINGS, (call // (MEASUREMENTS_PER_INTERVAL * self.every)).bit_length())
        return call < WARMUP_CALLS or call % (self.every << doublings) == 0

    def forward(
        self, own: Tensor, losses: Mapping[str, Tensor], features: Sequence[Tensor], phase: Phase
    ) -> dict[str, Tensor]:
        """``losses`` times their weights.

        ``own`` is the detector's own total loss, ``features`` the student's levels.

        Gradients are measured in training mode with autograd only. Empty in the schedule's tail.
        """
        for name in losses:
            if name not in self.shares and name not in self.fixed:
                known = ", ".join([*self.shares, *self.fixed])
                raise BadInput(f"loss {name!r} has neither a share nor a fixed weight; known are {known}")
        factor = self.schedule.factor(phase.progress)
        if factor == 0:
            return {}
        if self.training and torch.is_grad_enabled():
            calls = self.get_buffer("calls")
            call = int(calls)
            calls += 1
            if self.measures_at(call):
                self._measure(own, losses, features)
        weights = self.weights()
        return {name: value * (weights[name] * factor) for name, value in losses.items()}

    def _measure(self, own: Tensor, losses: Mapping[str, Tensor], features: Sequence[Tensor]) -> None:
        names = [name for name in self.shares if name in losses]
        if not names:
            return
        own_norm = gradient_norm(own, features)
        norms, measured = self.get_buffer("norms"), self.get_buffer("measured")
        for name in names:
            norm = gradient_norm(losses[name], features)
            # a zero gradient gives no ratio; an overflow is left to the loop
            if not (0 < own_norm < math.inf and 0 < norm < math.inf):
                continue
            row = list(self.shares).index(name)
            count = int(measured[row])
            momentum = min(self.momentum, count / (count + 1))
            mean_own_norm, mean_norm = (
                momentum * float(past) + (1 - momentum) * now
                for past, now in zip(norms[row].tolist(), (own_norm, norm), strict=True)
            )
            lower = norm / own_norm * mean_own_norm / MAX_RATIO
            norms[row] = torch.tensor([mean_own_norm, max(mean_norm, lower)], dtype=torch.float64)
            measured[row] = count + 1


def gradient_norm(loss: Tensor, features: Sequence[Tensor]) -> float:
    """Norm of the gradient of ``loss`` with respect to all ``features`` together, over all images of the batch.

    0 where the loss does not depend on them.
    """
    inputs = [x for x in features if x.requires_grad]
    if not loss.requires_grad or not inputs:
        return 0.0
    grads = torch.autograd.grad(loss * PROBE_SCALE, inputs, retain_graph=True, allow_unused=True)
    squares = [grad.double().square().sum() for grad in grads if grad is not None]
    return math.sqrt(float(sum_over_batch(torch.stack(squares).sum()))) / PROBE_SCALE if squares else 0.0
