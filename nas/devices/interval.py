"""The 90 % interval of a predicted latency, from a profile's error on networks that it was not fitted to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nas.devices.profile import DeviceProfile

SHARE = 0.9
FEWEST = 9
"""Fewest errors of which one can bound nine in ten."""
MAPE_TO_BAND = 1.645 / 0.798
"""Half of a 90 % interval over the mean absolute error, both of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds in milliseconds, and what they are based on."""

    low_ms: float
    high_ms: float
    meaning: str


def interval_ms(profile: DeviceProfile, ms: float) -> Interval | None:
    """The 90 % interval of the measured time of a network predicted at ``ms``; None if the profile states no error.

    If the profile lists enough errors of single networks, the one of rank ``0.9 (n + 1)`` bounds the next network with
    90 % probability if it is like those. Otherwise the mean error is taken for that of a normal distribution. Errors
    are factors, so that the interval is always above 0.
    """
    error = profile.error
    single = error.get("percent_by_network")
    if isinstance(single, Mapping) and len(single) >= FEWEST:
        logs = sorted(abs(math.log1p(max(float(percent), -99.0) / 100)) for percent in single.values())
        half = logs[min(len(logs), math.ceil(SHARE * (len(logs) + 1))) - 1]
        # Agreement by chance does not make a noisy profile precise.
        half = max(half, math.log1p(float(error.get("noise_percent", 0.0)) / 100))
        meaning = f"holds for 9 in 10 of networks like the {len(logs)} that this profile was not fitted to"
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
