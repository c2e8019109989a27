"""LatencyModel: milliseconds of every op of a Graph, from a handful of explainable coefficients.

Each op is one kernel: a start-up time, plus the slower of arithmetic and memory traffic, rounded
off where the two meet (``sqrt(compute^2 + traffic^2)``). Nothing here looks at a neighbour, so the
time of a network is a sum over its ops and a million candidates can be costed at once. No time
falls when channels, pixels or kernels grow.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from search_spaces.errors import BadInput
from search_spaces.graph import CONV_KINDS, VIEW_KINDS, OpTable

ARITHMETIC_KINDS = CONV_KINDS | {"linear"}
"""Kinds costed as convolutions, dense or depth-wise."""
FREE_KINDS = VIEW_KINDS | {"expand", "select", "concat", "slice", "transpose", "stack", "softmax"}
"""Kinds that cost nothing: views; copies, which a runtime avoids by letting the producer write in place;
the softmax of an attention, which runs inside one fused kernel with its two products. Costing them as
memory traffic made left-out families worse (docs/benchmarks/latency-t4.md)."""
DECODE_PART = "decode"
"""Box decoding after the raw head maps. It is not searched: a profile's fixed time stands for it."""


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """Coefficients of one device, runtime and precision. All are at least 0; rates are above 0."""

    conv_tflops: float
    """Arithmetic rate of dense convolutions and linear layers that fill the device, 1e12 FLOP/s."""
    idle_outputs: float
    """Outputs (pixels x channels) a dense conv could compute in the time the device needs to fill and drain."""
    depthwise_goutputs: float
    """Outputs of a 3x3 depth-wise convolution, 1e9 a second; a kernel of side k takes k/3 as long."""
    matmul_tflops: float
    """Arithmetic rate of products of two activations (attention), 1e12 FLOP/s."""
    bandwidth_gbs: float
    """Activations and weights moved, 1e9 byte/s; caches lift it above the memory's own."""
    kernel_us: float
    """Start-up of one convolution, linear or matmul kernel, microseconds."""
    memory_kernel_us: float
    """Start-up of one memory-bound kernel (pool, upsample, add that is not fused ...), microseconds."""
    channel_pad: float = 16.0
    """Channels of a dense convolution are rounded up to a multiple of this (tensor cores; 1 = no padding)."""
    element_bytes: float = 2.0
    """Bytes of one number (2 = FP16)."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise BadInput(f"latency model: {field.name}={value!r} must be a finite number")
            if value < 0 or (value == 0 and field.name in _DIVISORS):
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
        """Coefficients by name, in order."""
        return {field.name: float(getattr(self, field.name)) for field in dataclasses.fields(self)}

    def op_ms(self, table: OpTable) -> np.ndarray:
        """Milliseconds of one occurrence of each op: ``[ops]`` or ``[ops, N]`` like the table's columns."""
        out = np.zeros(table.count.shape)
        dense: list[int] = []
        lone: list[int] = []
        matmul: list[int] = []
        memory: list[int] = []
        adds: list[int] = []
        for row, kind in enumerate(table.kinds):
            if kind in ARITHMETIC_KINDS:
                (lone if kind != "linear" and _all_depthwise(table, row) else dense).append(row)
            elif kind == "matmul":
                matmul.append(row)
            elif kind not in FREE_KINDS:
                memory.append(row)
                if kind == "add":
                    adds.append(row)
        if dense:
            out[dense] = self._conv_ms(table, dense)
        if lone:
            out[lone] = self._roofline(self._depthwise_ms(table, lone), self._traffic_ms(table, lone))
        if matmul:
            # The score matrix never leaves the fused attention kernel: arithmetic only.
            out[matmul] = table.macs[matmul] * (2e-9 / self.matmul_tflops) + self.kernel_us * 1e-3
        if memory:
            out[memory] = self._traffic_ms(table, memory) + self.memory_kernel_us * 1e-3
        fused = table.fused > 0
        if fused.any():
            out[fused] = 0.0
            if adds:
                # A fused add rides on its producer, but still reads its other operand.
                operand = table.out_elems[adds] * (self.element_bytes / (self.bandwidth_gbs * 1e6))
                out[adds] = np.where(fused[adds], operand, out[adds])
        return out

    def _traffic_ms(self, table: OpTable, rows: list[int]) -> np.ndarray:
        """Time to read inputs and weights and to write outputs, ``[rows]`` or ``[rows, N]``."""
        numbers = table.in_elems[rows] + table.out_elems[rows] + table.weight_elems[rows]
        return numbers * (self.element_bytes / (self.bandwidth_gbs * 1e6))

    def _roofline(self, compute: np.ndarray, traffic: np.ndarray) -> np.ndarray:
        """Start-up plus the slower of arithmetic and traffic, rounded off where they meet."""
        return np.sqrt(compute * compute + traffic * traffic) + self.kernel_us * 1e-3

    def _depthwise_ms(self, table: OpTable, rows: list[int]) -> np.ndarray:
        return table.out_elems[rows] * np.sqrt(table.kernel_area[rows]) * (1e-6 / (3 * self.depthwise_goutputs))

    def _conv_ms(self, table: OpTable, rows: list[int]) -> np.ndarray:
        """Time of conv, deconv and linear rows that are not depth-wise in every candidate.

        ``idle_outputs`` is the tail effect: a conv with few outputs cannot fill the device, and takes
        as long as its reduction (input channels x kernel area) is deep.
        """
        cin, cout, groups = table.cin[rows], table.cout[rows], table.groups[rows]
        positions = table.pixels[rows]
        for i, row in enumerate(rows):
            if table.kinds[row] == "deconv":
                positions[i] = table.in_pixels[row]
        if np.all(groups == 1):
            depth, channels = self._padded(cin), self._padded(cout)
        else:
            groups = np.maximum(groups, 1)
            depth, channels = self._padded(cin / groups), self._padded(cout / groups) * groups
        compute = depth * table.kernel_area[rows]
        compute *= channels * positions + self.idle_outputs
        compute *= 2e-9 / self.conv_tflops
        lone = (groups == cin) & (cin > 1)
        if lone.any():
            # Some candidates of this row are depth-wise, others are not.
            scalar = np.array([table.kinds[row] != "linear" for row in rows])
            lone &= scalar.reshape(-1, *[1] * (lone.ndim - 1))
            compute = np.where(lone, self._depthwise_ms(table, rows), compute)
        return self._roofline(compute, self._traffic_ms(table, rows))

    def _padded(self, channels: np.ndarray) -> np.ndarray:
        return np.ceil(channels / self.channel_pad) * self.channel_pad


def _all_depthwise(table: OpTable, row: int) -> bool:
    cin, groups = table.cin[row], table.groups[row]
    return bool(np.all(groups == cin) and np.all(cin > 1))


_DIVISORS = frozenset(
    {"conv_tflops", "depthwise_goutputs", "matmul_tflops", "bandwidth_gbs", "channel_pad", "element_bytes"}
)


def _rule(name: str) -> str:
    return "a number above 0" if name in _DIVISORS else "a number of at least 0"
