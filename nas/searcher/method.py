"""How a search problem is solved: the strategy, its options, and how the work is split."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nas.searcher.worker_plan import WorkerPlan
from nas.strategies import strategy_class
from nas.strategies.islands import IslandSearch
from nas.strategies.options import StrategyOptions, read_options
from nas.strategies.strategy import Strategy, StrategyContext
from workbench.errors import BadInput


@dataclass(frozen=True)
class SearchMethod:
    """A strategy by name with its options; ``time_limit_s``: seconds after which a proof is given up."""

    strategy: str
    options: StrategyOptions
    plan: WorkerPlan
    time_limit_s: float = 300.0

    def build(self, context: StrategyContext) -> Strategy:
        """The strategy, ready for its first ``ask``."""
        if self.plan.islands:
            return IslandSearch(context, self.options, self.plan.islands)  # type: ignore[arg-type]
        strategy: Strategy = strategy_class(self.strategy)(context, self.options)
        return strategy


def choose_options(
    strategy: str, changes: Mapping[str, Any] | None, steps: int | None, population: int | None
) -> StrategyOptions:
    """The options of ``strategy``: ``changes`` by name, and the two that have parameters of their own."""
    kind = strategy_class(strategy).options_type
    known = {field.name for field in dataclasses.fields(kind)}
    values = dict(changes or {})
    for name, value in (("steps", steps), ("population", population)):
        if value is None:
            continue
        if name in values:
            twice = f"as --{name} {value} and as --set {name}={values[name]}"
            raise BadInput(f"{name} is given twice: {twice}; leave one out")
        if name in known:
            values[name] = value
    options: StrategyOptions = read_options(kind, strategy, values)
    return options
