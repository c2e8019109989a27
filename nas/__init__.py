"""Which detector to choose: search, rulers, reports and the ``nas`` command.

In Python: ``nas.search(budget="3ms", device="t4")``, ``nas.score("best.yaml")``, ``nas.cost("damo-yolo-s", device="t4")``.
"""

from __future__ import annotations

from typing import Any

from workbench import __version__ as __version__


def __getattr__(name: str) -> Any:
    """``search``, ``score`` and ``cost`` arrive when they are first used, so that ``import nas`` stays light."""
    import importlib

    if name == "search":
        return importlib.import_module("nas.searcher.api").search
    if name in ("score", "cost"):
        return getattr(importlib.import_module("nas.api"), name)
    raise AttributeError(f"module 'nas' has no attribute {name!r}")
