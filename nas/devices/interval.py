"""How far a forecast may be off: a 90 % interval from the error of a profile on networks it had not seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nas.devices.profile import DeviceProfile

SHARE = 0.9
FEWEST = 9
"""So many errors are needed before one of them can bound nine in ten."""
MAPE_TO_BAND = 1.645 / 0.798
"""Half of a 90 % band over the mean absolute error, both of the bell curve."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Milliseconds, and what the interval rests on."""

    low_ms: float
    high_ms: float
    meaning: str


def interval_ms(profile: DeviceProfile, ms: float) -> Interval | None:
    """Where the measured time of a network foretold at ``ms`` lies nine times in ten; None where the profile states no error.

    Errors of single networks decide where the profile keeps enough of them: of n, the one that ranks ``0.9 (n + 1)``
    bounds the next network with 90 % chance if it is like those. Else the mean error stands for a bell curve's. Errors
    are taken as factors, so that the interval cannot reach below 0.
    """
    error = profile.error
    single = error.get("percent_by_network")
    if isinstance(single, Mapping) and len(single) >= FEWEST:
        apart = sorted(abs(math.log1p(max(float(percent), -99.0) / 100)) for percent in single.values())
        half = apart[min(len(apart), math.ceil(SHARE * (len(apart) + 1))) - 1]
        # Chance agreement does not make a noisy profile sharp.
        half = max(half, math.log1p(float(error.get("noise_percent", 0.0)) / 100))
        meaning = f"holds for 9 in 10 of networks like the {len(apart)} that this profile was judged on and had not seen"
    elif "mape_percent" in error:
        mean = float(error["mape_percent"])
        half = math.log1p(MAPE_TO_BAND * mean / 100)
        meaning = f"9 in 10 if errors are bell-shaped: {MAPE_TO_BAND:.2f} times the profile's mean error of {mean:.1f} % on networks it had not seen"
    else:
        return None
    return Interval(ms * math.exp(-half), ms * math.exp(half), meaning)
