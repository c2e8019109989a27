"""The methods of importance by name."""

from __future__ import annotations

from distill.importance.method import Importance
from distill.importance.norm import Norm
from distill.importance.taylor import Taylor
from workbench.errors import unknown_name

IMPORTANCES: dict[str, Importance] = {"norm": Norm(), "taylor": Taylor()}
DEFAULT_IMPORTANCE = "taylor"


def find_importance(name: str) -> Importance:
    """A method by name."""
    if name not in IMPORTANCES:
        raise unknown_name("importance", name, IMPORTANCES)
    return IMPORTANCES[name]
