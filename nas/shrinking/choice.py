"""Chooses what stays of a detector: the most importance under the budgets, with a certificate.

The depth of a stack of layers, such as RT-DETR's decoder, is an outer choice: one problem a depth.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.importance.scores import ImportanceScores
from nas.budgets import Budget, format_cost
from nas.costs import budget_cost, graph_costs, whole_limit
from nas.devices.profile import DeviceProfile
from nas.shrinking.problem import DEFAULT_GRID, Worth, shrink_problem
from nas.shrinking.solver.problem import Problem
from nas.shrinking.solver.reach import least_cost
from nas.shrinking.solver.solve import Solution, solve
from workbench.errors import BadInput
from zoo.factory import build_recipe
from zoo.meta import without_weights
from zoo.pruning.cuts import Cuts
from zoo.pruning.groups import ChannelGroups
from zoo.pruning.widths import NetworkWidths, network_widths

if TYPE_CHECKING:
    from zoo.detector import Detector

GAP = 1e-3
"""The search ends once the value is proved to be within this share of the bound."""
TIGHTENINGS = 5
"""How often limits are lowered where skipped blocks left the child above a budget."""

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Choice:
    """What stays, what it costs, and how far it can be from the optimum."""

    cuts: Cuts
    """Of the parent as it is given."""
    kept: Mapping[str, int]
    """Channel group to the number of its units that stay; groups of skipped blocks have 0."""
    costs: Mapping[str, float]
    """Of the child, in base units: its own traced network, not the sum of the tables."""
    value: float
    """Share of the parent's importance that is kept; below 0 where skipping was measured to cost more than that."""
    bound: float
    """No choice within the budgets keeps a greater share."""
    gap: float
    """(bound - value) / bound."""
    proved: bool
    """Whether the gap is within what was asked for."""
    seconds: float
    nodes: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; ``from_dict`` reads it back."""
        return {**{f.name: getattr(self, f.name) for f in dataclasses.fields(self)}, "cuts": self.cuts.to_dict()}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Choice:
        """From a journal record."""
        return Choice(**{**data, "cuts": Cuts.from_dict(data["cuts"])})


@dataclass(frozen=True, slots=True)
class _Variant:
    """The parent with some depths, its problem, and the importance that is kept besides the problem's value."""

    depths: Mapping[str, int]
    widths: NetworkWidths
    problem: Problem
    offset: float


class Chooser:
    """Makes choices for one parent under any budgets: the tables are made once."""

    def __init__(
        self, parent: Detector, scores: ImportanceScores, profiles: Mapping[str, DeviceProfile], input_px: int,
        grid: int = DEFAULT_GRID, report: Report = lambda text: None,
    ) -> None:  # fmt: skip
        self.parent, self.scores, self.profiles, self.input_px = parent, scores, profiles, input_px
        self.total = float(sum(values.sum() for values in scores.groups.values()))
        if not self.total > 0:
            raise BadInput("every importance is 0: the parent learned nothing, or the images hold no object")
        self.variants = [self._variant(depths, grid, report) for depths in self._depths()]
        self.parent_costs = graph_costs(self.variants[0].widths.graph, input_px, list(profiles.values())).costs

    @property
    def groups(self) -> ChannelGroups:
        """The parent's channel groups."""
        return self.variants[0].widths.groups

    def _depths(self) -> list[dict[str, int]]:
        """All combinations of depths, the full one first."""
        stacks = self.scores.stacks
        ranges = [range(len(losses), 0, -1) for losses in stacks.values()]
        return [dict(zip(stacks, depths, strict=True)) for depths in itertools.product(*ranges)]

    def _variant(self, depths: dict[str, int], grid: int, report: Report) -> _Variant:
        shortened = {path: n for path, n in depths.items() if n < len(self.scores.stacks[path])}
        report("following the channels" + "".join(f", {n} layers in {path}" for path, n in shortened.items()))
        with without_weights():
            twin = build_recipe(self._recipe(Cuts(depths=shortened)))
            twin.choose_branch(self.parent.branch)
        widths = network_widths(twin, self.input_px)
        names = {group.name for group in widths.groups.groups}
        blocks = {path: self.scores.blocks[path] for path in widths.groups.blocks if path in self.scores.blocks}
        worth = Worth({name: self.scores.groups[name] for name in names}, blocks)
        lost = sum(float(self.scores.stacks[path][n - 1]) for path, n in shortened.items())
        gone = sum(float(values.sum()) for name, values in self.scores.groups.items() if name not in names)
        return _Variant(shortened, widths, shrink_problem(widths, worth, self.profiles, grid), gone - lost)

    def _recipe(self, cuts: Cuts) -> Any:
        return dataclasses.replace(self.parent.recipe, cuts=self.parent.recipe.cuts.then(cuts))

    def limits(self, budgets: Sequence[Budget]) -> dict[str, tuple[float, float]]:
        """Budgets as whole numbers of the costs' units; refuses quantities that do not depend on widths."""
        limits: dict[str, tuple[float, float]] = {}
        for budget in budgets:
            name = budget_cost(self.profiles, budget)
            if name not in self.parent_costs:
                raise BadInput(f"budget {budget}: a detector is cut to a latency, FLOPs, parameters or activations")
            limits[name] = whole_limit(budget, self.unit(name))
        return limits

    def unit(self, name: str) -> float:
        """Base units of one whole number of this cost."""
        return self.profiles[name].tick_ms if name in self.profiles else 1.0

    def choose(
        self, budgets: Sequence[Budget], gap: float = GAP, seconds: float = 120.0, report: Report = lambda text: None
    ) -> Choice:
        """The choice that keeps the most importance within ``budgets``.

        Args:
            gap: ends once the value is within this share of the bound.
            seconds: time limit for the search, all depths together.
        """
        start, wanted = time.monotonic(), self.limits(budgets)
        limits = dict(wanted)
        for _ in range(TIGHTENINGS):
            found = self._solve(limits, gap, max(seconds - (time.monotonic() - start), 1.0), report)
            if found is None:
                raise BadInput(self._unreachable(budgets, wanted))
            variant, solution, bound = found
            choice = self._choice(variant, solution, bound, gap, start)
            over = {name: self._excess(choice, name, high) for name, (_, high) in wanted.items()}
            if not any(over.values()):
                return choice
            limits = {
                name: (low, solution.costs[name] - over[name] if over[name] else high)
                for name, (low, high) in limits.items()
            }
            report(f"skipped blocks left the child above a budget by {max(over.values())}: choosing again")
        raise BadInput(f"no child within {', '.join(map(str, budgets))} was found: ask for another --grid or budget")

    def _excess(self, choice: Choice, name: str, high: float) -> int:
        """How far the child is above a limit, in whole units."""
        return max(0, math.ceil(choice.costs[name] / self.unit(name) - 1e-6 - high))

    def _solve(
        self, limits: Mapping[str, tuple[float, float]], gap: float, seconds: float, report: Report
    ) -> tuple[_Variant, Solution, float] | None:
        """The best solution of all variants, and the greatest bound of any."""
        best: tuple[_Variant, Solution] | None = None
        bound = -math.inf
        for number, variant in enumerate(self.variants):
            problem = dataclasses.replace(variant.problem, limits=dict(limits))
            solution = solve(problem, gap, seconds / (len(self.variants) - number))
            if not solution.feasible:
                if not solution.proved:
                    bound = max(bound, solution.bound + variant.offset)
                continue
            bound = max(bound, solution.bound + variant.offset)
            if best is None or solution.value + variant.offset > best[1].value + best[0].offset:
                best = (variant, solution)
            report(f"kept importance {self._share(best):.4f}, bound {bound / self.total:.4f}")
        return None if best is None else (*best, bound)

    def _share(self, best: tuple[_Variant, Solution]) -> float:
        return (best[1].value + best[0].offset) / self.total

    def _choice(self, variant: _Variant, solution: Solution, bound: float, gap: float, start: float) -> Choice:
        groups = variant.widths.groups
        kept, counts, skipped = {}, {}, set()
        for group, count in zip(groups.groups, solution.states, strict=True):
            counts[group.name] = count
            if count == 0:
                skipped.add(group.block)
            else:
                order = np.argsort(-self.scores.groups[group.name], kind="stable")
                kept[group.name] = np.sort(order[:count])
        cuts = groups.cuts_of(kept, sorted(skipped), variant.depths)
        with without_weights():
            child = build_recipe(self._recipe(cuts))
        child.choose_branch(self.parent.branch)
        costs = graph_costs(child.graph(self.input_px), self.input_px, list(self.profiles.values())).costs
        value, bound = self._share((variant, solution)), bound / self.total
        spread = (bound - value) / abs(bound) if bound else 0.0
        seconds = time.monotonic() - start
        return Choice(cuts, counts, costs, value, bound, spread, spread <= gap + 1e-9, seconds, solution.nodes)

    def _unreachable(self, budgets: Sequence[Budget], limits: Mapping[str, tuple[float, float]]) -> str:
        """Which budget cannot be met, and what can."""
        for budget, (name, (_, high)) in zip(budgets, limits.items(), strict=True):
            least = min(
                (cost for variant in self.variants if (cost := least_cost(variant.problem, name)) is not None),
                default=None,
            )
            if least is not None and least > high:
                reach = format_cost(name, least * self.unit(name))
                return (
                    f"budget {budget} cannot be met: the least for {self.parent.recipe.model} is {reach} "
                    f"at {self.input_px} px; raise the budget, lower --input, or start from a smaller parent"
                )
        texts = " and ".join(map(str, budgets))
        return f"nothing within {texts} was found, although each can be met alone: relax one of them"
