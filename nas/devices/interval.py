"""The 90 % interval of a predicted latency, from a profile's error on networks that it was not fitted to.

Errors of one family's networks are alike: the next network is as likely as not of a family that was never measured, so
that families are counted, not networks.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.devices.profile import DeviceProfile

SHARE = 0.9
FEWEST = 9
"""Fewest errors of which one can bound nine in ten."""
FEWEST_FAMILIES = 3
MAPE_TO_BAND = 1.645 / 0.798
"""Half of a 90 % interval over the mean absolute error, both of a normal distribution."""
_MOST_FREEDOM = 200.0


@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds in milliseconds, and what they are based on."""

    low_ms: float
    high_ms: float
    meaning: str


def interval_ms(profile: DeviceProfile, ms: float) -> Interval | None:
    """The 90 % interval of the measured time of a network predicted at ``ms``; None if the profile states no error.

    If the profile lists enough errors of single networks, the one of rank ``0.9 (n + 1)`` bounds the next network with
    90 % probability if it is like those. If it lists the errors of families that were left out, ``family_half`` of them
    bounds a network of another family. Otherwise the mean error is taken for that of a normal distribution. Errors
    are factors, so that the interval is always above 0.
    """
    error = profile.error
    single = error.get("percent_by_network")
    absolute, signed = error.get("mape_percent_by_family", {}), error.get("mean_percent_by_family", {})
    if isinstance(single, Mapping) and len(single) >= FEWEST:
        logs = sorted(abs(math.log1p(max(float(percent), -99.0) / 100)) for percent in single.values())
        half = logs[min(len(logs), math.ceil(SHARE * (len(logs) + 1))) - 1]
        # Agreement by chance does not make a noisy profile precise.
        half = max(half, math.log1p(float(error.get("noise_percent", 0.0)) / 100))
        meaning = f"holds for 9 in 10 of networks like the {len(logs)} that this profile was not fitted to"
    elif len(absolute) >= FEWEST_FAMILIES and absolute.keys() == signed.keys():
        half = family_half([(signed[name] / 100, absolute[name] / 100) for name in absolute])
        meaning = (
            f"9 in 10 of networks of another family than the {len(absolute)} measured ones: from the errors of each "
            "family when left out, families counting alike"
        )
    elif "mape_percent" in error:
        mean = float(error["mape_percent"])
        half = math.log1p(MAPE_TO_BAND * mean / 100)
        meaning = (
            f"9 in 10 if errors are normally distributed: {MAPE_TO_BAND:.2f} times the profile's mean error of "
            f"{mean:.1f} % on networks that it was not fitted to"
        )
    else:
        return None
    return Interval(ms * math.exp(-half), ms * math.exp(half), meaning)


def family_half(families: Sequence[tuple[float, float]]) -> float:
    """Half of the 90 % interval of the logarithm of a new family's times.

    Args:
        families: mean error and mean absolute error of each family when left out, as shares.

    A family's mean square is its bias squared plus the variance within it; their mean is the variance of a network of
    a new family, known from as many families as there are, more where they are alike. Hence the quantile of Student's
    distribution.
    """
    squares = [bias**2 + _deviation(abs(bias), mean_absolute) ** 2 for bias, mean_absolute in families]
    mean = statistics.fmean(squares)
    spread = statistics.variance(squares) if len(squares) > 1 else 0.0
    # Satterthwaite: a sum of squares with this mean and this spread has so many degrees of freedom.
    freedom = 2 * len(squares) * mean**2 / spread if spread > 0 else _MOST_FREEDOM
    return student_95(min(max(freedom, float(len(squares))), _MOST_FREEDOM)) * math.sqrt(mean)


def student_95(freedom: float) -> float:
    """The 95 % quantile of Student's distribution, by its expansion around the normal one (3 digits from 3 on)."""
    z = 1.6448536
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def _deviation(bias: float, mean_absolute: float) -> float:
    """Standard deviation of a normal distribution with this mean and this mean of absolute values."""
    if mean_absolute <= bias:
        return 0.0
    low, high = 0.0, 2.0 * mean_absolute
    for _ in range(50):
        middle = (low + high) / 2
        folded = middle * math.sqrt(2 / math.pi) * math.exp(-0.5 * (bias / middle) ** 2)
        folded += bias * math.erf(bias / (middle * math.sqrt(2)))
        low, high = (low, middle) if folded > mean_absolute else (middle, high)
    return (low + high) / 2
