"""The result of a measurement: an importance for every unit, block and depth, as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.errors import BadInput

FIELDS = ("groups", "blocks", "stacks", "method", "images", "loss")


@dataclass(frozen=True, slots=True, eq=False)
class ImportanceScores:
    """What a detector would lose, all values at least 0.

    Methods with data state it in units of the training loss, so that values may be compared and added across groups,
    blocks and stacks. ``norm`` has units of its own.
    """

    groups: Mapping[str, np.ndarray]
    """Name of every channel group to the importance of its units, float64 ``[n]``, in the order of the group."""
    blocks: Mapping[str, float]
    """Path of every skippable block to what skipping it costs, the units inside of it included."""
    stacks: Mapping[str, np.ndarray]
    """Path of every stack to what it costs to keep its first 1, 2, ... layers, float64 ``[layers]``; the last is 0."""
    method: str
    images: int = 0
    """Images that were used; 0 for a method without data."""
    loss: float | None = None
    """Training loss of the whole detector on them, the mean over images; None without data."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data; ``from_dict`` reads it back to the same bits."""
        return {
            "groups": {name: values.tolist() for name, values in self.groups.items()},
            "blocks": dict(self.blocks),
            "stacks": {path: values.tolist() for path, values in self.stacks.items()},
            "method": self.method, "images": self.images, "loss": self.loss,
        }  # fmt: skip

    @staticmethod
    def from_dict(data: Any) -> ImportanceScores:
        """Check plain data; a wrong field raises ``BadInput`` with its name and the rule."""
        if not isinstance(data, dict) or not all(name in data for name in FIELDS):
            raise BadInput(f"importance scores must be a table with {', '.join(FIELDS)}")
        for name in ("groups", "blocks", "stacks"):
            if not isinstance(data[name], dict):
                raise BadInput(f"importance scores: {name} must be a table")
        if not isinstance(data["method"], str) or type(data["images"]) is not int or data["images"] < 0:
            raise BadInput("importance scores: method must be a name and images a whole number from 0 on")
        loss = None if data["loss"] is None else float(_values([data["loss"]], "loss")[0])
        return ImportanceScores(
            {str(name): _values(values, str(name)) for name, values in data["groups"].items()},
            {str(path): float(_values([value], str(path))[0]) for path, value in data["blocks"].items()},
            {str(path): _values(values, str(path)) for path, values in data["stacks"].items()},
            data["method"], data["images"], loss,
        )  # fmt: skip


def _values(values: Any, name: str) -> np.ndarray:
    """A list of finite numbers from 0 on as float64 ``[n]``."""
    fine = isinstance(values, list) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
        for value in values
    )
    if not fine:
        raise BadInput(f"importance scores: {name[:80]!r} must be finite numbers from 0 on")
    return np.array(values, dtype=np.float64)
