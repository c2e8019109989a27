"""LatencyModel: milliseconds of every op of a Graph, from explainable coefficients.

Each op is one kernel: a start-up time, plus arithmetic and memory traffic that overlap more or less.
Arithmetic is slower where a layer cannot fill the device (few channels, few pixels, widths off the
vector grid) and where its weights no longer fit the cache. The time of an op does not depend on its neighbours,
so that of a network is a sum over its ops, and a million candidates can be costed at once. It never falls
when channels, pixels or kernels grow.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from search_spaces.op_table import OpTable
from search_spaces.ops import (
    ATTENTION_KINDS,
    CONST_KINDS,
    COPY_KINDS,
    JOIN_KINDS,
    POOL_KINDS,
    RELU_LIKE,
    UNARY_KINDS,
    VIEW_KINDS,
    WEIGHT_KINDS,
)  # fmt: skip
from workbench.errors import BadInput


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """Coefficients of one device, runtime and precision. All are at least 0; rates are above 0.

    Those with a default are neutral there: the form without them is the plain roofline.
    """

    conv_tflops: float
    """Arithmetic rate of dense convolutions with k > 1 that fill the device, 1e12 FLOP/s (a MAC counts as 2)."""
    pointwise_tflops: float
    """The same of 1x1 convolutions and linear layers."""
    step_ns: float
    """Time of one step of the reduction (input channels x kernel area), however few the outputs are."""
    depthwise_goutputs: float
    """Outputs of a 3x3 depthwise convolution, 1e9 a second."""
    matmul_tflops: float
    """Arithmetic rate of products of two activations (attention), 1e12 FLOP/s."""
    bandwidth_gbs: float
    """Activations moved by a convolution, 1e9 byte/s; caches lift it above the memory's own."""
    weight_gbs: float
    """Weights read, 1e9 byte/s."""
    memory_gbs: float
    """Activations moved by memory-bound kernels, 1e9 byte/s."""
    kernel_us: float
    """Start-up of one convolution, linear or matmul kernel, microseconds."""
    memory_kernel_us: float
    """Start-up of one memory-bound kernel (pool, upsample, add that is not fused ...), microseconds."""
    overlap: float = 1.0
    """Arithmetic and traffic add up (0) or hide one another (large): (c^q + t^q)^(1/q), q = 1 + overlap."""
    idle_inputs: float = 0.0
    """Input channels a kernel pays for on top of those it has."""
    idle_outputs: float = 0.0
    """Output channels a kernel pays for on top of those it has."""
    idle_positions: float = 0.0
    """Output positions (height x width) a kernel pays for on top of those it has."""
    channel_pad: float = 16.0
    """Channels of a dense convolution are rounded up to a multiple of this (vector units, tensor cores)."""
    padded_channels: float = 1.0
    """Share of that rounding which is paid, 0 to 1."""
    side_pad: float = 8.0
    """Height and width of the output are rounded up to a multiple of this (tiles, threads)."""
    padded_sides: float = 0.0
    """Share of that rounding which is paid, 0 to 1."""
    strided_slowdown: float = 1.0
    """Arithmetic time of a k > 1 convolution with a stride above 1, relative to one without."""
    deconv_slowdown: float = 1.0
    """Arithmetic time of a transposed convolution, relative to a 1x1 convolution."""
    heavy_slowdown: float = 0.0
    """Extra arithmetic time, as a share, of a layer whose weights are far beyond ``heavy_weights``."""
    heavy_weights: float = 3e5
    """Weights (numbers) at which half of that is paid: the cache is full."""
    large_slowdown: float = 0.0
    """Extra traffic time, as a share, of tensors far beyond ``large_elems``."""
    large_elems: float = 5e5
    """Numbers read and written at which half of that is paid."""
    activation_us: float = 0.0
    """Start-up of an activation other than ReLU, where the runtime cannot fuse it, microseconds."""
    activation_goutputs: float = math.inf
    """Outputs of such an activation, 1e9 a second."""
    copy_share: float = 0.0
    """Copies (concat, slice) cost this share of a memory-bound kernel; 0 = written in place."""
    softmax_share: float = 0.0
    """The same of softmax and transpose; 0 = they run inside one fused attention kernel."""
    elementwise_share: float = 1.0
    """The same of elementwise ops other than add: runtimes join neighbours into one kernel. 1 = each is a kernel."""
    fused_add_share: float = 0.0
    """The same of an add that rides on its producer, on top of reading its other operand."""
    upsample_slowdown: float = 1.0
    """Time of an upsampling, relative to its traffic."""
    pool_gops: float = math.inf
    """Comparisons or additions of a pooling (outputs x kernel area), 1e9 a second."""
    depthwise_exponent: float = 1.0
    """A depthwise kernel of side k takes (k / 3) to this power as long as one of side 3."""
    element_bytes: float = 2.0
    """Bytes of one number (2 = FP16)."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            free = field.name in _MAY_BE_INFINITE and value == math.inf
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not (math.isfinite(value) or free):
                raise BadInput(f"latency model: {field.name}={value!r} must be a finite number")
            if value < 0 or (value == 0 and field.name in _DIVISORS) or (value > 1 and field.name in _SHARES):
                raise BadInput(f"latency model: {field.name}={value!r} must be {_rule(field.name)}")

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> LatencyModel:
        """Read named coefficients; a missing, unknown or impossible one is named in the error."""
        names = [field.name for field in dataclasses.fields(LatencyModel)]
        for key in data:
            if key not in names:
                raise BadInput(f"latency model: unknown coefficient {key!r}; it has {', '.join(names)}")
        for field in dataclasses.fields(LatencyModel):
            if field.name not in data and field.default is dataclasses.MISSING:
                raise BadInput(f"latency model: coefficient {field.name!r} is missing; it must be {_rule(field.name)}")
        return LatencyModel(**data)

    def to_dict(self) -> dict[str, float]:
        """Coefficients by name, in order; infinite ones and those of ``_LEFT_OUT`` are left out at their default."""
        values = {field.name: float(getattr(self, field.name)) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value != _LEFT_OUT.get(name, math.inf)}

    def op_ms(self, table: OpTable) -> np.ndarray:
        """Milliseconds of one occurrence of each op: ``[ops]`` or ``[ops, N]`` like the table's columns."""
        out = np.zeros(table.count.shape)
        kinds = _rows_by_kind(table.kinds)
        rows = kinds["arithmetic"]
        if rows.size:
            is_conv = kinds["can_be_depthwise"].reshape(-1, *[1] * (out.ndim - 1))
            depthwise = (table.groups[rows] == table.cin[rows]) & (table.cin[rows] > 1) & is_conv
            out[rows] = self._conv_ms(table, rows, depthwise, kinds["is_deconv"], ~is_conv)
        rows = kinds["matmul"]
        if rows.size:
            # The score matrix never leaves the fused attention kernel: arithmetic only.
            out[rows] = table.macs[rows] * (2e-9 / self.matmul_tflops) + self.kernel_us * 1e-3
        rows = kinds["memory"]
        if rows.size:
            out[rows] = self._memory_ms(table, rows, kinds)
        fused = table.fused > 0
        if fused.any():
            adds = kinds["add"]
            unfused = out[adds]
            out[fused] = 0.0
            if adds.size:
                # A fused add rides on its producer, but still reads its other operand.
                operand = table.out_elems[adds] * (self.element_bytes * 1e-6 / self.memory_gbs)
                out[adds] = np.where(fused[adds], operand + self.fused_add_share * unfused, unfused)
        if self.activation_us > 0 or math.isfinite(self.activation_goutputs):
            rows = _rows_with_activation(table.acts)
            if rows.size:
                out[rows] += table.out_elems[rows] * (1e-6 / self.activation_goutputs) + self.activation_us * 1e-3
        return out

    def _moved_ms(self, elems: np.ndarray, gbs: float) -> np.ndarray:
        """Time to move ``elems`` activations; large tensors fall out of the caches."""
        time = elems * (self.element_bytes * 1e-6 / gbs)
        if self.large_slowdown > 0:
            time *= 1.0 + self.large_slowdown * (elems / (elems + self.large_elems))
        return time

    def _memory_ms(self, table: OpTable, rows: np.ndarray, kinds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Time of memory-bound rows: traffic and start-up, or the share of them that is executed."""
        moved = self._moved_ms(table.in_elems[rows] + table.out_elems[rows] + table.weight_elems[rows], self.memory_gbs)
        names = ("is_upsample", "is_copy", "is_pool", "is_softmax", "is_elementwise")
        upsample, copy, pool, softmax, chain = (kinds[name].reshape(-1, *[1] * (moved.ndim - 1)) for name in names)
        time = moved * np.where(upsample, self.upsample_slowdown, 1.0) + self.memory_kernel_us * 1e-3
        if math.isfinite(self.pool_gops):
            time += np.where(pool, table.out_elems[rows] * table.kernel_area[rows], 0.0) * (1e-6 / self.pool_gops)
        share = np.where(copy, self.copy_share, np.where(softmax, self.softmax_share, 1.0))
        if self.elementwise_share != 1.0:
            share = np.where(chain, self.elementwise_share, share)
        return time * share

    def _conv_ms(
        self, table: OpTable, rows: np.ndarray, depthwise: np.ndarray, deconv: np.ndarray, linear: np.ndarray
    ) -> np.ndarray:
        """Time of conv, deconv and linear rows; ``depthwise`` marks entries, ``deconv`` and ``linear`` rows."""
        cin, groups = table.cin[rows], table.groups[rows]
        area, weights = table.kernel_area[rows], table.weight_elems[rows]
        down = deconv.reshape(-1, *[1] * (cin.ndim - 1))
        if np.any(groups > 1):
            groups = np.maximum(groups, 1)
            depth = cin / groups
            width = self._padded(table.cout[rows] / groups) * groups
        else:
            depth, width = cin, self._padded(table.cout[rows])
        # A linear layer works on the last axis, whatever the shape before it.
        positions = np.where(linear, table.out_elems[rows] / table.cout[rows], table.pixels[rows])
        if deconv.any():
            positions = np.where(down, table.in_pixels[rows], positions)
        if self.padded_sides > 0:
            # The small number keeps an exact multiple from being rounded up by the error of the square root.
            tiles = np.ceil(np.sqrt(positions) * (1.0 / self.side_pad) - 1e-9)
            positions = positions + self.padded_sides * (np.square(tiles * self.side_pad) - positions)
        point = 2e-9 / self.pointwise_tflops
        spatial = np.where(table.stride[rows] > 1, self.strided_slowdown, 1.0) * (2e-9 / self.conv_tflops)
        rate = np.where(area == 1, point, spatial)
        if deconv.any():
            rate = np.where(down, point * self.deconv_slowdown, rate)
        if self.heavy_slowdown > 0:
            rate *= 1.0 + self.heavy_slowdown * (weights / (weights + self.heavy_weights))
        compute = (self._padded(depth) + self.idle_inputs) * area * rate
        compute *= width + self.idle_outputs
        compute *= positions + self.idle_positions
        compute += depth * area * (self.step_ns * 1e-6)
        if depthwise.any():
            power = self.depthwise_exponent / 2.0
            output_ms = table.out_elems[rows] * np.power(area * (1.0 / 9.0), power) * (1e-6 / self.depthwise_goutputs)
            compute = np.where(depthwise, output_ms, compute)
        traffic = self._moved_ms(table.in_elems[rows] + table.out_elems[rows], self.bandwidth_gbs)
        traffic += weights * (self.element_bytes * 1e-6 / self.weight_gbs)
        return _overlapped(compute, traffic, self.overlap) + self.kernel_us * 1e-3

    def _padded(self, channels: np.ndarray) -> np.ndarray:
        if self.padded_channels == 0 or self.channel_pad <= 1:
            return channels
        whole = np.ceil(channels * (1.0 / self.channel_pad) - 1e-9) * self.channel_pad
        return whole if self.padded_channels == 1 else channels + self.padded_channels * (whole - channels)


def _overlapped(compute: np.ndarray, traffic: np.ndarray, overlap: float) -> np.ndarray:
    """(c^q + t^q)^(1/q) with q = 1 + overlap, by the larger of the two so that no power overflows."""
    if overlap == 0:
        return compute + traffic
    if overlap == 1:
        return np.sqrt(compute * compute + traffic * traffic)
    larger = np.maximum(compute, traffic)
    ratio = np.minimum(compute, traffic) / np.maximum(larger, 1e-300)
    q = 1.0 + overlap
    return larger * np.power(1.0 + np.power(ratio, q), 1.0 / q)


ELEMENTWISE_KINDS = CONST_KINDS | UNARY_KINDS | (JOIN_KINDS - {"add"}) | {"act", "scale", "pow"}
"""Memory-bound kinds that work number by number and that a runtime joins with their neighbours."""


@lru_cache(maxsize=64)
def _rows_by_kind(kinds: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Row indices by class of cost formula, and masks over a class: deconvolutions, copies, pools ..."""

    def rows(chosen: Sequence[bool]) -> np.ndarray:
        return np.flatnonzero(np.array(chosen, dtype=bool))

    special = WEIGHT_KINDS | VIEW_KINDS | {"matmul"}
    arithmetic = [kind for kind in kinds if kind in WEIGHT_KINDS]
    memory = [kind for kind in kinds if kind not in special]
    return {
        "arithmetic": rows([kind in WEIGHT_KINDS for kind in kinds]),
        "matmul": rows([kind == "matmul" for kind in kinds]),
        "memory": rows([kind not in special for kind in kinds]),
        "add": rows([kind == "add" for kind in kinds]),
        "is_deconv": np.array([kind == "deconv" for kind in arithmetic], dtype=bool),
        "can_be_depthwise": np.array([kind != "linear" for kind in arithmetic], dtype=bool),
        "is_copy": np.array([kind in COPY_KINDS for kind in memory], dtype=bool),
        "is_softmax": np.array([kind in ATTENTION_KINDS for kind in memory], dtype=bool),
        "is_upsample": np.array([kind == "upsample" for kind in memory], dtype=bool),
        "is_pool": np.array([kind in POOL_KINDS for kind in memory], dtype=bool),
        "is_elementwise": np.array([kind in ELEMENTWISE_KINDS for kind in memory], dtype=bool),
    }


@lru_cache(maxsize=64)
def _rows_with_activation(acts: tuple[str, ...]) -> np.ndarray:
    return np.flatnonzero(np.array([act not in RELU_LIKE for act in acts], dtype=bool))


_DIVISORS = frozenset(
    [
        "conv_tflops", "pointwise_tflops", "depthwise_goutputs", "matmul_tflops",
        "bandwidth_gbs", "weight_gbs", "memory_gbs", "channel_pad", "side_pad", "element_bytes",
        "heavy_weights", "large_elems", "activation_goutputs", "pool_gops",
        "strided_slowdown", "deconv_slowdown", "upsample_slowdown",
    ]
)  # fmt: skip
_SHARES = frozenset({"padded_channels", "padded_sides"})
_LEFT_OUT = {"elementwise_share": 1.0}
"""Coefficients that came later: profiles without them stay as they are, to the byte."""
_MAY_BE_INFINITE = frozenset({"activation_goutputs", "pool_gops"})


def _rule(name: str) -> str:
    if name in _SHARES:
        return "a number from 0 to 1"
    return "a number above 0" if name in _DIVISORS else "a number of at least 0"
