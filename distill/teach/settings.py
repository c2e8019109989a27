"""What is distilled, and how much it counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from distill.teach.balance import Schedule
from distill.teach.methods import feature_method, response_method
from workbench.errors import BadInput

DEFAULT_SHARE = 0.3
"""Gradient norm of all distillation losses together over that of the detector's own loss."""


@dataclass(frozen=True)
class DistillationSettings:
    """Methods by name with their options, and the weight of their losses."""

    features: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"cwd": {}})
    responses: Mapping[str, Mapping[str, Any]] | None = None
    """None uses the methods that suit the pair; empty means none."""
    share: float = DEFAULT_SHARE
    fixed: Mapping[str, float] = field(default_factory=dict)
    """Plain weights by method name instead of balanced ones."""
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        for name in self.features:
            feature_method(name)
        for name in self.responses or {}:
            response_method(name)
        if not self.features and self.responses is not None and not self.responses:
            raise BadInput("nothing is distilled: name at least one method")
