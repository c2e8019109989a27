"""Search strategies, one file each, behind one ask-tell interface.

``STRATEGIES`` maps names to classes as ``module:class``; a class is imported when it is asked for, so that Optuna is
imported late.
"""

from __future__ import annotations

import importlib
from typing import Any

from workbench.errors import unknown_name

STRATEGIES: dict[str, str] = {
    "exact": "nas.strategies.exact.search:ExactSearch",
    "evolution": "nas.strategies.evolution:EvolutionSearch",
    "random": "nas.strategies.random:RandomSearch",
    "tpe": "nas.strategies.optuna_samplers:TpeSearch",
    "nsga2": "nas.strategies.optuna_samplers:Nsga2Search",
}


def strategy_class(name: str) -> Any:
    """The class of a strategy, a subclass of ``nas.strategies.strategy.Strategy``."""
    if name not in STRATEGIES:
        raise unknown_name("strategy", name, STRATEGIES)
    module, _, attribute = STRATEGIES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
