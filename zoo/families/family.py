"""What a family states about itself: its models, and how its official checkpoints are recognised and read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from zoo.detector import Detector, Recipe


@dataclass(frozen=True, slots=True)
class Family:
    """One object a family, ``FAMILY`` of its module; ``zoo.families.FAMILIES`` lists the modules.

    Licences, input sizes and published figures are facts about single models and are in the family's card.
    """

    name: str
    title: str
    """The name as its authors write it."""
    sizes: Mapping[str, Any]
    """Model name to the settings that ``make`` reads."""
    make: Callable[[Recipe], Detector]
    landmark: str
    """Regular expression of an official tensor name that only this family's checkpoints contain."""
    count_classes: Callable[[Mapping[str, Sequence[int]]], int]
    """Number of classes from official tensor names and shapes."""
    renames: tuple[tuple[str, str], ...] = ()
    """(pattern, replacement) pairs that turn our tensor names into the official ones, applied in order."""
    constants: Mapping[str, Callable[[Tensor], bool]] = field(default_factory=dict)
    """Official tensors that we compute instead of store: name pattern, and a check that a value is the computed one."""
    inf_allowed: tuple[str, ...] = ()
    """Official tensors that may hold infinities."""
    aliases: tuple[tuple[str, str], ...] = ()
    """(pattern, replacement) pairs that turn other publishers' names of the official tensors into the official ones."""
    recipe: str = ""
    """Training recipe for a data set of the size of COCO; without one, small data's recipe is the default."""

    def official_name(self, name: str) -> str:
        """The official name of our tensor ``name``."""
        for pattern, replacement in self.renames:
            name = re.sub(pattern, replacement, name)
        return name

    def from_alias(self, name: str) -> str:
        """The official name of a tensor that another publisher calls ``name``."""
        for pattern, replacement in self.aliases:
            name = re.sub(pattern, replacement, name)
        return name

    def constant_check(self, official_name: str) -> Callable[[Tensor], bool] | None:
        """The check of an official tensor that we compute instead of store; None for every other tensor."""
        return next((check for name, check in self.constants.items() if re.fullmatch(name, official_name)), None)
