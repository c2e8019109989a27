"""From ``"3ms"`` to a typed budget: a quantity, a range, and where it applies.

Forms: ``3ms``, ``20GFLOPs``, ``9Mparams``, ``18MBweights`` (in FP16), ``25layers``, ``64MBact``; a range
``2.5..3ms``; a device in front where several are searched at once (``t4:3ms``). A single value is an upper bound.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.errors import BadInput

LATENCY, FLOPS, PARAMS, LAYERS, ACT = "latency_ms", "flops", "params", "layers", "act_bytes"
QUANTITIES = (LATENCY, FLOPS, PARAMS, ACT, LAYERS)
"""Cost names in the order in which the primary one (the front's axis) is chosen."""


def latency_on(device: str) -> str:
    """The cost name of the latency on one of several devices."""
    return f"{LATENCY}@{device}"


def quantity_of(cost: str) -> str:
    """The quantity behind a cost name: latency, whatever the device."""
    return cost.partition("@")[0]


EXAMPLES = "3ms, 9Mparams, 18MBweights, 20GFLOPs, 25layers or 64MBact"
WEIGHT_BYTES = 2
"""Bytes of one weight (FP16), as of one activation."""

_PREFIX = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_UNITS: dict[str, tuple[str, float]] = {
    "ms": (LATENCY, 1.0),
    "us": (LATENCY, 1e-3),
    "µs": (LATENCY, 1e-3),
    "s": (LATENCY, 1e3),
}
_UNITS |= {f"{p}{unit}": (FLOPS, f) for p, f in _PREFIX.items() for unit in ("FLOPs", "FLOPS", "flops")}
_UNITS |= {f"{p}params": (PARAMS, f) for p, f in _PREFIX.items()}
_UNITS |= {f"{p}Bact": (ACT, f) for p, f in _PREFIX.items()} | {"layers": (LAYERS, 1.0)}
_UNITS |= {f"{p}Bweights": (PARAMS, f / WEIGHT_BYTES) for p, f in _PREFIX.items()}

_SHOW = {
    LATENCY: ("ms", 1.0),
    FLOPS: ("GFLOPs", 1e9),
    PARAMS: ("Mparams", 1e6),
    LAYERS: ("layers", 1.0),
    ACT: ("MBact", 1e6),
}
_FORM = re.compile(
    r"^(?:(?P<device>[A-Za-z][\w.-]*):)?(?:(?P<low>[0-9.eE+]+?)\.\.)?"
    r"(?P<high>[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(?P<unit>[A-Za-zµ]+)$"
)


@dataclass(frozen=True, slots=True)
class Budget:
    """``low <= quantity <= high`` in base units (ms, FLOPs, parameters, layers, bytes); ``device`` if named."""

    quantity: str
    high: float
    low: float = 0.0
    device: str | None = None

    def __str__(self) -> str:
        prefix = f"{self.device}:" if self.device else ""
        unit, factor = _SHOW[self.quantity]
        low = f"{self.low / factor:g}.." if self.low > 0 else ""
        return f"{prefix}{low}{self.high / factor:g}{unit}"


def format_cost(cost: str, value: float) -> str:
    """A value in its usual unit: ``format_cost("flops", 2e10)`` is ``"20.00 GFLOPs"``."""
    quantity, _, device = cost.partition("@")
    unit, factor = _SHOW[quantity]
    scaled = value / factor
    text = f"{scaled:.0f} {unit}" if quantity == LAYERS else f"{scaled:.4g} {unit}"
    return f"{text} on {device}" if device else text


def parse_budget(text: str) -> Budget:
    """One ``--budget``; raises ``BadInput`` that lists the accepted forms."""
    match = _FORM.match(text.strip())
    if match is None:
        raise BadInput(f"budget {text!r} is not a number with a unit: use {EXAMPLES}, or a range like 2.5..3ms")
    unit = match["unit"]
    if unit not in _UNITS:
        raise BadInput(f"budget {text!r} has no unit I know ({unit!r}): use {EXAMPLES}")
    quantity, factor = _UNITS[unit]
    try:
        high = float(match["high"]) * factor
        low = float(match["low"]) * factor if match["low"] else 0.0
    except ValueError as error:
        raise BadInput(f"budget {text!r}: {match['low']!r} is not a number: use a range like 2.5..3ms") from error
    if not math.isfinite(high) or high <= 0:
        raise BadInput(f"budget {text!r} must be a positive, finite amount")
    if low > high:
        swapped = f"{match['high']}..{match['low']}{unit}"
        raise BadInput(f"budget {text!r} is empty: its lower end is above its upper end; write it as {swapped}")
    return Budget(quantity, high, low, match["device"])


def parse_budgets(texts: Sequence[str]) -> tuple[Budget, ...]:
    """All budgets of a search; two of one quantity are intersected, and the intersection must not be empty."""
    merged: dict[tuple[str, str | None], Budget] = {}
    for text in texts:
        budget = parse_budget(text)
        key = (budget.quantity, budget.device)
        if key in merged:
            other = merged[key]
            low, high = max(other.low, budget.low), min(other.high, budget.high)
            if low > high:
                raise BadInput(f"budgets {other} and {budget} contradict each other: nothing satisfies both; drop one")
            budget = Budget(budget.quantity, high, low, budget.device)
        merged[key] = budget
    if not merged:
        raise BadInput(f"no budget given: use --budget with {EXAMPLES}")
    return tuple(sorted(merged.values(), key=lambda b: (QUANTITIES.index(b.quantity), b.device or "")))


def parse_weights(text: str) -> tuple[float, ...]:
    """Stage weights such as ``0,0,1,1,16``: at least 0, below a million, not all 0."""
    try:
        weights = tuple(float(w) for w in text.split(","))
    except ValueError as error:
        raise BadInput(f"weights {text!r} must be numbers separated by commas, such as 0,0,1,1,16") from error
    if not any(w > 0 for w in weights) or any(not 0 <= w < 1e6 for w in weights):
        raise BadInput(f"weights {text!r} must be at least 0, below a million, and not all 0")
    return weights
