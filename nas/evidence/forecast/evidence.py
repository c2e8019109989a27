"""The points of the fit: every usable accuracy of every entry, with what it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nas.detectors.atlas import Atlas
from nas.detectors.entry import Entry
from nas.detectors.marks import MARKS, fit_for_use, mark_of
from nas.detectors.read import read_atlas
from nas.evidence.forecast.recipe_terms import recipe_row
from nas.scores.forecast_terms import TERMS, Form, terms_of
from workbench.errors import BadInput

COCO = "coco_val_map50_95"
"""The accuracy column that the forecast is of: published COCO AP."""
LARGER = f"{COCO}, larger images"
"""COCO AP of networks whose graph has a smaller image than their accuracy: with an offset of their own they tell only
what trainings of one network differ by."""
GROUPS = {
    "YOLOv5 and v8": ("YOLOv5u", "YOLOv8", "yolo5", "yolo8"),
    "YOLO10 to 26": ("YOLOv10", "YOLO11", "YOLO12", "YOLOv13", "YOLO26", "yolo11", "yolo26"),
    "YOLOv6": ("YOLOv6-mbla", "YOLOv6Lite", "yolo6"),
    "YOLOv4 and v7": ("YOLOv7", "yolo4", "yolov7"),
    "YOLOv3": ("yolo3",),
    "YOLOX": ("YOLOX", "yolox"),
    "PP-YOLOE": ("PP-YOLOE+",),
    "NanoDet and PicoDet": ("NanoDet", "NanoDet-Plus", "PicoDet"),
    "DAMO-YOLO and YOLO-NAS": ("DAMO-YOLO", "YOLO-NAS", "damo-yolo"),
    "RT-DETR": ("RT-DETR", "RT-DETRv2", "rtdetrv2"),
    "DETR": ("DETR", "Deformable-DETR", "DINO"),
    "ViT backbones": ("DEIMv2", "EdgeCrafter", "LW-DETR", "RF-DETR"),
    "EfficientDet": ("EfficientDet",),
    "FCOS, RetinaNet, SSD": ("FCOS", "RetinaNet", "SSD"),
    "our spaces": ("res", "csp", "mob", "bottleneck", "res-t", "mixed"),
}
"""Related families, left out together: the same blocks, authors or backbones. Another family stands alone."""
GROUP_OF = {family: group for group, families in GROUPS.items() for family in families}


@dataclass(frozen=True)
class Evidence:
    """Points as arrays ``[n]``.

    ``ap`` are fractions, ``y`` is ``-ln(1 - ap)``. ``source`` names an accuracy column of a folder; ``columns`` is the
    number of accuracies that the network has at this input size in its folder, which share one network's weight.
    ``recipes`` are the columns of ``RECIPE_TERMS``, 0 outside of COCO.
    """

    atlas: Atlas
    entries: tuple[Entry, ...]
    source: np.ndarray
    family: np.ndarray
    group: np.ndarray
    name: np.ndarray
    input_px: np.ndarray
    ap: np.ndarray
    columns: np.ndarray
    recipes: np.ndarray
    _terms: dict[Form, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def y(self) -> np.ndarray:
        """The fitted scale, ``[n]``."""
        return np.asarray(-np.log1p(-self.ap))

    @property
    def sources(self) -> list[str]:
        """Sources by name, COCO first."""
        return sorted(set(self.source.tolist()), key=lambda name: (name != COCO, name))

    def terms(self, form: Form) -> np.ndarray:
        """Columns of ``TERMS``, ``[n, 5]``."""
        if form not in self._terms:
            known: dict[tuple[str, int], dict[str, float]] = {}
            rows = []
            for name, px in zip(self.name.tolist(), self.input_px.tolist(), strict=True):
                graph = self.atlas.graphs[name]
                key = (name, px if graph.fixed_px else 0)
                if key not in known:
                    known[key] = terms_of(graph, px if graph.fixed_px else 320, form)
                size = known[key]["size"] if graph.fixed_px else float(form.size(px))
                rows.append([size, *(known[key][term] for term in TERMS[1:])])
            self._terms[form] = np.array(rows)
        return self._terms[form]


def read_evidence(data: Sequence[str]) -> Evidence:
    """Read the folders of ``--data``; entries without accuracy, or whose graph is another network, are left out."""
    atlas = read_atlas(data)
    entries = [entry for entry in atlas.entries if 0 < entry.ap < 1 and (fit_for_use(entry) or _larger(entry))]
    if not any(entry.column == COCO for entry in entries):
        raise BadInput(f"--data {' '.join(data)} has no accuracy column {COCO}: the forecast is of that")
    sources = [_source(entry) for entry in entries]
    share: dict[tuple[str, str, int], set[str]] = {}
    for entry, source in zip(entries, sources, strict=True):
        share.setdefault((entry.data, entry.name, entry.input_px), set()).add(source)
    recipes = [
        recipe_row(entry.recipe) if entry.column == COCO else [0.0] * len(recipe_row(entry.recipe))
        for entry in entries
    ]
    return Evidence(
        atlas=atlas,
        entries=tuple(entries),
        source=np.array(sources),
        family=np.array([entry.family for entry in entries]),
        group=np.array([GROUP_OF.get(entry.family, entry.family) for entry in entries]),
        name=np.array([entry.name for entry in entries]),
        input_px=np.array([entry.input_px for entry in entries]),
        ap=np.array([entry.ap for entry in entries]),
        columns=np.array([len(share[entry.data, entry.name, entry.input_px]) for entry in entries]),
        recipes=np.array(recipes),
    )


def _larger(entry: Entry) -> bool:
    return mark_of(entry.size) == MARKS["larger image"]


def _source(entry: Entry) -> str:
    if entry.column == COCO:
        return LARGER if _larger(entry) else COCO
    return f"{Path(entry.data).name}/{entry.column}"
