"""Fit a latency model: robust least squares on logarithms, each coefficient drawn to a plausible start.

What is fitted are tables of ops with one latency each: whole networks, or single ops. The start values are
given relative to the device at hand (its median time per operation, per number moved and per network), so
that a board a thousand times slower than a GPU starts from the same physics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.devices.measured.networks import MeasuredNetwork
from nas.devices.measured.op_table import distinct
from nas.devices.model import LatencyModel
from search_spaces.op_table import OpTable
from workbench.errors import BadInput, unknown_name

PRIOR_WEIGHT = 0.1
"""Relative error of one network that weighs as much as one standard deviation of one coefficient."""
ROBUST_AT = 0.1
"""Relative error above which a network counts linearly, not squared."""
ELEMENT_BYTES = {"FP32": 4.0, "FP16": 2.0, "BF16": 2.0, "INT16": 2.0, "INT8": 1.0}
"""Bytes of a number by precision."""

_ARITHMETIC, _TRAFFIC, _START_UP, _PLAIN, _SHARE = "arithmetic", "traffic", "start-up", "plain", "share"


@dataclass(frozen=True)
class Start:
    """Where a coefficient starts, in units of the device's speed, and the standard deviation of its logarithm.

    Of a share, it is the standard deviation of the log-odds.
    """

    value: float
    spread: float
    unit: str = _PLAIN


START: dict[str, Start] = {
    "conv_tflops": Start(1.7, 0.5, _ARITHMETIC),
    "pointwise_tflops": Start(1.7, 0.5, _ARITHMETIC),
    "step_ns": Start(3.0, 1.0),
    "depthwise_goutputs": Start(5.0, 0.7, _TRAFFIC),
    "matmul_tflops": Start(1.0, 0.5, _ARITHMETIC),
    "bandwidth_gbs": Start(17.0, 1.0, _TRAFFIC),
    "weight_gbs": Start(17.0, 1.0, _TRAFFIC),
    "memory_gbs": Start(5.0, 0.7, _TRAFFIC),
    "kernel_us": Start(1.0, 1.0, _START_UP),
    "memory_kernel_us": Start(1.0, 1.0, _START_UP),
    "overlap": Start(0.5, 0.7),
    "idle_inputs": Start(3.0, 1.0),
    "idle_outputs": Start(3.0, 1.0),
    "idle_positions": Start(10.0, 1.0),
    "padded_channels": Start(0.33, 1.0, _SHARE),
    "padded_sides": Start(0.33, 1.0, _SHARE),
    "strided_slowdown": Start(1.2, 0.3),
    "deconv_slowdown": Start(4.0, 1.0),
    "heavy_slowdown": Start(0.3, 1.0),
    "heavy_weights": Start(3e5, 0.5),
    "large_slowdown": Start(0.5, 0.7),
    "large_elems": Start(5e5, 0.7),
    "activation_us": Start(0.1, 1.5, _START_UP),
    "activation_goutputs": Start(25.0, 1.0, _TRAFFIC),
    "copy_share": Start(0.5, 1.0),
    "fused_add_share": Start(0.5, 1.0),
    "upsample_slowdown": Start(1.0, 1.0),
    "pool_gops": Start(50.0, 1.0, _TRAFFIC),
    "depthwise_exponent": Start(1.0, 0.3),
    "fixed_ms": Start(0.05, 1.0, _START_UP),
}
"""Where the fit starts; a coefficient that the data do not determine stays close to it."""

DEVICE_KINDS: dict[str, dict[str, Start]] = {
    "gpu": {
        "step_ns": Start(10.0, 1.0),
        "matmul_tflops": Start(1.7, 0.5, _ARITHMETIC),
        "depthwise_goutputs": Start(2.0, 0.7, _TRAFFIC),
        "memory_kernel_us": Start(0.5, 1.0, _START_UP),
        "deconv_slowdown": Start(10.0, 1.0),
    },
    "cpu": {
        "kernel_us": Start(0.05, 1.0, _START_UP),
        "memory_kernel_us": Start(0.1, 1.0, _START_UP),
        "fixed_ms": Start(0.005, 1.0, _START_UP),
        "deconv_slowdown": Start(4.0, 1.0),
        "activation_us": Start(0.02, 1.0, _START_UP),
    },
    "npu": {
        "kernel_us": Start(0.1, 1.0, _START_UP),
        "memory_kernel_us": Start(0.2, 1.0, _START_UP),
        "fixed_ms": Start(0.02, 1.0, _START_UP),
        "deconv_slowdown": Start(10.0, 1.0),
    },
}
"""Start values that differ by kind of device."""
ACTIVATION_TREATMENTS: dict[str, dict[str, dict[str, Start]]] = {
    "fused": {kind: {"activation_goutputs": Start(40.0, 0.5, _TRAFFIC)} for kind in ("gpu", "cpu", "npu")},
    "separate": {
        "gpu": {"activation_goutputs": Start(4.0, 0.5, _TRAFFIC)},
        "cpu": {"activation_goutputs": Start(3.5, 0.5, _TRAFFIC)},
        # Neural processors have no unit for an exponential: it runs on a slower one, or on the host.
        "npu": {"activation_goutputs": Start(0.7, 0.5, _TRAFFIC)},
    },
}
"""The same by how the runtime runs activations other than ReLU: fused into the convolution, or as a kernel."""
CONSTANTS: dict[str, dict[str, float]] = {
    "gpu": {"channel_pad": 64.0, "side_pad": 8.0, "softmax_share": 0.0, "heavy_slowdown": 0.0, "heavy_weights": 3e5},
    "cpu": {"channel_pad": 8.0, "side_pad": 4.0, "softmax_share": 1.0},
    "npu": {"channel_pad": 32.0, "side_pad": 8.0, "softmax_share": 1.0},
}
"""Coefficients that are not fitted, by kind of device."""


class Problem:
    """Networks (or single ops) with latencies, laid out so that one pass costs all of them."""

    def __init__(self, tables: Sequence[OpTable], ms: Sequence[float] | np.ndarray) -> None:
        from scipy.sparse import csr_matrix  # type: ignore[import-untyped]

        rows, owner, place = distinct(tables)
        count = np.concatenate([t.count for t in tables])
        counts = csr_matrix((count, (owner, place)), shape=(len(tables), len(rows.kinds)))
        self._set(rows, counts, np.asarray(ms, dtype=float))

    @staticmethod
    def of_ops(table: OpTable, ms: np.ndarray) -> Problem:
        """Each row of the table is one measurement."""
        from scipy.sparse import identity

        problem = Problem.__new__(Problem)
        problem._set(table, identity(len(ms), format="csr"), np.asarray(ms, dtype=float))
        return problem

    def _set(self, rows: OpTable, counts: Any, ms: np.ndarray) -> None:
        self.rows, self.counts, self.ms = rows, counts, ms

    def __len__(self) -> int:
        return len(self.ms)

    def part(self, chosen: np.ndarray) -> Problem:
        """The networks that ``chosen`` (bool, [networks]) marks; the rows stay as they are."""
        problem = Problem.__new__(Problem)
        problem._set(self.rows, self.counts[chosen], self.ms[chosen])
        return problem

    def predict(self, model: LatencyModel, fixed_ms: float) -> np.ndarray:
        """Milliseconds of each network, ``[networks]``."""
        return np.asarray(self.counts @ model.op_ms(self.rows)) + fixed_ms

    def total(self, column: np.ndarray) -> np.ndarray:
        """Sum of a column of the rows over each network, ``[networks]``."""
        return np.asarray(self.counts @ column)


@dataclass(frozen=True)
class DataSheet:
    """What the maker of a device states. It sets starts in absolute units instead of the device's median speed."""

    memory_gbs: float
    """Bandwidth of the memory, 1e9 byte/s."""
    tflops: float
    """Peak arithmetic rate at the precision of the fit, 1e12 FLOP/s."""

    def starts(self) -> dict[str, Start]:
        """Kernels move nine tenths of the bandwidth; good ones reach six tenths of the peak, small products half of
        that."""
        traffic = Start(0.9 * self.memory_gbs, 0.3)
        dense = Start(0.6 * self.tflops, 0.3)
        return {
            "bandwidth_gbs": traffic, "memory_gbs": traffic, "weight_gbs": traffic,
            "conv_tflops": dense, "pointwise_tflops": dense, "matmul_tflops": Start(0.3 * self.tflops, 0.5),
        }  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """What is known of a device before the fit, and how much it weighs."""

    kind: str = "gpu"
    precision: str = "FP16"
    activations: str = ""
    """``fused`` or ``separate`` (see ``ACTIVATION_TREATMENTS``); empty = fused on a GPU, separate elsewhere."""
    constants: Mapping[str, float] | None = None
    """Coefficients that are not fitted, besides ``CONSTANTS``."""
    fixed_time: bool = True
    prior_weight: float = PRIOR_WEIGHT
    known: Mapping[str, Start] | None = None
    """Starts that replace those of the kind of device, such as ``DataSheet.starts``."""

    def __post_init__(self) -> None:
        if self.precision not in ELEMENT_BYTES:
            raise BadInput(f"precision {self.precision!r} is not known: use one of {', '.join(ELEMENT_BYTES)}")
        if self.kind not in DEVICE_KINDS:
            raise unknown_name("kind of device", self.kind, DEVICE_KINDS)
        if self.activations and self.activations not in ACTIVATION_TREATMENTS:
            raise unknown_name("treatment of activations", self.activations, ACTIVATION_TREATMENTS)

    def starts(self) -> dict[str, Start]:
        """Where each fitted coefficient starts."""
        activations = self.activations or ("fused" if self.kind == "gpu" else "separate")
        starts = {**START, **DEVICE_KINDS[self.kind], **ACTIVATION_TREATMENTS[activations][self.kind]}
        starts |= self.known or {}
        constants = self.constant_values()
        excluded = set(constants) if self.fixed_time else {*constants, "fixed_ms"}
        return {name: start for name, start in starts.items() if name not in excluded}

    def constant_values(self) -> dict[str, float]:
        """Coefficients that stay as they are."""
        return {**CONSTANTS[self.kind], "element_bytes": ELEMENT_BYTES[self.precision], **(self.constants or {})}


class Unknowns:
    """The coefficients of a fit as one vector: logarithms, or log-odds of shares, ``[coefficients]``."""

    def __init__(self, problem: Problem, setting: Setting) -> None:
        self.constants = setting.constant_values()
        starts = setting.starts()
        speed = _speed(problem, self.constants["element_bytes"])
        self.names = list(starts)
        self.spread = np.array([starts[name].spread for name in self.names])
        self._shares = np.array([starts[name].unit == _SHARE for name in self.names])
        values = np.array([_in_units(name, starts[name], speed) for name in self.names])
        shares = np.where(self._shares, values, 0.0)
        self.first = np.log(np.where(self._shares, values / (1.0 - shares), values))

    def model(self, logs: np.ndarray) -> tuple[LatencyModel, float]:
        """The model and the fixed milliseconds of a vector."""
        numbers = np.exp(np.clip(logs, -60.0, 60.0))
        numbers = np.where(self._shares, numbers / (1.0 + numbers), numbers)
        fitted = dict(zip(self.names, numbers.tolist(), strict=True))
        fixed_ms = fitted.pop("fixed_ms", 0.0)
        return LatencyModel(**fitted, **self.constants), fixed_ms


def fit_model(problem: Problem, setting: Setting) -> tuple[LatencyModel, float]:
    """The model and the fixed milliseconds that fit ``problem`` best."""
    from scipy.optimize import least_squares  # type: ignore[import-untyped]

    unknowns = Unknowns(problem, setting)
    target = np.log(problem.ms)

    def residuals(logs: np.ndarray) -> np.ndarray:
        error = np.log(problem.predict(*unknowns.model(logs))) - target
        return np.concatenate([error, setting.prior_weight * (logs - unknowns.first) / unknowns.spread])

    solution = least_squares(
        residuals, unknowns.first, loss="soft_l1", f_scale=ROBUST_AT, max_nfev=60, xtol=1e-5, ftol=1e-5
    )
    return unknowns.model(solution.x)


def left_out(problem: Problem, groups: Sequence[str], setting: Setting) -> np.ndarray:
    """Predict every network by the fit to all groups but its own, ``[networks]`` ms."""
    labels = np.asarray(groups)
    predicted = np.zeros(len(problem))
    for group in dict.fromkeys(groups):
        rest = labels != group
        if not rest.any():
            raise BadInput("the data holds one group only: nothing would be left to fit")
        model, fixed_ms = fit_model(problem.part(rest), setting)
        predicted[~rest] = problem.part(~rest).predict(model, fixed_ms)
    return predicted


def networks_problem(points: Sequence[MeasuredNetwork]) -> Problem:
    """The problem of fitting to measured networks."""
    return Problem([p.table for p in points], [p.ms for p in points])


def _speed(problem: Problem, element_bytes: float) -> dict[str, float]:
    """Units of the device: TFLOP/s and 1e9 byte/s if one of them were all that counts, and a small start-up in us."""
    rows = problem.rows
    moved = problem.total(rows.in_elems + rows.out_elems)
    macs = np.maximum(problem.total(rows.macs), 1.0)
    tflops = float(np.exp(np.median(np.log(macs * 2e-9 / problem.ms))))
    gbs = float(np.exp(np.median(np.log(moved * 1e-6 * element_bytes / problem.ms))))
    return {_ARITHMETIC: tflops, _TRAFFIC: gbs, _START_UP: float(np.median(problem.ms)), "bytes": element_bytes}


def _in_units(name: str, start: Start, speed: Mapping[str, float]) -> float:
    if start.unit == _ARITHMETIC:
        return start.value * speed[_ARITHMETIC]
    if start.unit == _TRAFFIC:
        return start.value * (speed[_TRAFFIC] / (1.0 if name.endswith("_gbs") else speed["bytes"]))
    if start.unit == _START_UP:
        # In microseconds: a start-up of 1 is a thousandth of the median network's time; the fixed time is a share of it
        # in milliseconds.
        return start.value * speed[_START_UP]
    return start.value
