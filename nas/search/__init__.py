"""Searching: strategies, the study and its journal, and the run that ties them together.

The module is callable: ``nas.search(budget="3ms", device="t4")`` runs a search and returns its result, just as
``nas search`` does, while ``nas.search.exact`` and its siblings stay importable.
"""

from __future__ import annotations

import sys
import types
from typing import Any


class _CallableRoom(types.ModuleType):
    def __call__(self, budget: Any, device: str | None = None, **options: Any) -> Any:
        """See ``nas.search.run.search``."""
        from nas.search.run import search

        return search(budget, device, **options)


sys.modules[__name__].__class__ = _CallableRoom
