"""Brings feature maps of student and teacher to one shape: channels by a 1x1 convolution, sides by averaging."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from workbench.errors import BadInput
from zoo.learning.losses import to_float32


class Aligner(nn.Module):
    """Maps the student's levels to the teacher's number of channels, and both to one grid.

    Both networks see the same view of an image, perhaps at different input sizes. The finer of two maps is averaged
    over the cells of the coarser one, so nothing is interpolated and every cell of the student gets a gradient. The
    convolution starts as the identity where the numbers of channels agree: the distance of a network to its own copy
    is 0. ``bias`` is for losses that depend on a channel's mean; with others it would never train. Without convolutions
    (see ``drop_convolutions``) channels correspond one by one and nothing of the aligner trains.
    """

    def __init__(self, student_channels: Sequence[int], teacher_channels: Sequence[int], bias: bool = True) -> None:
        super().__init__()
        if len(student_channels) != len(teacher_channels) or not student_channels:
            raise BadInput(
                f"the student has {len(student_channels)} levels and the teacher {len(teacher_channels)}: "
                "both need the same number, at least one"
            )
        for side, channels in (("student", student_channels), ("teacher", teacher_channels)):
            if min(channels) < 1:
                raise BadInput(f"channels {list(channels)} of the {side}: every level needs at least 1")
        self.student_channels, self.teacher_channels = tuple(student_channels), tuple(teacher_channels)
        self.round_to_bf16 = False
        """Whether products may be rounded, see ``Conv1x1``: for a teacher that runs in half precision."""
        channels_of_levels = zip(student_channels, teacher_channels, strict=True)
        self.levels = nn.ModuleList(Conv1x1(c_in, c_out, 1, bias=bias) for c_in, c_out in channels_of_levels)
        for conv in self.levels:
            assert isinstance(conv, Conv1x1)
            if conv.in_channels == conv.out_channels:
                nn.init.dirac_(conv.weight)
                if conv.bias is not None:
                    nn.init.zeros_(conv.bias)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Pairs of student and teacher maps ``[b, c, h, w]`` in float32, one per level; the teacher's are detached."""
        self._check("student", student, self.student_channels)
        self._check("teacher", teacher, self.teacher_channels)
        pairs = []
        with torch.autocast(student[0].device.type, enabled=False):
            for conv, x, y in zip(self.levels or [None] * len(student), student, teacher, strict=True):
                if len(x) != len(y):
                    raise BadInput(
                        f"the student has maps of {len(x)} images and the teacher of {len(y)}: "
                        "both must see the same batch"
                    )
                h, w = (min(a, b) for a, b in zip(x.shape[-2:], y.shape[-2:], strict=True))
                aligned = average_to_grid(to_float32(x), h, w)
                if conv is not None:
                    aligned = conv(aligned, self.round_to_bf16)
                pairs.append((aligned, average_to_grid(detached_float32(y), h, w)))
        return pairs

    def drop_convolutions(self) -> None:
        """Compare the maps channel by channel: for a student whose channels are a selection of its teacher's."""
        if self.student_channels != self.teacher_channels:
            raise BadInput(
                f"maps of {list(self.student_channels)} and {list(self.teacher_channels)} channels do not correspond "
                "one by one"
            )
        self.levels = nn.ModuleList()

    @staticmethod
    def _check(side: str, maps: Sequence[Tensor], expected: Sequence[int]) -> None:
        channels = [x.shape[1] for x in maps]
        if channels != list(expected):
            raise BadInput(f"the {side}'s maps have {channels} channels: these aligners were made for {list(expected)}")


class Conv1x1(nn.Conv2d):
    """A 1x1 convolution; on a CPU as matrix products, twice as fast as torch's convolution with several threads."""

    def forward(self, x: Tensor, round_to_bf16: bool = False) -> Tensor:
        """``[b, c_in, h, w]`` to ``[b, c_out, h, w]``.

        With ``round_to_bf16`` a CPU rounds the factors to bfloat16, as GPUs round those of convolutions to TF32; sums
        are in float32.
        """
        if x.device.type != "cpu":
            return super().forward(x)
        y: Tensor = _BatchedProduct.apply(x.flatten(2), self.weight.flatten(1), round_to_bf16)
        y = y.unflatten(2, x.shape[2:])
        return y if self.bias is None else y + self.bias[:, None, None]


class _BatchedProduct(torch.autograd.Function):
    """``weight`` ``[o, c]`` times each ``x`` ``[b, c, n]``: per image, or at once where n is smaller than o."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, round_to_bf16: bool) -> Tensor:
        ctx.at_once, ctx.round_to_bf16 = x.shape[2] < len(weight), round_to_bf16
        ctx.save_for_backward(x, weight)
        return _product(weight, x, ctx.at_once, round_to_bf16)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (x, weight), grad = ctx.saved_tensors, grads[0]
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = _product(weight.T, grad, ctx.at_once, ctx.round_to_bf16)
        if ctx.needs_input_grad[1]:
            with _bf16_products(ctx.round_to_bf16):
                if ctx.at_once:
                    grad_weight = _concat_images(grad) @ _concat_images(x).T
                else:
                    grad_weight = torch.bmm(grad, x.mT).sum(0)
        return grad_x, grad_weight, None


def _product(weight: Tensor, x: Tensor, at_once: bool, round_to_bf16: bool) -> Tensor:
    """``[o, c]`` times each ``[b, c, n]``."""
    with _bf16_products(round_to_bf16):
        if at_once:
            return (weight @ _concat_images(x)).unflatten(1, (len(x), -1)).transpose(0, 1).contiguous()
        return torch.bmm(weight.expand(len(x), *weight.shape), x)


def _concat_images(x: Tensor) -> Tensor:
    """``[b, c, n]`` as ``[c, b * n]``."""
    return x.transpose(0, 1).flatten(1)


@contextmanager
def _bf16_products(enabled: bool) -> Iterator[None]:
    """A CPU's matrix products round their factors to bfloat16 inside of it."""
    if not enabled:
        yield
        return
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before, matmul.fp32_precision = matmul.fp32_precision, "bf16"
    try:
        yield
    finally:
        matmul.fp32_precision = before


def detached_float32(x: Tensor) -> Tensor:
    """``x`` in float32 without a gradient; a tensor from inference mode is copied so that autograd accepts it."""
    x = to_float32(x.detach())
    return x.clone() if x.is_inference() else x


def average_to_grid(x: Tensor, h: int, w: int) -> Tensor:
    """``x`` ``[b, c, H, W]`` averaged over the cells of a grid ``h`` x ``w``; positions on a border count for both.

    Two matrix products, because torch's own pooling and resizing have no deterministic gradient on a GPU.
    """
    if x.shape[-2:] == (h, w):
        return x
    return overlap_matrix(x.shape[-2], h, x) @ x @ overlap_matrix(x.shape[-1], w, x).T


def overlap_matrix(fine: int, coarse: int, like: Tensor) -> Tensor:
    """``[coarse, fine]``: the part of each coarse cell that each fine cell covers, on an axis of one length."""
    ends = torch.arange(coarse + 1, device=like.device, dtype=like.dtype) * (fine / coarse)
    starts = torch.arange(fine, device=like.device, dtype=like.dtype)
    covered = torch.minimum(ends[1:, None], starts + 1) - torch.maximum(ends[:-1, None], starts)
    covered = covered.clamp(min=0)
    return covered / covered.sum(1, keepdim=True)
