"""Feature distillation: a student's P3 to P5 learn from a teacher's. One class a method, each with its own learners.

A method is made with the channels of both sides and called with both sides' maps, the true boxes and the student's input
size; it gives one number, a sum over levels of means over images, in float32 whatever the networks calculate in (aligners
to a teacher in half precision may multiply rounded numbers). No gradient reaches the teacher; aligners, generators and
context blocks are submodules and train with the student.
"""

from __future__ import annotations

import abc
import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from distill.teach.align import Aligner, means, standardise, standardised
from workbench.checks import check_number, check_options
from workbench.errors import BadInput, unknown_name
from zoo.learning.batch_share import batch_shares, sample_for_batch
from zoo.learning.targets import Targets

CONTEXT_STD = 0.01
"""Spread of the last weights of a fresh context block."""
CACHED_NUMBERS = 2**17
"""So many numbers of a map, in single precision, lie in a CPU's cache (L2) together with what is made of them."""
SAFE_POWER = 70.0
"""e to that power, times the places of any map, is a number of single precision."""


class FeatureMethod(nn.Module, abc.ABC):
    """What the methods share: aligners, precision, the sum over levels. ``sees_means``: whether the mean of a channel matters."""

    def __init__(self, student_channels: Sequence[int], teacher_channels: Sequence[int], sees_means: bool = True) -> None:
        super().__init__()
        self.align = Aligner(student_channels, teacher_channels, bias=sees_means)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], targets: Targets, size: tuple[int, int]) -> Tensor:
        """The loss of maps ``[b, c, h, w]``, a level each; true boxes are in pixels of an input of ``size`` (height, width)."""
        with torch.autocast(student[0].device.type, enabled=False):
            pairs = self.align(student, teacher)
            return torch.stack([self.of_level(i, ours, theirs, targets, size) for i, (ours, theirs) in enumerate(pairs)]).sum() / batch_shares()

    @abc.abstractmethod
    def of_level(self, level: int, student: Tensor, teacher: Tensor, targets: Targets, size: tuple[int, int]) -> Tensor:
        """The loss of one level from two maps ``[b, c, h, w]`` of one shape, as a mean over images."""


class ChannelWise(FeatureMethod):
    """CWD (Shu et al. 2021): every channel is a distribution over places, and the student's follows the teacher's.

    Kullback-Leibler divergence of the softmax over places, times the temperature squared, as a mean over channels. With
    ``standardise``, as DAMO-YOLO has it (Xu et al. 2022), channels are brought to variance 1 first: their own spread is their
    temperature then. Without it this is the paper's formula.
    """

    def __init__(
        self, student_channels: Sequence[int], teacher_channels: Sequence[int], temperature: float = 1.0, standardise: bool = True
    ) -> None:
        super().__init__(student_channels, teacher_channels, sees_means=False)
        self.temperature = check_number("temperature", temperature, above=True)
        self.standardise = standardise

    def of_level(self, level: int, student: Tensor, teacher: Tensor, targets: Targets, size: tuple[int, int]) -> Tensor:
        apart: Tensor = _ChannelDivergence.apply(student, teacher, self.temperature, self.standardise)
        return apart


class _ChannelDivergence(torch.autograd.Function):
    """The formula of ``ChannelWise`` for maps ``[b, c, h, w]`` of one level. Its gradient is found with it; there is none for the second.

    No channel needs to know of another, so on a CPU a few are taken at a time: all passes over them but the first then find them in its cache.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, temperature: float, standardised_first: bool) -> Tensor:
        b, c, h, w = student.shape
        # several processes would have to meet for every few channels
        few = c if batch_shares() > 1 or student.device.type != "cpu" else max(1, CACHED_NUMBERS * c // student.numel())
        # the number of a standardised channel's place that differs where all others are alike; there is no larger one
        most = math.sqrt(batch_shares() * b * h * w) / temperature if standardised_first else math.inf
        slopes, found = [], student.new_zeros(())
        for low in range(0, c, few):
            ours, theirs, scale = student[:, low : low + few], teacher[:, low : low + few], None
            if standardised_first:
                (ours, scale), (theirs, _) = standardise(ours), standardise(theirs)
            own, goal = (x.flatten(2) if temperature == 1 else x.flatten(2) / temperature for x in (ours, theirs))
            (chances, own_log), (wanted, goal_log) = _softmax(own, most), _softmax(goal, most)
            # what is not needed any more gives its place, which the cache has: standardised maps are our own, others are not
            apart = torch.sub(goal, own, out=None if scale is None else goal)
            found += torch.vdot(apart.flatten(), wanted.flatten()) + (own_log - goal_log).sum()
            slope = chances.sub_(wanted).view_as(ours)
            if scale is not None:
                # the slope is 0 on average over the places of each channel, so its mean has not to be taken off
                slope.addcmul_(ours, means(torch.mul(slope, ours, out=wanted.view_as(ours))), value=-1).mul_(scale)
            slopes.append(slope)
        ctx.save_for_backward(*slopes)
        ctx.weight = temperature / (b * c)
        return found * (temperature**2 / (b * c))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        slopes, weight = ctx.saved_tensors, grads[0] * ctx.weight
        b, _, h, w = slopes[0].shape
        gradient = slopes[0].new_empty(b, sum(one.shape[1] for one in slopes), h, w)
        for slope, part in zip(slopes, gradient.split([one.shape[1] for one in slopes], 1), strict=True):
            torch.mul(slope, weight, out=part)
        return gradient, None, None, None


def _softmax(x: Tensor, most: float) -> tuple[Tensor, Tensor]:
    """The softmax of ``x`` ``[b, c, n]``, whose numbers are at most ``most``, and the logarithm of the sum of their powers of e ``[b, c, 1]``.

    On a CPU torch's own softmax takes half as long again as these passes, and the logarithm would have to be found besides.
    """
    safe = most <= SAFE_POWER
    top = x.new_zeros(()) if safe else x.amax(-1, keepdim=True)
    powers = x.exp() if safe else (x - top).exp_()
    sums = powers.sum(-1, keepdim=True)
    return powers.mul_(sums.reciprocal()), sums.log_().add_(top)


class MaskedGenerative(FeatureMethod):
    """MGD (Yang et al. 2022): from the student's map with places left out, two trained convolutions restore the teacher's.

    ``weight`` (the paper's alpha) times the squared distance, summed over channels and places. ``masked`` (lambda) is the
    share of places left out, drawn anew each time from torch's global generator. ``standardise`` as in ``ChannelWise``.
    """

    def __init__(
        self, student_channels: Sequence[int], teacher_channels: Sequence[int], weight: float = 2e-5, masked: float = 0.65,
        standardise: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(student_channels, teacher_channels, sees_means=not standardise)
        if not 0 <= masked < 1:
            raise BadInput(f"masked {masked!r}: the share of places left out must be 0 or more and less than 1")
        self.weight, self.masked, self.standardise = check_number("weight", weight, above=True), masked, standardise
        self.generators = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, c, 3, padding=1)) for c in teacher_channels
        )

    def of_level(self, level: int, student: Tensor, teacher: Tensor, targets: Targets, size: tuple[int, int]) -> Tensor:
        if self.standardise:
            student, teacher = standardised(student), standardised(teacher)
        b, _, h, w = student.shape
        kept = sample_for_batch(lambda n: torch.rand(n, 1, h, w, device=student.device), b) >= self.masked
        return self.weight * (self.generators[level](student * kept) - teacher).square().sum() / b


class Mimic(FeatureMethod):
    """Mimicking (Li et al. 2017): half the squared distance of aligned maps, as a mean over channels and places.

    On standardised maps this would be PKD, which is why there is no such choice here.
    """

    def __init__(self, student_channels: Sequence[int], teacher_channels: Sequence[int]) -> None:
        super().__init__(student_channels, teacher_channels)

    def of_level(self, level: int, student: Tensor, teacher: Tensor, targets: Targets, size: tuple[int, int]) -> Tensor:
        return (student - teacher).square().mean() / 2


class Pearson(FeatureMethod):
    """PKD (Cao et al. 2022): one minus Pearson's correlation of every channel over all images and places, as a mean over channels.

    It does not care how large either side's features are, nor about their means.
    """

    def __init__(self, student_channels: Sequence[int], teacher_channels: Sequence[int]) -> None:
        super().__init__(student_channels, teacher_channels, sees_means=False)

    def of_level(self, level: int, student: Tensor, teacher: Tensor, targets: Targets, size: tuple[int, int]) -> Tensor:
        return (standardised(student) - standardised(teacher)).square().mean() / 2


class FocalGlobal(FeatureMethod):
    """FGD (Yang et al. 2022): true boxes and their background apart, weighted by what the teacher attends to, and the
    relation of all places to one another.

    ``foreground``, ``background``, ``attention`` and ``context`` are the paper's alpha, beta, gamma and lambda with its
    values for anchor-free detectors. Both networks' context blocks train. They start as copies of each other, with little
    weight, so that identical features cost nothing and all of their layers learn from the first step on (the authors
    start the last layer at 0, which holds back the others).
    """

    def __init__(
        self, student_channels: Sequence[int], teacher_channels: Sequence[int], temperature: float = 0.5, foreground: float = 1.6e-3,
        background: float = 8e-4, attention: float = 8e-4, context: float = 8e-6,
    ) -> None:  # fmt: skip
        super().__init__(student_channels, teacher_channels)
        self.temperature = check_number("temperature", temperature, above=True)
        self.foreground, self.background = check_number("foreground", foreground), check_number("background", background)
        self.attention, self.context = check_number("attention", attention), check_number("context", context)
        self.student_contexts = nn.ModuleList(GlobalContext(c) for c in teacher_channels)
        self.teacher_contexts = copy.deepcopy(self.student_contexts)

    def of_level(self, level: int, student: Tensor, teacher: Tensor, targets: Targets, size: tuple[int, int]) -> Tensor:
        b, _, h, w = student.shape
        places, channels = self._attention(teacher)
        own_places, own_channels = self._attention(student)
        inside = box_shares(targets, h, w, size)
        outside = (inside == 0).to(inside.dtype)
        outside = outside / outside.sum((1, 2), keepdim=True).clamp(min=1)
        apart = ((student - teacher).square() * channels[..., None, None]).sum(1) * places
        focal = self.foreground * (apart * inside).sum() + self.background * (apart * outside).sum()
        seen = (own_places - places).abs().sum() + (own_channels - channels).abs().sum()
        related = (self.student_contexts[level](student) - self.teacher_contexts[level](teacher)).square().sum()
        return (focal + self.attention * seen + self.context * related) / b

    def _attention(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """How much each place ``[b, h, w]`` and each channel ``[b, c]`` counts; both are 1 on average."""
        b, c, h, w = x.shape
        size = x.abs()
        places = (size.mean(1).flatten(1) / self.temperature).softmax(1).reshape(b, h, w) * (h * w)
        return places, (size.mean((2, 3)) / self.temperature).softmax(1) * c


class GlobalContext(nn.Module):
    """A map plus what its places have in common (GcNet, Cao et al. 2019): ``[b, c, h, w]`` to the same."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(c, 1, 1, bias=False)
        self.narrow = nn.Linear(c, max(c // 2, 1))
        self.norm = nn.LayerNorm(max(c // 2, 1))
        self.widen = nn.Linear(max(c // 2, 1), c)
        nn.init.normal_(self.widen.weight, std=CONTEXT_STD)
        nn.init.zeros_(self.widen.bias)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.look(x).flatten(2).softmax(-1)
        common = (x.flatten(2) * weights).sum(-1)
        return x + self.widen(self.norm(self.narrow(common)).relu())[..., None, None]


def box_shares(targets: Targets, h: int, w: int, size: tuple[int, int]) -> Tensor:
    """``[b, h, w]``: one over the number of cells that an object touches, in those cells, and 0 elsewhere.

    Where objects overlap, the one with the fewest cells counts. ``size`` is the input's (height, width) in pixels.
    """
    found = []
    for boxes in targets.boxes:
        cells = boxes.float() / boxes.new_tensor([size[1] / w, size[0] / h] * 2)
        columns = _touched(cells[:, 0], cells[:, 2], w)
        rows = _touched(cells[:, 1], cells[:, 3], h)
        share = 1 / (columns.sum(1) * rows.sum(1)).clamp(min=1)
        maps = rows[:, :, None] * columns[:, None] * share[:, None, None]
        found.append(torch.cat([maps, maps.new_zeros(1, h, w)]).amax(0))
    return torch.stack(found)


def _touched(low: Tensor, high: Tensor, count: int) -> Tensor:
    """Which of ``count`` cells an interval from ``low`` to ``high`` (in cells) touches: 0 or 1, ``[m, count]``."""
    starts = torch.arange(count, device=low.device, dtype=low.dtype)
    return ((starts + 1 > low[:, None]) & (starts < high[:, None])).to(low.dtype)


FEATURE_METHODS: dict[str, type[FeatureMethod]] = {
    "cwd": ChannelWise,
    "mgd": MaskedGenerative,
    "mimic": Mimic,
    "pkd": Pearson,
    "fgd": FocalGlobal,
}
"""Method name to its class."""


def make_feature_method(
    name: str, student_channels: Sequence[int], teacher_channels: Sequence[int], options: Mapping[str, Any] | None = None
) -> FeatureMethod:
    """The method of that name; an unknown name or option is refused."""
    if name not in FEATURE_METHODS:
        raise unknown_name("feature distillation", name, FEATURE_METHODS)
    method = FEATURE_METHODS[name]
    check_options(name, method, options or {}, given=2)
    return method(student_channels, teacher_channels, **(options or {}))
