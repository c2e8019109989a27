"""Training recipes: the traits that a free tag such as ``Objects365 pretrain, then COCO 80e`` states.

The recipe moves AP by one to four points, as much as a size step, so that networks are compared under recipes of the
same traits, or with the effect of the traits fitted. A tag is read phrase by phrase from ``PHRASES``. What no phrase
covers is kept in ``Recipe.unknown`` and never guessed.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

SCRATCH, IMAGENET, SELF_SUPERVISED, NOT_STATED = "scratch", "imagenet", "self-supervised", ""
BACKBONES = (SCRATCH, IMAGENET, SELF_SUPERVISED, NOT_STATED)
"""How the backbone began. ``self-supervised``: by self-supervision on other images, or distilled from such a model."""

NMS_FREE_FAMILIES = frozenset({
    "DEIMv2", "DETR", "DINO", "Deformable-DETR", "EdgeCrafter", "LW-DETR", "RF-DETR", "RT-DETR", "RT-DETRv2",
    "YOLOv10", "rtdetrv2",
})  # fmt: skip
"""Families that publish AP without NMS: one-to-one assignment belongs to the design, so tags do not repeat it."""


@dataclass(frozen=True)
class Recipe:
    """What a training used besides the network and COCO (or the task of its accuracy column)."""

    tag: str = ""
    """The tag as its source writes it."""
    backbone: str = NOT_STATED
    """One of ``BACKBONES``."""
    objects365: bool = False
    """Pretrained with the boxes of Objects365."""
    coco_boxes: bool = False
    """Pretrained with the boxes of COCO, for another task."""
    pseudo_labels: bool = False
    teacher: bool = False
    """Distilled from a teacher, itself included."""
    epochs: tuple[int, int] | None = None
    """Shortest and longest number of epochs on the task that the tag allows; None: not stated."""
    nms_free: bool = False
    """AP without NMS."""
    searched: bool = False
    """The network was found by architecture search. Not a trait of the training, but tags state it."""
    stated: bool = True
    """False if the source does not state its recipe."""
    remarks: tuple[str, ...] = ()
    """Known phrases without a trait of their own, such as ``another implementation``."""
    unknown: tuple[str, ...] = ()
    """Words that no phrase covers."""

    @property
    def coco_only(self) -> bool:
        """Only the boxes of its own task (COCO for most), no teacher, no backbone of other images than ImageNet.

        A recipe that is not stated counts as such.
        """
        others = self.objects365 or self.coco_boxes or self.pseudo_labels or self.teacher
        return not others and self.backbone != SELF_SUPERVISED

    @property
    def mean_epochs(self) -> float | None:
        """Middle of ``epochs``."""
        return None if self.epochs is None else sum(self.epochs) / 2

    def traits(self) -> list[str]:
        """Names of the traits that hold, as in ``TRAITS``."""
        return [name for name, (holds, _) in TRAITS.items() if holds(self)]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the fields, and whether it is COCO only."""
        fields = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()} | {
            "coco_only": self.coco_only
        }


TRAITS: dict[str, tuple[Callable[[Recipe], bool], str]] = {
    "coco-only": (
        lambda r: r.coco_only,
        "only the boxes of its own task, no teacher, no backbone of other images than ImageNet",
    ),
    "scratch": (lambda r: r.backbone == SCRATCH, "from random weights"),
    "imagenet": (lambda r: r.backbone == IMAGENET, "backbone pretrained by ImageNet classification"),
    "self-supervised": (
        lambda r: r.backbone == SELF_SUPERVISED,
        "backbone pretrained by self-supervision on other images, or distilled from one that was",
    ),
    "objects365": (lambda r: r.objects365, "pretrained with the boxes of Objects365"),
    "coco-boxes": (lambda r: r.coco_boxes, "pretrained with the boxes of COCO, for another task"),
    "pseudo-labels": (lambda r: r.pseudo_labels, "further images, labeled by a model"),
    "teacher": (lambda r: r.teacher, "distilled from a teacher, itself included"),
    "nms-free": (lambda r: r.nms_free, "AP without NMS"),
    "not-stated": (lambda r: not r.stated, "the source does not state its recipe"),
}
"""Trait by name: its rule and what it means. ``nas atlas --recipe`` takes these names."""

PHRASES: dict[str, Mapping[str, Any]] = {
    r"not stated": {"stated": False},
    r"ap with nms head": {"nms_free": False},
    r"nms-free": {"nms_free": True},
    r"dense one-to-one training": {"nms_free": True},
    r"distilled vit backbone": {"backbone": SELF_SUPERVISED},
    r"dinov[23] backbone( \(distilled\))?": {"backbone": SELF_SUPERVISED},
    r"vit pretrained by masked images": {"backbone": SELF_SUPERVISED},
    r"imagenet backbone": {"backbone": IMAGENET},
    r"(from )?scratch": {"backbone": SCRATCH},
    r"objects365( pretrain(ing|ed)?)?": {"objects365": True},
    r"pseudo[- ]label(s|ed)?": {"pseudo_labels": True},
    r"(self-)?distilled": {"teacher": True},
    r"(backbone|network) found by nas": {"searched": True},
    r"advprop": {},
    r"another implementation": {},
    r"assign guidance": {},
    r"first release": {},
    r"long schedule": {},
    r"coco pretrain(ing|ed)?": {"coco_boxes": True},
    r"evaluated at other sizes": {},
}
"""Phrase (a regular expression over lower case) to the traits that it states. The first that covers a word takes it."""
EPOCHS = re.compile(r"\b(\d+)e(?:-(\d+)e)?\b")
FILLERS = re.compile(r"[;,()]|\b(then|and|coco|only)\b")
"""What may stand between phrases and says nothing beyond them."""

COLUMN_TAGS = {
    "voc_scratch_map50_95": "scratch 100e",
    "coco_pretrain_map50_95": "scratch 300e, evaluated at other sizes",
    "sku_map50_95": "COCO pretrain, 100e",
    "widerface_map50_95": "COCO pretrain, 100e",
    "voc_finetuned_map50_95": "COCO pretrain, 100e",
}
"""Recipe tag by accuracy column, for data that say it by the column's name alone: those of YOLOBench."""


def column_tag(column: str) -> str:
    """The tag that an accuracy column stands for; empty if none is known."""
    return COLUMN_TAGS.get(column, "")


def parse_recipe(tag: str, family: str = "") -> Recipe:
    """Read the traits of a tag; ``family`` tells whether AP is without NMS where the tag does not."""
    text = " ".join(tag.lower().split())
    states: dict[str, Any] = {"nms_free": family in NMS_FREE_FAMILIES}
    remarks = []
    for phrase, traits in PHRASES.items():
        found = re.search(rf"(?<![\w-]){phrase}(?![\w-])", text)
        if found is None:
            continue
        states.update(traits)
        if not traits:
            remarks.append(found.group())
        text = text[: found.start()] + ";" + text[found.end() :]
    found = EPOCHS.search(text)
    if found is not None:
        first, last = int(found.group(1)), int(found.group(2) or found.group(1))
        states["epochs"] = (min(first, last), max(first, last))
        text = text[: found.start()] + ";" + text[found.end() :]
    if not tag.strip():
        states["stated"] = False
    unknown = tuple(FILLERS.sub(" ", text).split())
    return Recipe(tag=tag, remarks=tuple(remarks), unknown=unknown, **states)
