"""Brings a student's maps and a teacher's to one shape, level by level: channels by a trained 1x1 convolution, places by averaging."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from workbench.errors import BadInput
from zoo.learning.batch_share import batch_shares, sum_over_batch
from zoo.learning.losses import to_float32

STANDARD_EPS = 1e-5
"""Added to a channel's variance before its root is divided by."""


class Aligner(nn.Module):
    """P3 to P5 of a student as their teacher's: its number of channels, and both at the same places.

    Both networks see the same view of an image, perhaps at another size. The finer of two maps is averaged over the
    cells of the coarser one, whichever it is: nothing is made up between cells, and every cell of the student gets
    a gradient. The convolution starts as the identity where channels are as many on both sides, so that a
    network is at distance 0 from its own copy. ``bias`` is for losses that see a channel's mean; to others it would be
    a weight that never trains.
    """

    def __init__(self, student_channels: Sequence[int], teacher_channels: Sequence[int], bias: bool = True) -> None:
        super().__init__()
        if len(student_channels) != len(teacher_channels) or not student_channels:
            raise BadInput(f"the student has {len(student_channels)} levels and the teacher {len(teacher_channels)}: both need the same, at least one")
        for who, channels in (("student", student_channels), ("teacher", teacher_channels)):
            if min(channels) < 1:
                raise BadInput(f"channels {list(channels)} of the {who}: every level needs at least 1")
        self.student_channels, self.teacher_channels = tuple(student_channels), tuple(teacher_channels)
        self.rounds = False
        """Whether products may be rounded, see ``Mix``: for a teacher whose own maps are."""
        self.levels = nn.ModuleList(Mix(cin, cout, 1, bias=bias) for cin, cout in zip(student_channels, teacher_channels, strict=True))
        for conv in self.levels:
            assert isinstance(conv, Mix)
            if conv.in_channels == conv.out_channels:
                nn.init.dirac_(conv.weight)
                if conv.bias is not None:
                    nn.init.zeros_(conv.bias)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Pairs ``[b, c, h, w]`` of student and teacher, a level each, in float32; the teacher's have no gradient."""
        self._check("student", student, self.student_channels)
        self._check("teacher", teacher, self.teacher_channels)
        pairs = []
        with torch.autocast(student[0].device.type, enabled=False):
            for conv, ours, theirs in zip(self.levels, student, teacher, strict=True):
                if len(ours) != len(theirs):
                    raise BadInput(f"the student has maps of {len(ours)} images and the teacher of {len(theirs)}: both must see the same batch")
                h, w = (min(a, b) for a, b in zip(ours.shape[-2:], theirs.shape[-2:], strict=True))
                pairs.append((conv(averaged(to_float32(ours), h, w), self.rounds), averaged(constant(theirs), h, w)))
        return pairs

    @staticmethod
    def _check(who: str, maps: Sequence[Tensor], channels: Sequence[int]) -> None:
        found = [one.shape[1] for one in maps]
        if found != list(channels):
            raise BadInput(f"the {who}'s maps have {found} channels: these aligners were made for {list(channels)}")


class Mix(nn.Conv2d):
    """A 1 x 1 convolution. On a CPU as matrix products, which take half the time of torch's convolution where there are several threads."""

    def forward(self, x: Tensor, rounds: bool = False) -> Tensor:
        """``[b, cin, h, w]`` to ``[b, cout, h, w]``.

        With ``rounds`` the numbers that a CPU multiplies are rounded to bfloat16, as GPUs round those of convolutions to TF32; sums
        are in single precision.
        """
        if x.device.type != "cpu":
            return super().forward(x)
        found: Tensor = _Mixed.apply(x.flatten(2), self.weight.flatten(1), rounds)
        found = found.unflatten(2, x.shape[2:])
        return found if self.bias is None else found + self.bias[:, None, None]


class _Mixed(torch.autograd.Function):
    """``weight`` ``[o, c]`` times each ``x`` ``[b, c, n]``: image by image, or all in one where the weight is larger than one image."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, rounds: bool) -> Tensor:
        ctx.together, ctx.rounds = x.shape[2] < len(weight), rounds
        ctx.save_for_backward(x, weight)
        return _product(weight, x, ctx.together, rounds)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (x, weight), slope = ctx.saved_tensors, grads[0]
        into_x = into_weight = None
        if ctx.needs_input_grad[0]:
            into_x = _product(weight.T, slope, ctx.together, ctx.rounds)
        if ctx.needs_input_grad[1]:
            with _rounded(ctx.rounds):
                into_weight = _in_a_row(slope) @ _in_a_row(x).T if ctx.together else torch.bmm(slope, x.mT).sum(0)
        return into_x, into_weight, None


def _product(weight: Tensor, x: Tensor, together: bool, rounds: bool) -> Tensor:
    """``[o, c]`` times each ``[b, c, n]``."""
    with _rounded(rounds):
        if together:
            return (weight @ _in_a_row(x)).unflatten(1, (len(x), -1)).transpose(0, 1).contiguous()
        return torch.bmm(weight.expand(len(x), *weight.shape), x)


def _in_a_row(x: Tensor) -> Tensor:
    """``[b, c, n]`` as ``[c, b * n]``."""
    return x.transpose(0, 1).flatten(1)


@contextmanager
def _rounded(rounds: bool) -> Iterator[None]:
    """In here a CPU's matrix products take their numbers in bfloat16, if it ``rounds``."""
    if not rounds:
        yield
        return
    products = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before, products.fp32_precision = products.fp32_precision, "bf16"
    try:
        yield
    finally:
        products.fp32_precision = before


def constant(x: Tensor) -> Tensor:
    """``x`` in float32 and without a gradient, fit for autograd even if it was made in inference mode."""
    x = to_float32(x.detach())
    return x.clone() if x.is_inference() else x


def averaged(x: Tensor, h: int, w: int) -> Tensor:
    """``x`` ``[b, c, H, W]`` as means over the cells of a grid ``h`` x ``w``; a place that two cells share counts for both in part.

    Two matrix products, because torch's own pooling and resizing have no deterministic gradient on a GPU.
    """
    if x.shape[-2:] == (h, w):
        return x
    return shares(x.shape[-2], h, x) @ x @ shares(x.shape[-1], w, x).T


def shares(fine: int, coarse: int, like: Tensor) -> Tensor:
    """``[coarse, fine]``: what part of each coarse cell is covered by each fine one, where both divide the same length."""
    ends = torch.arange(coarse + 1, device=like.device, dtype=like.dtype) * (fine / coarse)
    starts = torch.arange(fine, device=like.device, dtype=like.dtype)
    covered = torch.minimum(ends[1:, None], starts + 1) - torch.maximum(ends[:-1, None], starts)
    covered = covered.clamp(min=0)
    return covered / covered.sum(1, keepdim=True)


def standardised(x: Tensor) -> Tensor:
    """``x`` ``[b, c, h, w]`` with mean 0 and variance 1 in every channel over all images of the batch and all places."""
    found: Tensor = _Standardised.apply(to_float32(x))
    return found


class _Standardised(torch.autograd.Function):
    """Its gradient takes half the passes over the maps that autograd's own way does. There is none for the second."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        found, scale = standardise(x)
        ctx.save_for_backward(found, scale)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        found, scale = ctx.saved_tensors
        return (grads[0] - means(grads[0])).addcmul_(found, means(grads[0] * found), value=-1).mul_(scale)


def standardise(x: Tensor) -> tuple[Tensor, Tensor]:
    """``standardised`` without a gradient, and what each channel was multiplied by ``[1, c, 1, 1]``."""
    middle = x - means(x)
    scale = (_over_images(torch.linalg.vector_norm(middle, dim=(2, 3), keepdim=True).square(), x) + STANDARD_EPS).rsqrt()
    return middle.mul_(scale), scale


def means(x: Tensor) -> Tensor:
    """The mean of every channel ``[1, c, 1, 1]``, over the images that other processes have too."""
    # places first: torch takes them in one run through the memory, and both at once several times as long
    return _over_images(x.sum((2, 3), keepdim=True), x)


def _over_images(sums: Tensor, x: Tensor) -> Tensor:
    """``sums`` over the places of ``x``, ``[b, c, 1, 1]``, as means over all places of all images."""
    return sum_over_batch(sums.sum(0, keepdim=True)) / (batch_shares() * len(x) * x.shape[2] * x.shape[3])
