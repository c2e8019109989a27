"""Faults that can be seen in claims alone, without opening an image: which entries, and the findings that tell of them.

The reader, the doctor and the repair all go by the same ``AnnotationFaults``, so that data which the doctor finds free of errors
open, and data which open train.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from distill.data.formats.raw import Finding, FindingLog, RawAnnotations, quoted

HUGE_PX = 1e7
"""No picture is that wide; such a box is no box."""
OUTSIDE_PX = 0.5
"""A box that reaches further out of its picture is told of; all are clipped."""
SAME_PX = 0.01
"""Corners nearer than this are the same."""
SUSPICIOUS = 0.1
"""Share of boxes within the first pixel from which a data set counts as normalised."""
LEAVE = 0.2
"""Share of boxes that leave the picture from which boxes are suspected to be corners."""
FEWEST = 4
"""So many boxes are needed to suspect anything."""
FAR = 1.5
"""A YOLO number beyond it is no share of a picture."""


@dataclass(frozen=True, slots=True, eq=False)
class AnnotationFaults:
    """What holds of every annotation (bool ``[n]``) and image (bool ``[m]``) of the claims."""

    unknown_image: np.ndarray
    unknown_category: np.ndarray
    not_finite: np.ndarray
    normalised: np.ndarray
    corners: bool
    """Whether the boxes of the whole split are corners."""
    pixels: np.ndarray
    outside: np.ndarray
    degenerate: np.ndarray
    duplicate: np.ndarray
    """The second and further of the same box, class and picture."""
    two_classes: np.ndarray
    clipped: np.ndarray
    """float32 ``[n, 4]``, the boxes inside their pictures; meaningless where a box is unknown, not finite or degenerate."""
    same_id: np.ndarray
    """Images whose id another image has too, with another file; ``[m]``."""
    same_file: np.ndarray
    """The second and further entries of one file; ``[m]``."""

    @property
    def usable(self) -> np.ndarray:
        """Annotations that can be an object or a crowd, bool ``[n]``."""
        return ~(self.unknown_image | self.unknown_category | self.not_finite | self.pixels | self.degenerate)


def find_faults(claims: RawAnnotations) -> AnnotationFaults:
    """Look at every annotation and image entry."""
    boxes, n = claims.boxes, len(claims.boxes)
    unknown_image: np.ndarray = claims.image < 0
    unknown_category = ~np.isin(claims.category, [one.id for one in claims.categories])
    with np.errstate(invalid="ignore"):
        not_finite = ~np.asarray((np.abs(boxes) <= HUGE_PX).all(1))
    sizes = np.zeros((n, 2))
    if len(claims):
        sizes[~unknown_image] = claims.sizes[claims.image[~unknown_image]]
    judged = ~(unknown_image | not_finite)
    safe = np.where(judged[:, None], boxes, 0)
    wide = safe[:, 2:] - safe[:, :2]

    normalised = judged & (safe[:, 2:] <= 1 + 1e-6).all(1) & (safe[:, :2] >= -1e-6).all(1) & (wide > 0).all(1) & (sizes > 8).all(1)
    if claims.source.form == "yolo" or normalised.sum() < SUSPICIOUS * max(judged.sum(), 1):
        normalised[:] = False

    corners = False
    if claims.source.form == "coco" and judged.sum() >= FEWEST:
        # as read, third and fourth number are width and height
        fits = (wide > safe[:, :2]).all(1) & (wide <= sizes + 1).all(1) & (safe[:, :2] >= 0).all(1)
        leaves = judged & (safe[:, 2:] > sizes + 1).any(1)
        corners = bool(np.all(fits | ~judged)) and leaves.sum() >= LEAVE * judged.sum()

    pixels = np.zeros(n, dtype=bool)
    if claims.source.form == "yolo":
        known = judged & (sizes > 0).all(1)
        shares = np.divide(np.concatenate([(safe[:, 2:] + safe[:, :2]) / 2, wide], 1), np.concatenate([sizes, sizes], 1), out=np.zeros((n, 4)), where=known[:, None])
        pixels = known & (shares > FAR).any(1)

    ends = np.concatenate([sizes, sizes], 1)
    clipped = np.clip(safe, 0, ends).astype(np.float32)
    outside = judged & ((safe < -OUTSIDE_PX) | (safe > ends + OUTSIDE_PX)).any(1) & ~pixels
    degenerate = judged & ~((clipped[:, 2:] > clipped[:, :2]).all(1)) & ~pixels
    duplicate, two_classes = _same_boxes(claims, clipped, judged & ~degenerate & ~normalised)
    same_id, same_file = _same_images(claims)
    return AnnotationFaults(unknown_image, unknown_category, not_finite, normalised, corners, pixels, outside, degenerate, duplicate, two_classes, clipped, same_id, same_file)


def _same_boxes(claims: RawAnnotations, clipped: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Repeated boxes of one class, and boxes that another class has too, bool ``[n]`` each: only the later ones."""
    duplicate = np.zeros(len(where), dtype=bool)
    two_classes = duplicate.copy()
    at = np.flatnonzero(where)
    if len(at) < 2:
        return duplicate, two_classes
    corners = np.rint(clipped[at].astype(np.float64) / SAME_PX).astype(np.int64)
    keys = np.column_stack([claims.image[at], corners, claims.crowd[at]])
    # equal boxes side by side, of equal boxes the same class, of those in the order of the file
    order = np.lexsort((at, claims.category[at], *keys.T[::-1]))
    equal = (keys[order][1:] == keys[order][:-1]).all(1)
    same_class = claims.category[at][order][1:] == claims.category[at][order][:-1]
    later = at[order[1:]]
    duplicate[later[equal & same_class]] = True
    two_classes[later[equal & ~same_class]] = True
    return duplicate, two_classes


def _same_images(claims: RawAnnotations) -> tuple[np.ndarray, np.ndarray]:
    """Images that share an id with another file, and repeated entries of one file, bool ``[m]`` each."""
    by_id: dict[int, list[int]] = {}
    by_file: dict[str, list[int]] = {}
    names = [str(file) if file is not None else claims.labels_from[at] for at, file in enumerate(claims.files)]
    for at, (one, name) in enumerate(zip(claims.ids.tolist(), names, strict=True)):
        by_id.setdefault(one, []).append(at)
        by_file.setdefault(name, []).append(at)
    same_id, same_file = np.zeros(len(names), dtype=bool), np.zeros(len(names), dtype=bool)
    for several in by_id.values():
        if len(several) > 1 and len({names[at] for at in several}) > 1:
            same_id[several] = True
    for several in by_file.values():
        same_file[several[1:]] = True
    return same_id, same_file


def findings(claims: RawAnnotations, verdict: AnnotationFaults) -> tuple[Finding, ...]:
    """What a verdict amounts to, with examples: all that the claims alone can tell, the reader's own findings first."""
    notes = FindingLog(claims.source.name)
    box = _box_text(claims)
    notes.all("unknown-category", verdict.unknown_category, lambda at: f"{box(at)}: category {claims.category[at]}")
    notes.all("not-finite", verdict.not_finite, box)
    notes.all("normalised", verdict.normalised, box)
    if verdict.corners:
        notes.all("corners", ~(verdict.unknown_image | verdict.not_finite), box)
    notes.all("pixels", verdict.pixels, box)
    if not verdict.corners:
        notes.all("outside", verdict.outside & ~verdict.degenerate, box)
        notes.all("degenerate", verdict.degenerate & ~verdict.unknown_category, box)
    notes.all("duplicate-box", verdict.duplicate & verdict.usable, box)
    notes.all("two-classes", verdict.two_classes & verdict.usable, box)
    notes.all("crowd", claims.crowd & verdict.usable, box)
    _image_entries(claims, verdict, notes)
    _categories(claims, notes)
    return claims.findings + notes.findings()


def _box_text(claims: RawAnnotations) -> Callable[[int], str]:
    def text(at: int) -> str:
        image = claims.image[at]
        where = quoted(claims.labels_from[image]) if image >= 0 else "no image"
        size = f", picture {claims.sizes[image][0]} x {claims.sizes[image][1]}" if image >= 0 else ""
        own = f"annotation {claims.annotation_ids[at]}" if claims.annotation_ids[at] >= 0 else f"object {at}"
        return f"{where}, {own}: box {' '.join(f'{v:.6g}' for v in claims.boxes[at])}{size}"

    return text


def _image_entries(claims: RawAnnotations, verdict: AnnotationFaults, notes: FindingLog) -> None:
    def image(at: int) -> str:
        return f"id {claims.ids[at]}: {quoted(claims.labels_from[at])}"

    notes.all("duplicate-image-id", verdict.same_id, image)
    notes.all("duplicate-file", verdict.same_file, image)
    ids = claims.annotation_ids[claims.annotation_ids >= 0]
    values, counts = np.unique(ids, return_counts=True)
    repeated = values[counts > 1]
    notes.all("duplicate-annotation-id", np.ones(len(repeated), dtype=bool), lambda at: f"id {repeated[at]}")
    notes.all("annotation-id-zero", claims.annotation_ids == 0, lambda at: "id 0")
    filled = np.zeros(len(claims), dtype=bool)
    filled[claims.image[verdict.usable]] = True
    notes.all("empty-image", ~filled, image)
    if not len(claims):
        notes.add("empty-split", str(claims.source.file))
    elif not verdict.usable.any():
        notes.add("no-objects", f"{len(claims)} pictures")


def _categories(claims: RawAnnotations, notes: FindingLog) -> None:
    ids = [one.id for one in claims.categories]
    by_id: dict[int, str] = {}
    by_name: dict[str, int] = {}
    for one in claims.categories:
        if one.id in by_id:
            notes.add("duplicate-category-id", f"id {one.id}: {quoted(by_id[one.id])} and {quoted(one.name)}")
        elif one.name in by_name:
            notes.add("duplicate-class-name", f"{quoted(one.name)}: ids {by_name[one.name]} and {one.id}")
        by_id.setdefault(one.id, one.name)
        by_name.setdefault(one.name, one.id)
    if claims.source.form == "coco":
        told = f"ids {', '.join(map(str, ids[:8]))}{' ...' if len(ids) > 8 else ''}"
        if ids and min(ids) == 0:
            notes.add("ids-from-zero", told)
        if ids and sorted(set(ids)) not in (list(range(len(set(ids)))), list(range(1, len(set(ids)) + 1))):
            notes.add("ids-with-gaps", told)
        if ids != sorted(ids):
            notes.add("category-order", told)
        parent = parent_category(claims)
        if parent is not None:
            notes.add("parent-category", f"id {parent}: {quoted(by_id[parent])}")


def parent_category(claims: RawAnnotations) -> int | None:
    """The id of a category that has no object and is the parent of all the others, or None."""
    used = set(np.unique(claims.category).tolist())
    for one in claims.categories:
        others = [other for other in claims.categories if other.id != one.id]
        if one.id not in used and others and all(other.parent == one.name for other in others) and one.parent != one.name:
            return one.id
    return None
