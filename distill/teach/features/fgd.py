"""FGD: focal and global distillation."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from distill.teach.features.base import FeatureMethod
from workbench.checks import check_number
from zoo.learning.targets import Targets

CONTEXT_STD = 0.01
"""Standard deviation of the initial weights of a context block's last layer."""


class FocalGlobal(FeatureMethod):
    """FGD (Yang et al. 2022): foreground and background apart, weighted by the teacher's attention, and global context.

    ``foreground``, ``background``, ``attention`` and ``context`` are the paper's alpha, beta, gamma and lambda with its
    values for anchor-free detectors. The context blocks of both networks train. They start as copies of each other with
    small weights, so that identical features cost nothing and all of their layers train from the first step on (the
    authors start the last layer at 0, which delays the others).
    """

    def __init__(
        self,
        student_channels: Sequence[int],
        teacher_channels: Sequence[int],
        temperature: float = 0.5,
        foreground: float = 1.6e-3,
        background: float = 8e-4,
        attention: float = 8e-4,
        context: float = 8e-6,
    ) -> None:
        super().__init__(student_channels, teacher_channels)
        self.temperature = check_number("temperature", temperature, above=True)
        self.foreground, self.background = (
            check_number("foreground", foreground),
            check_number("background", background),
        )
        self.attention, self.context = check_number("attention", attention), check_number("context", context)
        self.student_contexts = nn.ModuleList(GlobalContext(c) for c in teacher_channels)
        self.teacher_contexts = copy.deepcopy(self.student_contexts)

    def level_loss(
        self, level: int, student: Tensor, teacher: Tensor, targets: Targets, size: tuple[int, int]
    ) -> Tensor:
        b, _, h, w = student.shape
        spatial, channels = self._attention(teacher)
        student_spatial, student_channels = self._attention(student)
        inside = foreground_weights(targets, h, w, size)
        outside = (inside == 0).to(inside.dtype)
        outside = outside / outside.sum((1, 2), keepdim=True).clamp(min=1)
        distance = ((student - teacher).square() * channels[..., None, None]).sum(1) * spatial
        focal = self.foreground * (distance * inside).sum() + self.background * (distance * outside).sum()
        attention = (student_spatial - spatial).abs().sum() + (student_channels - channels).abs().sum()
        student_context, teacher_context = self.student_contexts[level](student), self.teacher_contexts[level](teacher)
        context = (student_context - teacher_context).square().sum()
        return (focal + self.attention * attention + self.context * context) / b

    def _attention(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Spatial attention ``[b, h, w]`` and channel attention ``[b, c]``; the mean of both is 1."""
        b, c, h, w = x.shape
        size = x.abs()
        spatial = (size.mean(1).flatten(1) / self.temperature).softmax(1).reshape(b, h, w) * (h * w)
        return spatial, (size.mean((2, 3)) / self.temperature).softmax(1) * c


class GlobalContext(nn.Module):
    """Global context block (GcNet, Cao et al. 2019): ``[b, c, h, w]`` to the same shape."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.attention = nn.Conv2d(c, 1, 1, bias=False)
        self.reduce = nn.Linear(c, max(c // 2, 1))
        self.norm = nn.LayerNorm(max(c // 2, 1))
        self.expand = nn.Linear(max(c // 2, 1), c)
        nn.init.normal_(self.expand.weight, std=CONTEXT_STD)
        nn.init.zeros_(self.expand.bias)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.attention(x).flatten(2).softmax(-1)
        context = (x.flatten(2) * weights).sum(-1)
        return x + self.expand(self.norm(self.reduce(context)).relu())[..., None, None]


def foreground_weights(targets: Targets, h: int, w: int, size: tuple[int, int]) -> Tensor:
    """``[b, h, w]``: 1 / number of cells that an object touches, in those cells, and 0 elsewhere.

    Where objects overlap, the one with the fewest cells counts. ``size`` is the input's (height, width) in pixels.
    """
    images = []
    for boxes in targets.boxes:
        cells = boxes.float() / boxes.new_tensor([size[1] / w, size[0] / h] * 2)
        columns = _touched_cells(cells[:, 0], cells[:, 2], w)
        rows = _touched_cells(cells[:, 1], cells[:, 3], h)
        share = 1 / (columns.sum(1) * rows.sum(1)).clamp(min=1)
        maps = rows[:, :, None] * columns[:, None] * share[:, None, None]
        images.append(torch.cat([maps, maps.new_zeros(1, h, w)]).amax(0))
    return torch.stack(images)


def _touched_cells(low: Tensor, high: Tensor, count: int) -> Tensor:
    """Which of ``count`` cells an interval from ``low`` to ``high`` (in cells) touches: 0 or 1, ``[m, count]``."""
    starts = torch.arange(count, device=low.device, dtype=low.dtype)
    return ((starts + 1 > low[:, None]) & (starts < high[:, None])).to(low.dtype)
