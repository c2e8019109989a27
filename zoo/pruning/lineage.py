"""What a cut detector says of its parent: lineage, licence, and where it was cut from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import workbench
from zoo.detector import Detector, Info
from zoo.weights.licence import CUT_FROM, PARENT, own_licence
from zoo.weights.lineage import lineage_with


def child_info(parent: Detector, parent_sha256: str) -> Info:
    """The facts about a detector that is cut from ``parent``, whose checkpoint file has this SHA-256.

    Its lineage is the parent's and the parent. Its own weights are a part of the parent's, so it has their licence.
    What the parent reached in training is left out: the child has to be evaluated again.
    """
    licence = own_licence(parent.info.provenance)
    cut_from = {
        "model": parent.recipe.model,
        "sha256": parent_sha256,
        "licence": licence,
        "parameters": sum(p.numel() for p in parent.parameters()),
    }
    provenance = {"cut_with": f"nas-workbench {workbench.__version__}", CUT_FROM: cut_from}
    lineage = lineage_with((), parent, parent_sha256, PARENT)
    return dataclasses.replace(parent.info, provenance=provenance, lineage=lineage)


def kept_provenance(detector: Detector) -> dict[str, Any]:
    """What the provenance of a cut detector must go on saying when the detector is trained further."""
    cut_from = detector.info.provenance.get(CUT_FROM)
    return {CUT_FROM: dict(cut_from)} if detector.recipe.cuts and isinstance(cut_from, Mapping) else {}
