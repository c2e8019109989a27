"""Range checks of settings from a recipe or the command line."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from workbench.errors import BadInput


def check_number(name: str, value: Any, least: float = 0.0, most: float = math.inf, above: bool = False) -> float:
    """``value`` as a finite float from ``least`` (or ``above`` it) to ``most``, or an error that names it."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not least <= value <= most or (above and value == least):
        bounds = f"{'above' if above else 'at least'} {least:g}" + (f" and at most {most:g}" if most < math.inf else "")
        raise BadInput(f"{name} {value!r}: must be a number {bounds}")
    return float(value)


def check_int(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """``value`` as a whole number from ``least`` on, or to ``most``, or an error that names it."""
    if type(value) is not int or value < least or (most is not None and value > most):
        bounds = f"from {least} {'on' if most is None else f'to {most}'}"
        raise BadInput(f"{name} {value!r}: must be a whole number {bounds}")
    return value


def check_options(name: str, method: type, options: Mapping[str, Any], given: int) -> None:
    """Refuse ``options`` that ``method`` does not take; its first ``given`` parameters are no options."""
    known = list(inspect.signature(method).parameters)[given:]
    for option in options:
        if option not in known:
            raise BadInput(f"{name} has no option {option!r}; it has {', '.join(known) or 'none'}")
