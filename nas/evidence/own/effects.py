"""What the factors of a design do to the trained accuracy, and to a score: main effects with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workbench.doors.bytes import read_lines
from workbench.doors.json import parse_json
from workbench.errors import BadInput

LEVEL = 0.9
"""Coverage of the intervals."""
MIN_FREEDOM = 3
"""Fewest architectures beyond the number of terms from which effects are estimated."""


@dataclass(frozen=True)
class Effect:
    """Mean change of a value from a factor's ``reference`` level to ``level``, all other factors alike."""

    factor: str
    level: str
    reference: str
    value: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def read_levels(folder: str | Path) -> dict[str, dict[str, str]]:
    """Levels by factor of every architecture of ``trained.jsonl``; empty for architectures that are of no design."""
    path = Path(folder) / "trained.jsonl"
    levels: dict[str, dict[str, str]] = {}
    for number, line in read_lines(path, "trainings"):
        record = parse_json(line, f"{str(path)!r}, line {number}")
        found = record.get("levels", {}) if isinstance(record, dict) else None
        if not isinstance(found, dict) or "name" not in record:
            raise BadInput(f"{str(path)!r}, line {number} must be an object with 'name' and 'levels'")
        levels[str(record["name"])] = {str(factor): str(level) for factor, level in found.items()}
    return levels


@dataclass(frozen=True)
class MainEffects:
    """The effects of all factors, and the standard deviation of what they leave: noise and what is not additive."""

    effects: tuple[Effect, ...]
    remainder: float


def main_effects(
    levels: Sequence[Mapping[str, str]], references: Mapping[str, str], values: np.ndarray
) -> MainEffects | None:
    """Main effects of every factor on ``values`` ``[n]`` by least squares, with 90 % Student intervals.

    ``references`` has the reference level of every factor. None where the architectures are too few, or their levels
    too alike, to tell the effects apart; architectures without a value (NaN) do not count.
    """
    known = np.flatnonzero(~np.isnan(values)).tolist()
    columns = [np.ones(len(known))]
    terms: list[tuple[str, str]] = []
    for factor, reference in references.items():
        own = [levels[at][factor] for at in known]
        for level in dict.fromkeys(own):
            if level != reference:
                terms.append((factor, level))
                columns.append(np.array([name == level for name in own], dtype=float))
    matrix = np.stack(columns, axis=1)
    freedom = len(known) - matrix.shape[1]
    if freedom < MIN_FREEDOM or np.linalg.matrix_rank(matrix) < matrix.shape[1]:
        return None
    from scipy.stats import t  # type: ignore[import-untyped]

    found, *_ = np.linalg.lstsq(matrix, values[known], rcond=None)
    variance = float(((values[known] - matrix @ found) ** 2).sum()) / freedom
    half = t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(variance * np.diag(np.linalg.inv(matrix.T @ matrix)))
    effects = tuple(
        Effect(factor, level, references[factor], float(value), float(value - reach), float(value + reach))
        for (factor, level), value, reach in zip(terms, found[1:], half[1:], strict=True)
    )
    return MainEffects(effects, float(np.sqrt(variance)))
