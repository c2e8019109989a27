"""Faults that can be seen in the annotations alone, without opening an image, and the findings that describe them.

Reader, doctor and repair share ``AnnotationFaults``: data in which the doctor finds no errors can be opened, and data
that can be opened can be trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from distill.data.formats.findings import Finding, FindingLog, quoted
from distill.data.formats.raw import RawAnnotations

HUGE_PX = 1e7
"""No image is that wide; such a box is invalid."""
OUTSIDE_PX = 0.5
"""A box that reaches further out of its image is reported; all are clipped."""
SAME_PX = 0.01
"""Corners nearer than this are the same."""
SUSPICIOUS = 0.1
"""Share of boxes within the first pixel from which a data set counts as normalized."""
LEAVE = 0.2
"""Share of boxes that leave the image from which boxes are suspected to be corners."""
MIN_BOXES = 4
"""Boxes needed to suspect corners."""
MAX_SHARE = 1.5
"""A YOLO number beyond it is no share of an image."""


@dataclass(frozen=True, slots=True, eq=False)
class AnnotationFaults:
    """Which annotations (bool ``[n]``) and images (bool ``[m]``) have which fault."""

    unknown_image: np.ndarray
    unknown_category: np.ndarray
    not_finite: np.ndarray
    normalized: np.ndarray
    corners: bool
    """Whether the boxes of the whole split are corners."""
    pixels: np.ndarray
    outside: np.ndarray
    degenerate: np.ndarray
    duplicate: np.ndarray
    """The second and further of the same box, class and image."""
    two_classes: np.ndarray
    clipped: np.ndarray
    """float32 ``[n, 4]``, boxes inside their images; undefined where a box is unknown, not finite or degenerate."""
    same_id: np.ndarray
    """Images whose id another image with another file has too; ``[m]``."""
    same_file: np.ndarray
    """The second and further entries of one file; ``[m]``."""

    @property
    def usable(self) -> np.ndarray:
        """Annotations that can be an object or a crowd, bool ``[n]``."""
        return ~(self.unknown_image | self.unknown_category | self.not_finite | self.pixels | self.degenerate)


def find_faults(raw: RawAnnotations) -> AnnotationFaults:
    """Check every annotation and image entry."""
    count = len(raw.boxes)
    unknown_image: np.ndarray = raw.image < 0
    unknown_category = ~np.isin(raw.category, [category.id for category in raw.categories])
    with np.errstate(invalid="ignore"):
        not_finite = ~np.asarray((np.abs(raw.boxes) <= HUGE_PX).all(1))
    sizes = np.zeros((count, 2))
    if len(raw):
        sizes[~unknown_image] = raw.sizes[raw.image[~unknown_image]]
    valid = ~(unknown_image | not_finite)
    boxes = np.where(valid[:, None], raw.boxes, 0)
    normalized = _normalized(raw, boxes, sizes, valid)
    pixels = _in_pixels(raw, boxes, sizes, valid)
    ends = np.concatenate([sizes, sizes], 1)
    clipped = np.clip(boxes, 0, ends).astype(np.float32)
    outside = valid & ((boxes < -OUTSIDE_PX) | (boxes > ends + OUTSIDE_PX)).any(1) & ~pixels
    degenerate = valid & ~((clipped[:, 2:] > clipped[:, :2]).all(1)) & ~pixels
    duplicate, two_classes = _same_boxes(raw, clipped, valid & ~degenerate & ~normalized)
    same_id, same_file = _same_images(raw)
    return AnnotationFaults(
        unknown_image=unknown_image, unknown_category=unknown_category, not_finite=not_finite, normalized=normalized,
        corners=_are_corners(raw, boxes, sizes, valid), pixels=pixels, outside=outside, degenerate=degenerate,
        duplicate=duplicate, two_classes=two_classes, clipped=clipped, same_id=same_id, same_file=same_file,
    )  # fmt: skip


def _normalized(raw: RawAnnotations, boxes: np.ndarray, sizes: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Boxes in shares of the image where pixels are due, bool ``[n]``."""
    sides = boxes[:, 2:] - boxes[:, :2]
    within_first_pixel = (boxes[:, 2:] <= 1 + 1e-6).all(1) & (boxes[:, :2] >= -1e-6).all(1)
    normalized: np.ndarray = valid & within_first_pixel & (sides > 0).all(1) & (sizes > 8).all(1)
    if raw.source.form == "yolo" or normalized.sum() < SUSPICIOUS * max(valid.sum(), 1):
        normalized[:] = False
    return normalized


def _are_corners(raw: RawAnnotations, boxes: np.ndarray, sizes: np.ndarray, valid: np.ndarray) -> bool:
    """Whether COCO boxes are x1, y1, x2, y2 instead of x, y, width, height."""
    if raw.source.form != "coco" or valid.sum() < MIN_BOXES:
        return False
    # the third and fourth number as they are in the file
    stated = boxes[:, 2:] - boxes[:, :2]
    fits = (stated > boxes[:, :2]).all(1) & (stated <= sizes + 1).all(1) & (boxes[:, :2] >= 0).all(1)
    leaves = valid & (boxes[:, 2:] > sizes + 1).any(1)
    return bool(np.all(fits | ~valid)) and bool(leaves.sum() >= LEAVE * valid.sum())


def _in_pixels(raw: RawAnnotations, boxes: np.ndarray, sizes: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """YOLO boxes in pixels where shares of the image are due, bool ``[n]``."""
    if raw.source.form != "yolo":
        return np.zeros(len(boxes), dtype=bool)
    known: np.ndarray = valid & (sizes > 0).all(1)
    stated = np.concatenate([(boxes[:, 2:] + boxes[:, :2]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)
    ends = np.concatenate([sizes, sizes], 1)
    shares = np.divide(stated, ends, out=np.zeros((len(boxes), 4)), where=known[:, None])
    in_pixels: np.ndarray = known & (shares > MAX_SHARE).any(1)
    return in_pixels


def _same_boxes(raw: RawAnnotations, clipped: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Repeated boxes of one class, and boxes that another class has too, bool ``[n]`` each: only the later ones."""
    duplicate = np.zeros(len(mask), dtype=bool)
    two_classes = duplicate.copy()
    rows = np.flatnonzero(mask)
    if len(rows) < 2:
        return duplicate, two_classes
    corners = np.rint(clipped[rows].astype(np.float64) / SAME_PX).astype(np.int64)
    keys = np.column_stack([raw.image[rows], corners, raw.crowd[rows]])
    # sorted by box, then by class, then in the order of the file
    order = np.lexsort((rows, raw.category[rows], *keys.T[::-1]))
    equal = (keys[order][1:] == keys[order][:-1]).all(1)
    same_class = raw.category[rows][order][1:] == raw.category[rows][order][:-1]
    later = rows[order[1:]]
    duplicate[later[equal & same_class]] = True
    two_classes[later[equal & ~same_class]] = True
    return duplicate, two_classes


def _same_images(raw: RawAnnotations) -> tuple[np.ndarray, np.ndarray]:
    """Images that share an id with another file, and repeated entries of one file, bool ``[m]`` each."""
    by_id: dict[int, list[int]] = {}
    by_file: dict[str, list[int]] = {}
    names = [str(file) if file is not None else raw.image_names[index] for index, file in enumerate(raw.files)]
    for index, (image_id, name) in enumerate(zip(raw.ids.tolist(), names, strict=True)):
        by_id.setdefault(image_id, []).append(index)
        by_file.setdefault(name, []).append(index)
    same_id, same_file = np.zeros(len(names), dtype=bool), np.zeros(len(names), dtype=bool)
    for indices in by_id.values():
        if len(indices) > 1 and len({names[index] for index in indices}) > 1:
            same_id[indices] = True
    for indices in by_file.values():
        same_file[indices[1:]] = True
    return same_id, same_file


def findings(raw: RawAnnotations, faults: AnnotationFaults) -> tuple[Finding, ...]:
    """The findings that follow from the annotations alone, the reader's own first."""
    notes = FindingLog(raw.source.name)
    box = _box_text(raw)
    notes.add_all("unknown-category", faults.unknown_category, lambda row: f"{box(row)}: category {raw.category[row]}")
    notes.add_all("not-finite", faults.not_finite, box)
    notes.add_all("normalised", faults.normalized, box)
    if faults.corners:
        notes.add_all("corners", ~(faults.unknown_image | faults.not_finite), box)
    notes.add_all("pixels", faults.pixels, box)
    if not faults.corners:
        notes.add_all("outside", faults.outside & ~faults.degenerate, box)
        notes.add_all("degenerate", faults.degenerate & ~faults.unknown_category, box)
    notes.add_all("duplicate-box", faults.duplicate & faults.usable, box)
    notes.add_all("two-classes", faults.two_classes & faults.usable, box)
    notes.add_all("crowd", raw.crowd & faults.usable, box)
    _image_findings(raw, faults, notes)
    _category_findings(raw, notes)
    return raw.findings + notes.findings()


def _box_text(raw: RawAnnotations) -> Callable[[int], str]:
    def text(row: int) -> str:
        image = raw.image[row]
        where = quoted(raw.image_names[image]) if image >= 0 else "no image"
        size = f", picture {raw.sizes[image][0]} x {raw.sizes[image][1]}" if image >= 0 else ""
        name = f"annotation {raw.annotation_ids[row]}" if raw.annotation_ids[row] >= 0 else f"object {row}"
        return f"{where}, {name}: box {' '.join(f'{v:.6g}' for v in raw.boxes[row])}{size}"

    return text


def _image_findings(raw: RawAnnotations, faults: AnnotationFaults, notes: FindingLog) -> None:
    def image(index: int) -> str:
        return f"id {raw.ids[index]}: {quoted(raw.image_names[index])}"

    notes.add_all("duplicate-image-id", faults.same_id, image)
    notes.add_all("duplicate-file", faults.same_file, image)
    ids, counts = np.unique(raw.annotation_ids[raw.annotation_ids >= 0], return_counts=True)
    repeated = ids[counts > 1]
    notes.add_all("duplicate-annotation-id", np.ones(len(repeated), dtype=bool), lambda row: f"id {repeated[row]}")
    notes.add_all("annotation-id-zero", raw.annotation_ids == 0, lambda row: "id 0")
    has_objects = np.zeros(len(raw), dtype=bool)
    has_objects[raw.image[faults.usable]] = True
    notes.add_all("empty-image", ~has_objects, image)
    if not len(raw):
        notes.add("empty-split", str(raw.source.file))
    elif not faults.usable.any():
        notes.add("no-objects", f"{len(raw)} pictures")


def _category_findings(raw: RawAnnotations, notes: FindingLog) -> None:
    ids = [category.id for category in raw.categories]
    by_id: dict[int, str] = {}
    by_name: dict[str, int] = {}
    for category in raw.categories:
        number, name = category.id, category.name
        if number in by_id:
            notes.add("duplicate-category-id", f"id {number}: {quoted(by_id[number])} and {quoted(name)}")
        elif name in by_name:
            notes.add("duplicate-class-name", f"{quoted(name)}: ids {by_name[name]} and {number}")
        by_id.setdefault(number, name)
        by_name.setdefault(name, number)
    if raw.source.form == "coco":
        text = f"ids {', '.join(map(str, ids[:8]))}{' ...' if len(ids) > 8 else ''}"
        distinct = sorted(set(ids))
        if ids and min(ids) == 0:
            notes.add("ids-from-zero", text)
        if ids and distinct not in (list(range(len(distinct))), list(range(1, len(distinct) + 1))):
            notes.add("ids-with-gaps", text)
        if ids != sorted(ids):
            notes.add("category-order", text)
        parent = parent_category(raw)
        if parent is not None:
            notes.add("parent-category", f"id {parent}: {quoted(by_id[parent])}")


def parent_category(raw: RawAnnotations) -> int | None:
    """The id of a category without objects that is the parent of all the others, or None."""
    used = set(np.unique(raw.category).tolist())
    for category in raw.categories:
        others = [other for other in raw.categories if other.id != category.id]
        if category.id in used or not others or category.parent == category.name:
            continue
        if all(other.parent == category.name for other in others):
            return category.id
    return None
