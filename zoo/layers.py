"""Layers that the families share, and their exact folding into plain convolutions.

A layer that becomes simpler for deployment has ``fold()``, which replaces its branches and batch norms by one
equivalent convolution. ``fold_all`` folds a whole module in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.ops import LEAKY_SLOPE

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "none": nn.Identity, "silu": nn.SiLU, "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU,
}  # fmt: skip
"""Activation modules by their graph name."""


def activation(name: str) -> nn.Module:
    """A fresh activation module, in place where it can be."""
    kind = ACTIVATIONS[name]
    if kind is nn.LeakyReLU:
        return nn.LeakyReLU(LEAKY_SLOPE, inplace=True)
    return kind(inplace=True) if kind in (nn.SiLU, nn.ReLU) else kind()


class ConvBN(nn.Module):
    """Convolution without bias, then batch norm. ``[b, cin, h, w]`` to ``[b, cout, h / s, w / s]``, same-padded."""

    def __init__(self, cin: int, cout: int, k: int = 1, s: int = 1, g: int = 1, p: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, k, s, k // 2 if p is None else p, groups=g, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(cout)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))

    def fold(self) -> None:
        """One convolution with bias in place of the pair."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv = merged_conv(self.conv, [kernel_and_bias(self.conv, self.bn)])
            self.bn = nn.Identity()


class ConvBNAct(ConvBN):
    """``ConvBN`` and an activation by name."""

    def __init__(
        self, cin: int, cout: int, k: int = 1, s: int = 1, g: int = 1, act: str = "silu", p: int | None = None
    ) -> None:
        super().__init__(cin, cout, k, s, g, p)
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class RepConv(nn.Module):
    """RepVGG-style convolution: kxk and 1x1 branches, and an identity branch if asked, summed; one kxk when folded."""

    def __init__(
        self, cin: int, cout: int, k: int = 3, s: int = 1, g: int = 1, act: str = "relu", identity: bool = False
    ) -> None:
        super().__init__()
        self.dense = ConvBN(cin, cout, k, s, g)
        self.point = ConvBN(cin, cout, 1, s, g)
        self.identity = nn.BatchNorm2d(cin) if identity and cin == cout and s == 1 else None
        self.act = activation(act)
        self.folded: nn.Conv2d | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.folded is not None:
            return self.act(self.folded(x))
        y = self.dense(x) + self.point(x)
        return self.act(y if self.identity is None else y + self.identity(x))

    def fold(self) -> None:
        """One kxk convolution with bias in place of the branches."""
        if self.folded is not None:
            return
        conv = self.dense.conv
        branches = [kernel_and_bias(b.conv, b.bn) for b in (self.dense, self.point)]
        if self.identity is not None:
            branches.append(kernel_and_bias(_identity_conv(conv), self.identity))
        self.folded = merged_conv(conv, branches)
        del self.dense, self.point, self.identity


class Split(nn.Module):
    """Splits the channels of ``[b, c, h, w]`` into parts of ``sizes`` channels; a cut network has other sizes."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.sizes = list(sizes)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.split(self.sizes, 1)


class SkippableBlock(nn.Module):
    """A residual block that a cut can remove: ``skip()`` drops the branch, and the shortcut remains.

    A subclass adds ``self.branch(x)`` to ``x`` and lists the children that only the branch uses.
    """

    branch_parts: tuple[str, ...] = ()
    """Names of the children that only the branch uses."""
    skipped = False

    @property
    def skippable(self) -> bool:
        """Whether there is a shortcut that remains."""
        return True

    def skip(self) -> None:
        """Remove the branch, in place."""
        for name in self.branch_parts:
            if name in self._modules:
                delattr(self, name)
        for part in self.children():
            if isinstance(part, (nn.SiLU, nn.ReLU, nn.LeakyReLU)):
                part.inplace = False  # its input is now the block's, which others read too
        self.skipped = True


class LayerStack(nn.Module):
    """A module with layers in a row, whose last ones a cut can remove."""

    depth: int
    """Layers that prediction runs."""

    def keep_layers(self, count: int) -> None:
        """Remove all but the first ``count`` layers, in place."""
        raise NotImplementedError


class SPP(nn.Module):
    """Spatial pyramid: 1x1 to half, stride-1 max pools of several sizes beside it, concat, 1x1. Always SiLU."""

    def __init__(self, cin: int, cout: int, pools: Sequence[int] = (5, 9, 13)) -> None:
        super().__init__()
        self.conv1 = ConvBNAct(cin, cin // 2)
        self.conv2 = ConvBNAct(cin // 2 * (len(pools) + 1), cout)
        self.pools = nn.ModuleList(nn.MaxPool2d(k, 1, k // 2) for k in pools)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        return self.conv2(torch.cat([x, *(pool(x) for pool in self.pools)], 1))


class Focus(nn.Module):
    """Folds 2x2 pixels into channels: ``[b, 3, h, w]`` to ``[b, 12, h / 2, w / 2]``, then a convolution."""

    def __init__(self, cin: int, cout: int, k: int = 3, act: str = "silu") -> None:
        super().__init__()
        self.conv = ConvBNAct(cin * 4, cout, k, act=act)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1))


def kernel_and_bias(conv: nn.Conv2d, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """The float64 kernel ``[cout, cin / g, k, k]`` and bias ``[cout]`` of a convolution followed by ``norm``."""
    kernel = conv.weight.detach().double()
    zeros = torch.zeros(conv.out_channels, dtype=kernel.dtype, device=kernel.device)
    bias = zeros if conv.bias is None else conv.bias.detach().double()
    if isinstance(norm, nn.BatchNorm2d):
        if norm.running_mean is None or norm.running_var is None:
            raise ValueError("a batch norm without running statistics cannot be folded")
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        shift = -norm.running_mean.double() * scale
        if norm.weight is not None and norm.bias is not None:
            weight = norm.weight.detach().double()
            scale, shift = scale * weight, shift * weight + norm.bias.detach().double()
        kernel, bias = kernel * scale[:, None, None, None], bias * scale + shift
    return kernel, bias


def merged_conv(like: Any, branches: Sequence[tuple[Tensor, Tensor]]) -> nn.Conv2d:
    """One convolution, with the geometry of the ``nn.Conv2d`` ``like``, equal to the sum of ``branches``.

    Branches are (kernel, bias) pairs; smaller kernels are centered.
    """
    side = like.kernel_size[0]
    kernel = torch.zeros_like(like.weight, dtype=torch.float64)
    bias = torch.zeros(like.out_channels, dtype=torch.float64, device=kernel.device)
    for weight, shift in branches:
        margin = (side - weight.shape[-1]) // 2
        kernel += nn.functional.pad(weight, [margin] * 4)
        bias += shift
    device, dtype = like.weight.device, like.weight.dtype
    conv = nn.Conv2d(
        like.in_channels, like.out_channels, like.kernel_size, like.stride, like.padding, like.dilation, like.groups,
        bias=True, device=device, dtype=dtype,
    )  # fmt: skip
    conv.weight = nn.Parameter(kernel.to(dtype), requires_grad=like.weight.requires_grad)
    conv.bias = nn.Parameter(bias.to(dtype), requires_grad=like.weight.requires_grad)
    return conv


def _identity_conv(like: nn.Conv2d) -> nn.Conv2d:
    """The 1x1 identity convolution, grouped as ``like``."""
    conv = nn.Conv2d(like.in_channels, like.in_channels, 1, groups=like.groups, bias=False, device=like.weight.device)
    per_group = like.in_channels // like.groups
    kernel = torch.eye(per_group, device=like.weight.device).repeat(like.groups, 1)
    conv.weight = nn.Parameter(kernel[:, :, None, None])
    return conv


def fold_all(module: nn.Module) -> None:
    """Fold every layer of ``module`` (itself included) that can be folded, in place; outer layers first."""
    for part in list(module.modules()):
        fold = getattr(part, "fold", None)
        if fold is not None:
            fold()


def set_batch_norms(module: nn.Module, eps: float, momentum: float) -> None:
    """Set ``eps`` and ``momentum`` of every batch norm in ``module``; families differ in both."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eps, part.momentum = eps, momentum
