"""How much each distillation loss counts: by its share of the gradient rather than by its size, and by how far training is.

Losses of different methods differ by powers of ten, and what a weight of 1 means changes with channels, input size and
family. What the student's features feel is the gradient, so a weight here is what holds a loss's gradient at a stated
share of the gradient of the detector's own loss.
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
"""Losses are multiplied by it while gradients are measured: those of float16 networks would vanish else."""
MOST_WEIGHT = 1e4
"""A loss that is all but fulfilled is not multiplied by more than this."""
LEASH = 4.0
"""A smoothed weight is at most so many times what the last measurement asks for."""
EAGER = 16
"""Gradients are measured on each of the first so many calls, while the student moves fastest."""
SETTLING, RARER = 32, 3
"""After so many measurements at one distance the next ones are twice as far apart; so many times."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How much distillation counts over a run: a cosine from ``start`` to ``end``, then nothing for the last part, ``tail``.

    The defaults are DAMO-YOLO's (Xu et al. 2022): from 1 to 0.1, and 16 of 300 epochs without a teacher.
    """

    start: float = 1.0
    end: float = 0.1
    tail: float = 16 / 300

    def __post_init__(self) -> None:
        check_number("start", self.start)
        check_number("end", self.end)
        check_number("tail", self.tail, 0, 1)

    def share(self, progress: float) -> float:
        """What distillation counts when ``progress`` (0 to 1) of the steps are done; 0 in the tail, where no teacher is needed."""
        until = 1 - self.tail
        if progress >= until and self.tail > 0:
            return 0.0
        return self.end + (self.start - self.end) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress / until)))


CONSTANT = Schedule(1.0, 1.0, 0.0)
"""The same from the first step to the last."""


class Balance(nn.Module):
    """Weighs named distillation losses.

    ``shares`` gives, for every loss that balances itself, the share of the own loss's gradient norm that its gradient is to
    have, with respect to the student's P3 to P5 together; ``fixed`` gives plain weights for the others. Gradients
    are measured on the first calls and then on every ``every``-th, in long runs more rarely (``measures``). Both norms are averaged, with ``memory`` as the share that the
    past keeps, and the weight follows from the averages: a batch that teaches next to nothing hardly changes them, where an average of
    weights would remember how many times it had to be multiplied. With a memory of 0.9 the weights of a run of a few hundred steps
    were still those of its first steps. All of this state is in buffers, so a resumed run goes on to the same bits.
    """

    def __init__(
        self, shares: Mapping[str, float], fixed: Mapping[str, float] | None = None, *, schedule: Schedule = CONSTANT, every: int = 32,
        memory: float = 0.7,
    ) -> None:  # fmt: skip
        super().__init__()
        self.shares = {name: check_number(f"share of {name}", value, above=True) for name, value in shares.items()}
        self.fixed = {name: check_number(f"weight of {name}", value) for name, value in (fixed or {}).items()}
        for name in self.shares:
            if name in self.fixed:
                raise BadInput(f"{name!r} has a share and a fixed weight: give it one of the two")
        self.schedule, self.every, self.memory = schedule, check_int("every", every), check_number("memory", memory, 0, 0.9999)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("measured", torch.zeros(len(self.shares), dtype=torch.int64))
        self.register_buffer("norms", torch.zeros(len(self.shares), 2, dtype=torch.float64))

    def weights(self) -> dict[str, float]:
        """The weight of every loss now, schedule left aside; 0 for one that has not been measured yet."""
        norms, measured = self.get_buffer("norms").tolist(), self.get_buffer("measured").tolist()
        found = {
            name: min(share * goal / norm, MOST_WEIGHT) if count else 0.0
            for (name, share), (goal, norm), count in zip(self.shares.items(), norms, measured, strict=True)
        }
        return {**found, **self.fixed}

    def measures(self, call: int) -> bool:
        """Whether gradients are measured on that call, from 0 on: what changes within a few hundred steps at first takes thousands later."""
        return call < EAGER or call % (self.every << min(RARER, (call // (SETTLING * self.every)).bit_length())) == 0

    def forward(self, own: Tensor, losses: Mapping[str, Tensor], features: Sequence[Tensor], phase: Phase) -> dict[str, Tensor]:
        """``losses`` with their weights; ``own`` is the sum of the detector's own, ``features`` the student's P3 to P5.

        Measures only in training and where gradients are recorded. Empty in the schedule's tail.
        """
        for name in losses:
            if name not in self.shares and name not in self.fixed:
                raise BadInput(f"loss {name!r} has neither a share nor a fixed weight; known are {', '.join([*self.shares, *self.fixed])}")
        share = self.schedule.share(phase.progress)
        if share == 0:
            return {}
        if self.training and torch.is_grad_enabled():
            calls = self.get_buffer("calls")
            number_of_call = int(calls)
            calls += 1
            if self.measures(number_of_call):
                self._measure(own, losses, features)
        weights = self.weights()
        return {name: value * (weights[name] * share) for name, value in losses.items()}

    def _measure(self, own: Tensor, losses: Mapping[str, Tensor], features: Sequence[Tensor]) -> None:
        names = [name for name in self.shares if name in losses]
        if not names:
            return
        goal = gradient_norm(own, features)
        norms, measured = self.get_buffer("norms"), self.get_buffer("measured")
        for name in names:
            norm = gradient_norm(losses[name], features)
            # nothing to compare: a batch that teaches nothing, or numbers that overflowed and that the loop will see
            if not (0 < goal < math.inf and 0 < norm < math.inf):
                continue
            at = list(self.shares).index(name)
            count = int(measured[at])
            kept = min(self.memory, count / (count + 1))
            mean_goal, mean_norm = (kept * float(before) + (1 - kept) * now for before, now in zip(norms[at].tolist(), (goal, norm), strict=True))
            norms[at] = torch.tensor([mean_goal, max(mean_norm, norm / goal * mean_goal / LEASH)], dtype=torch.float64)
            measured[at] = count + 1


def gradient_norm(loss: Tensor, features: Sequence[Tensor]) -> float:
    """Norm of the gradient of ``loss`` with respect to all ``features`` of the batch together; 0 where it does not depend on them."""
    wanted = [one for one in features if one.requires_grad]
    if not loss.requires_grad or not wanted:
        return 0.0
    found = torch.autograd.grad(loss * PROBE_SCALE, wanted, retain_graph=True, allow_unused=True)
    squares = [one.double().square().sum() for one in found if one is not None]
    return math.sqrt(float(sum_over_batch(torch.stack(squares).sum()))) / PROBE_SCALE if squares else 0.0
