"""Transformer layers of the RT-DETR family: plain attention, deformable attention, encoder and decoder layers.

Tokens are ``[b, n, c]``; reference boxes are cx, cy, w, h in 0..1 of the image.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Sizes = Sequence[tuple[int, int]]
"""Height and width of every level, in cells."""
LEAST = 1e-5
"""Probabilities are kept this far from 0 and 1 before their log-odds are taken."""


def log_odds(x: Tensor) -> Tensor:
    """The inverse of sigmoid for ``x`` in 0..1, finite everywhere."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=LEAST) / (1 - x).clamp(min=LEAST))


class MLP(nn.Module):
    """Linear layers with ReLU between them, on the last axis; ``widths`` from the input's to the output's."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(cin, cout) for cin, cout in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = layer(x) if i == 0 else layer(F.relu(x))
        return x


class Attention(nn.Module):
    """Multi-head self-attention ``[b, n, c]`` to ``[b, n, c]``; positions count for queries and keys only.

    The training form runs torch's own kernel, which saves memory and agrees with the official network to the bit; the
    folded form spells it out for export and for Graphs.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.head_width = width // heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.folded: nn.ModuleList | None = None
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, position: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """``attn_mask`` bool ``[n, n]``: the tokens each token (row) attends to, training form only; None is all."""
        placed = x + position
        inputs = (placed, placed, x)
        if self.folded is not None:
            projected = [layer(value) for layer, value in zip(self.folded, inputs, strict=True)]
        else:
            shares = zip(inputs, self.qkv.weight.chunk(3), self.qkv.bias.chunk(3), strict=True)
            projected = [F.linear(value, weight, bias) for value, weight, bias in shares]
        b, n, _ = x.shape
        width = self.out.in_features
        q, k, v = (y.reshape(b, n, width // self.head_width, self.head_width).transpose(1, 2) for y in projected)
        if self.folded is None:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        else:
            weights = torch.matmul(q * self.head_width**-0.5, k.transpose(2, 3))
            mixed = torch.matmul(torch.softmax(weights, -1), v)
        return self.out(mixed.transpose(1, 2).reshape(b, n, width))

    def fold(self) -> None:
        """Three linear layers in place of the stored one, whose parts have different inputs."""
        if self.folded is not None:
            return
        self.folded = nn.ModuleList()
        for weight, bias in zip(self.qkv.weight.chunk(3), self.qkv.bias.chunk(3), strict=True):
            layer = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device, dtype=weight.dtype)
            layer.weight = nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad)
            layer.bias = nn.Parameter(bias.detach().clone(), requires_grad=bias.requires_grad)
            self.folded.append(layer)
        del self.qkv


class DeformableAttention(nn.Module):
    """Every query attends to learned points around its box, ``points[l]`` of them on level l, bilinearly sampled."""

    def __init__(self, width: int, heads: int, points: Sequence[int]) -> None:
        super().__init__()
        self.head_width, self.points = width // heads, list(points)
        total = sum(points)
        self.sampling_offsets = nn.Linear(width, heads * total * 2)
        self.attention_weights = nn.Linear(width, heads * total)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        # an offset of as many units as the level has points reaches half a box side
        self.point_scale = [[0.5 / n] for n in points for _ in range(n)]
        self._init_weights(heads)

    def _init_weights(self, heads: int) -> None:
        """Points start on one ray a head, the n-th of a level n units out; all weigh the same."""
        angle = torch.arange(heads) * (2 * math.pi / heads)
        ray = torch.stack([angle.cos(), angle.sin()], -1)
        ray = ray / ray.abs().amax(-1, keepdim=True)
        step = torch.cat([torch.arange(1, n + 1) for n in self.points])
        for layer in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(layer.weight)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_((ray[:, None] * step[:, None]).flatten())
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, query: Tensor, boxes: Tensor, memory: Tensor, sizes: Sizes) -> Tensor:
        """``query`` ``[b, q, c]``, ``boxes`` ``[b, q, 4]``, ``memory`` ``[b, n, c]`` (all levels) to ``[b, q, c]``."""
        b, q, _ = query.shape
        width, total = self.value_proj.out_features, sum(self.points)
        heads = width // self.head_width
        offsets = self.sampling_offsets(query).reshape(b, q, heads, total, 2)
        weights = self.attention_weights(query).reshape(b, q, heads, total)
        weights = torch.softmax(weights, -1).permute(0, 2, 1, 3).reshape(b * heads, 1, q, total)
        around = boxes.reshape(b, q, 1, 1, 4)
        scale = torch.tensor(self.point_scale, device=boxes.device, dtype=boxes.dtype)
        places = around[..., :2] + offsets * scale * around[..., 2:]
        # grid_sample counts from -1 to 1
        grid = (2 * places - 1).permute(0, 2, 1, 3, 4).flatten(0, 1)
        value = self.value_proj(memory).reshape(b, -1, heads, self.head_width)
        value = value.permute(0, 2, 3, 1).flatten(0, 1)
        levels = value.split([h * w for h, w in sizes], -1)
        sampled = [
            F.grid_sample(level.reshape(b * heads, self.head_width, h, w), part, align_corners=False)
            for level, part, (h, w) in zip(levels, grid.split(self.points, -2), sizes, strict=True)
        ]
        mixed = (torch.cat(sampled, -1) * weights).sum(-1)
        return self.output_proj(mixed.reshape(b, width, q).transpose(1, 2))


class EncoderLayer(nn.Module):
    """Self-attention and a two-layer GELU network on ``[b, n, c]``, each added to its input and then normalized."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        x = self.norm1(x + self.self_attn(x, position))
        return self.norm2(x + self.linear2(F.gelu(self.linear1(x))))


class DecoderLayer(nn.Module):
    """Attention among the queries, deformable attention into the memory, and a two-layer ReLU network."""

    def __init__(self, width: int, heads: int, hidden: int, points: Sequence[int]) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn = DeformableAttention(width, heads, points)
        self.norm2 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm3 = nn.LayerNorm(width)
        for layer in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(
        self, x: Tensor, position: Tensor, boxes: Tensor, memory: Tensor, sizes: Sizes, attn_mask: Tensor | None = None
    ) -> Tensor:
        """Queries ``x`` and their ``position`` ``[b, q, c]``; the rest as in the two attentions."""
        x = self.norm1(x + self.self_attn(x, position, attn_mask))
        x = self.norm2(x + self.cross_attn(x + position, boxes, memory, sizes))
        return self.norm3(x + self.linear2(F.relu(self.linear1(x))))
