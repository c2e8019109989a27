"""What ``nas search --then`` asks for, with its defaults and checks."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.errors import BadInput

if TYPE_CHECKING:
    from distill.request import TrainRequest

EPOCHS = 30
"""Default epochs of a brief training."""
TOP = 5
"""Default number of candidates."""
STAND_IN = "damo-yolo-t"
"""Model with which the request is checked before the search; the candidates are of its family."""


@dataclass(frozen=True, slots=True)
class ShortlistRequest:
    """What ``--then`` asks for; ``training`` is what all trainings have in common, its model is filled in."""

    training: TrainRequest
    top: int = TOP
    """Number of candidates."""
    against: tuple[str, ...] | None = None
    """Stock models by name; None takes the nearest ones, empty none."""

    def check(self) -> None:
        """Refuse what cannot be trained before anything is searched."""
        from distill.prepare import prepare
        from zoo.families.card import find_card

        if self.top < 1:
            raise BadInput(f"--top {self.top} must be at least 1: the number of candidates that are trained")
        for model in self.against or ():
            find_card(model)
        prepare(dataclasses.replace(self.training, model=STAND_IN))
