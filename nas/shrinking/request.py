"""What ``nas shrink`` is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from distill.importance.methods import DEFAULT_IMPORTANCE
from distill.request import TrainRequest
from nas.shrinking.choice import GAP
from nas.shrinking.problem import DEFAULT_GRID
from workbench.checks import check_int
from workbench.errors import BadInput

WITHOUT_DATA = "norm"
"""The importance that needs no images."""


@dataclass(frozen=True, slots=True)
class ShrinkRequest:
    """A parent, the budgets of its child, and how the child is chosen and taught."""

    parent: str
    """A checkpoint."""
    budgets: tuple[str, ...]
    devices: tuple[str, ...]
    train: TrainRequest | None
    """Data, recipe and run options of the training; None cuts without training, by an importance without data."""
    importance: str | None = None
    images: int = 256
    """Images that importance is measured on."""
    grid: int = DEFAULT_GRID
    input_px: int | None = None
    sizes: int = 1
    """Children, evenly spread (by ratio) between the parent and the budgets."""
    rounds: int = 1
    """Cuts with training in between, evenly spread between the parent and a child's budgets."""
    control: bool = False
    against: tuple[str, ...] = ()
    seeds: int = 1
    seed: int = 0
    gap: float = GAP
    time_limit_s: float = 120.0
    name: str | None = None
    runs: str = "runs"
    fresh: bool = False
    pictures: bool = True
    quiet: bool = False

    @property
    def method(self) -> str:
        """The importance in use."""
        return self.importance or (WITHOUT_DATA if self.train is None else DEFAULT_IMPORTANCE)

    def check(self) -> None:
        """Refuse options that contradict each other."""
        for option, value in (("--front", self.sizes), ("--rounds", self.rounds), ("--grid", self.grid)):
            check_int(option, value)
        check_int("--seeds", self.seeds)
        if not 0 < self.time_limit_s < float("inf"):
            raise BadInput(f"--time-limit {self.time_limit_s:g} must be a number of seconds above 0")
        if not 0 <= self.gap < 1:
            raise BadInput(f"--gap {self.gap:g} must be from 0 up to, but not including, 1")
        if self.train is None:
            for option, given in (
                ("--rounds", self.rounds > 1), ("--control", self.control), ("--against", self.against),
                ("--seeds", self.seeds > 1), (f"--importance {self.method}", self.method != WITHOUT_DATA),
            ):  # fmt: skip
                if given:
                    raise BadInput(f"{option} needs images: add --data")
        if self.seeds > 1 and not (self.control or self.against):
            raise BadInput("--seeds repeats a comparison: add --control or --against")
