"""What may exist: architectures, the graphs they lower to, block kinds and search spaces. No torch here.

``search_spaces.load_space("res")`` opens a space, ``Architecture.load("best.yaml")`` reads an architecture,
``lower(arch)`` gives its ``Graph``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search_spaces.architecture import Architecture as Architecture
    from search_spaces.graph import Graph as Graph
    from search_spaces.lowering import lower as lower
    from search_spaces.published import PUBLISHED as PUBLISHED
    from search_spaces.space import Space as Space
    from search_spaces.space_file import load_space as load_space
    from search_spaces.space_file import space_names as space_names

_MODULES = {
    "Architecture": "architecture",
    "Graph": "graph",
    "PUBLISHED": "published",
    "Space": "space",
    "load_space": "space_file",
    "lower": "lowering",
    "space_names": "space_file",
}
"""Public names, each with the module that holds it."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import search_spaces`` stays light."""
    import importlib

    if name not in _MODULES:
        raise AttributeError(f"module 'search_spaces' has no attribute {name!r}")
    return getattr(importlib.import_module(f"search_spaces.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_MODULES)
