"""Options of strategies: one frozen dataclass each, read from text or values, every field with a default."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from workbench.errors import BadInput


@dataclass(frozen=True)
class StrategyOptions:
    """Options of a strategy. Subclasses add fields of type int, float or bool and check them in ``__post_init__``."""

    def changed(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }


@dataclass(frozen=True)
class SamplingOptions(StrategyOptions):
    """Options of every strategy that samples: ``steps``, candidates to evaluate; ``population``, rows kept together."""

    steps: int = 200_000
    population: int = 512

    def __post_init__(self) -> None:
        if self.steps < 1 or self.population < 1:
            raise BadInput(f"steps {self.steps} must be at least 1 and population {self.population} at least 1")


OptionsType = TypeVar("OptionsType", bound=StrategyOptions)


def read_options(kind: type[OptionsType], strategy: str, values: Mapping[str, Any]) -> OptionsType:
    """Options of ``strategy`` from ``values``: numbers and booleans, or texts converted to the field's type."""
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    for name in values:
        if name not in defaults:
            near = difflib.get_close_matches(name, defaults, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            known = ", ".join(f"{key}={show_option(value)}" for key, value in defaults.items()) or "none"
            raise BadInput(f"unknown option of {strategy} {name!r}: {hint}options and their defaults: {known}")
    return kind(**{name: _convert(name, value, defaults[name]) for name, value in values.items()})


def show_option(value: object) -> str:
    """An option's value as it is written on the command line."""
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def _convert(name: str, value: Any, default: Any) -> Any:
    """``value`` as the type of ``default``."""
    if isinstance(default, bool):
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if not isinstance(value, bool):
            raise BadInput(f"option {name}={value!r} must be true or false")
        return value
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
    except (TypeError, ValueError):
        raise BadInput(f"option {name}={value!r} must be a number of at least 0") from None
    if not 0 <= number < float("inf"):
        raise BadInput(f"option {name}={value!r} must be a number of at least 0")
    if not isinstance(default, int):
        return number
    if number != int(number):
        raise BadInput(f"option {name}={value!r} must be a whole number")
    return int(number)
