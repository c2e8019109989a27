"""Lineage: every set of weights that went into a detector's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from zoo.detector import Detector
from zoo.weights.licence import own_licence


def lineage_with(
    lineage: Iterable[Mapping[str, Any]], ancestor: Detector, sha256: str, role: str
) -> tuple[Mapping[str, Any], ...]:
    """``lineage``, that of ``ancestor`` and ``ancestor`` itself, each entry once.

    Args:
        sha256: of the ancestor's checkpoint file.
        role: what the ancestor is to the detector: its parent, its teacher, or what it inherited.
    """
    licence = own_licence(ancestor.info.provenance)
    entry = {"model": ancestor.recipe.model, "licence": licence, "sha256": sha256, "role": role}
    entries = [*lineage, *ancestor.info.lineage, entry]
    return tuple(item for i, item in enumerate(entries) if item not in entries[:i])
