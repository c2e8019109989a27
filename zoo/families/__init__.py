"""The detector families by name: a module a family, its card (YAML) beside it, its layers in ``parts``.

A new family is a module with its ``FAMILY``, a card of the same file name and one line in ``FAMILIES``. Torch is
imported when a family is opened, not before.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from workbench.errors import unknown_name

if TYPE_CHECKING:
    from zoo.families.family import Family

FAMILIES = {
    "damo-yolo": "zoo.families.damo_yolo",
    "yolox": "zoo.families.yolox",
    "yolov7": "zoo.families.yolov7",
    "yolo11": "zoo.families.yolo11",
    "yolo26": "zoo.families.yolo26",
    "rtdetrv2": "zoo.families.rtdetrv2",
}
"""Family name to the module with its ``FAMILY``; the family's card is the module's file with the suffix ``.yaml``."""

SEARCHED = "damo-yolo"
"""The family that builds searched architectures."""


def find_family(name: str) -> Family:
    """A family by name."""
    if name not in FAMILIES:
        raise unknown_name("detector family", name, FAMILIES)
    family: Family = importlib.import_module(FAMILIES[name]).FAMILY
    return family


def families() -> list[Family]:
    """Every family, in the order of ``FAMILIES``."""
    return [find_family(name) for name in FAMILIES]
