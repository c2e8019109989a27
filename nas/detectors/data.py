"""Which data the atlas is read from when none are named: the zoo's cards, and the folders of ``$NAS_ATLAS``."""

from __future__ import annotations

import os
from collections.abc import Sequence

from nas.detectors.sources.zoo_cards import ZOO

VARIABLE = "NAS_ATLAS"
HINT = (
    f"more: a folder with accuracy.csv (arch, input_px, mAP) and graphs.jsonl.gz or NAME.onnx as --data DIR, or in "
    f"${VARIABLE}"
)
"""How to add data, in one line."""


def default_data() -> tuple[str, ...]:
    """The folders of ``$NAS_ATLAS`` (several with the separator of paths between), and the zoo."""
    folders = [part for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    return (*folders, ZOO)


def data_of(named: Sequence[str]) -> tuple[str, ...]:
    """The data that are named, or the default."""
    return tuple(named) or default_data()
