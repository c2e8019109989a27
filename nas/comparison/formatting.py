"""Numbers, intervals and lists of names as text."""

from __future__ import annotations

from collections.abc import Sequence

from nas.comparison.rows import Reading

NOT_KNOWN = "–"


def number(value: float | None) -> str:
    """Three significant digits, thousands grouped; a dash for None."""
    if value is None:
        return NOT_KNOWN
    if value == 0:
        return "0"
    digits = 0
    while digits < 6 and abs(value) < 100 / 10**digits:
        digits += 1
    return f"{value:,.{digits}f}"


def span(reading: Reading) -> str:
    """``2.99–3.94``, or nothing without an interval."""
    return "" if reading.low is None or reading.high is None else f"{number(reading.low)}–{number(reading.high)}"


def listed(names: Sequence[str], most: int) -> str:
    """``a, b and c``; beyond ``most`` names, the first ones and the number of the others."""
    shown = list(names[:most])
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
