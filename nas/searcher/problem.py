"""A search problem: which space, under which budgets, on which devices, by which score."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.budgets import Budget
from nas.costs import SpaceCosts
from nas.scores import SCORES, WEIGHTS, fitting_scores, get_score
from nas.searcher.evaluator import Evaluator, whole_limits
from nas.variant_costs import space_costs
from search_spaces.architecture import Architecture
from search_spaces.space import Space, with_grid
from search_spaces.space_file import load_space
from search_spaces.variants import VariantSpace
from workbench.errors import BadInput

if TYPE_CHECKING:
    from nas.devices.profile import DeviceProfile


@dataclass(frozen=True)
class SearchProblem:
    """What is searched for; how is a ``SearchMethod``.

    Args:
        space: The search space, with its channel grid.
        space_name: The name or file it was loaded from.
        budgets: Typed budgets, primary one first.
        devices: Profiles of the devices that latency is predicted for.
        device_names: The names or files they were loaded from.
        score: Name of the score to maximize.
        weights: Stage weights of the scores that have them.
        scope: What costs count: ``detector`` or ``backbone``.
        input_px: Input side in pixels, of candidates of a space that does not choose it.
        seed: Seed of everything random.
    """

    space: Space
    space_name: str
    budgets: tuple[Budget, ...]
    devices: tuple[DeviceProfile, ...]
    device_names: tuple[str, ...]
    score: str
    weights: tuple[float, ...] = WEIGHTS
    scope: str = "detector"
    input_px: int = 640
    seed: int = 0

    @property
    def grid(self) -> int:
        """The channel step of the space."""
        return self.space.channel_step

    @functools.cached_property
    def space_costs(self) -> SpaceCosts:
        """Costs of rows of the space."""
        return space_costs(self.space, self.devices, self.input_px, self.scope)

    def side_of(self, arch: Architecture) -> int:
        """Input side in pixels of a candidate: its own, else that of the search."""
        return arch.input_px or self.input_px

    def evaluator(self) -> Evaluator:
        """An evaluator of candidates; refuses budgets and scores that do not go with space and devices."""
        limits = whole_limits(self.space_costs, self.budgets)
        return Evaluator(self.space_costs, limits, self.score, self.seed, self.weights)


def open_space(name: str, grid: int | None, input_px: int | None = None) -> Space:
    """The space by name or file, on another channel grid and at one input side if they are given."""
    space = load_space(name) if grid is None else with_grid(load_space(name), grid)
    return space if input_px is None or not isinstance(space, VariantSpace) else space.without_inputs()


def open_devices(names: Sequence[str]) -> tuple[DeviceProfile, ...]:
    """Device profiles by name or file."""
    from nas.devices.profile import load_device

    return tuple(load_device(name) for name in names)


def choose_score(space_costs: SpaceCosts, name: str | None, weights: Sequence[float] | None) -> tuple[str, list[str]]:
    """The score to maximize, and notes about the choice.

    ``name`` None takes the first additive score that the space allows. Refuses stage weights for a score without them.
    """
    notes = []
    if name is None:
        name, preferred = fitting_scores(space_costs)[0], next(score for score in SCORES.values() if score.rows)
        if name != preferred.name:
            reason = preferred.unfit(space_costs)
            notes.append(f"scored with {name}: {preferred.name}, the default, {reason}")
    if weights is not None and "weights" not in get_score(name).options:
        weighted = " or ".join(f"--score {score.name}" for score in SCORES.values() if "weights" in score.options)
        raise BadInput(
            f"weights {', '.join(f'{w:g}' for w in weights)} are stage weights, and score {name!r} has none: "
            f"use {weighted}, or leave out --weights"
        )
    return name, notes
