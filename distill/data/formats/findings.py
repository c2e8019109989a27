"""Findings: how often a rule was broken, with examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.data.formats.rules import RULES, Rule

MAX_EXAMPLES = 5
"""Examples of a finding that are kept."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How often one rule was broken in one split, with the first examples."""

    code: str
    split: str
    """Empty where a finding concerns the splits together."""
    count: int
    examples: tuple[str, ...]

    @property
    def rule(self) -> Rule:
        """What the code means."""
        return RULES[self.code]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        rule = self.rule
        return {
            "code": self.code, "severity": rule.severity, "split": self.split or None, "count": self.count,
            "what": rule.what, "examples": list(self.examples), "mend": rule.mend, "fix": rule.fix or None,
        }  # fmt: skip


class FindingLog:
    """Collects the findings of a split; keeps counts and the first examples, however many there are."""

    def __init__(self, split: str) -> None:
        self.split = split
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}

    def add(self, code: str, example: str, count: int = 1) -> None:
        """Count ``code``; an unknown code raises ``KeyError``."""
        RULES[code]
        self._counts[code] = self._counts.get(code, 0) + count
        examples = self._examples.setdefault(code, [])
        if len(examples) < MAX_EXAMPLES:
            examples.append(shortened(example))

    def add_all(self, code: str, mask: np.ndarray, example: Callable[[int], str]) -> None:
        """Count ``code`` for every true entry of ``mask``; ``example`` makes the text from its index."""
        indices = np.flatnonzero(mask)
        for index in indices[:MAX_EXAMPLES].tolist():
            self.add(code, example(index))
        if len(indices) > MAX_EXAMPLES:
            self._counts[code] += len(indices) - MAX_EXAMPLES

    def findings(self) -> tuple[Finding, ...]:
        """The findings in the order of ``RULES``."""
        codes = [code for code in RULES if code in self._counts]
        return tuple(Finding(code, self.split, self._counts[code], tuple(self._examples[code])) for code in codes)


def shortened(text: str, most: int = 160) -> str:
    """``text`` cut to at most ``most`` characters: names from outside may be of any length."""
    return text if len(text) <= most else text[: most - 1] + "…"


def quoted(value: object, most: int = 80) -> str:
    """``repr`` of something from outside: one line, escaped, and short."""
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    return shortened(repr(value), most)
