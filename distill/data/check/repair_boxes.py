"""Repairing the annotations of a split: boxes in pixels of the real images, and only valid ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from distill.data.check.faults import AnnotationFaults, find_faults
from distill.data.check.split_copy import SplitCopy, size_change
from distill.data.formats.findings import quoted
from distill.data.formats.raw import RawAnnotations

MOVED_PX = 1e-3
"""A box that clipping changes by more is listed."""


def repair_annotations(copy: SplitCopy, numbers: Mapping[int, int]) -> RawAnnotations:
    """Fill ``copy.annotations``; the repaired raw annotations.

    Args:
        numbers: From the split's category ids to the copy's.
    """
    raw = repaired(copy)
    faults = find_faults(raw)
    for finding in copy.split.raw.findings:
        if finding.code.startswith("malformed-"):
            for example in finding.examples:
                copy.record(finding.code, example, f"one of {finding.count}")
    ids = raw.annotation_ids
    renumber = len(np.unique(ids)) < len(ids) or bool((ids < 1).any())
    if renumber and (ids >= 0).any():
        copy.record("duplicate-annotation-id", "all annotations", "ids repeat or are below 1", "numbered from 1")
    clipped = faults.clipped.astype(np.float64)
    areas = np.fmin(raw.areas, (clipped[:, 2:] - clipped[:, :2]).prod(1))
    for row in range(len(ids)):
        image = int(raw.image[row])
        if image >= 0 and not copy.keep[image]:
            continue  # the change of its image is listed
        name = quoted(raw.image_names[image]) if image >= 0 else "no image"
        where = f"{name} {f'annotation {ids[row]}' if ids[row] >= 0 else f'object {row}'}"
        number = numbers.get(int(raw.category[row]))
        reason = _reason(faults, row) or ("" if number is not None else "unknown-category")
        if reason:
            stated = copy.split.raw.boxes[row].tolist()
            copy.record(reason, where, " ".join(str(v) for v in stated))
            continue
        x1, y1, x2, y2 = box = clipped[row].tolist()
        if np.abs(raw.boxes[row] - clipped[row]).max() > MOVED_PX:
            copy.record("outside", where, raw.boxes[row].tolist(), box)
        copy.annotations.append({
            "id": len(copy.annotations) + 1 if renumber else int(ids[row]), "image_id": int(raw.ids[image]),
            "category_id": number, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": float(areas[row]),
            "iscrowd": int(raw.crowd[row]),
        })  # fmt: skip
    return raw


def _reason(faults: AnnotationFaults, row: int) -> str:
    """The finding for which an annotation is left out, or nothing."""
    masks = (
        ("unknown-image", faults.unknown_image), ("not-finite", faults.not_finite), ("pixels", faults.pixels),
        ("degenerate", faults.degenerate), ("duplicate-box", faults.duplicate),
    )  # fmt: skip
    return next((code for code, mask in masks if mask[row]), "")


@dataclass(slots=True)
class _Columns:
    """Columns of the raw annotations that are changed."""

    boxes: np.ndarray
    sizes: np.ndarray
    areas: np.ndarray


def repaired(copy: SplitCopy) -> RawAnnotations:
    """The raw annotations with boxes in pixels of the images as they are, and entries of one file merged."""
    split, raw, faults = copy.split, copy.split.raw, copy.split.faults
    columns = _Columns(raw.boxes.copy(), raw.sizes.copy(), raw.areas.copy())
    _convert_units(copy, columns)
    image = raw.image.copy()
    first: dict[Path, int] = {}
    merged = np.arange(len(raw))
    rows = np.argsort(image, kind="stable")
    starts = np.searchsorted(image[rows], np.arange(len(raw) + 1))
    for index, (file, check) in enumerate(zip(raw.files, split.images, strict=True)):
        if file is None or check is None or check.header.fault:
            continue
        merged[index] = first.setdefault(file, index) if not faults.same_id[index] else index
        _fit_to_image(copy, columns, index, rows[starts[index] : starts[index + 1]])
    image[raw.image >= 0] = merged[raw.image[raw.image >= 0]]
    return replace(raw, boxes=columns.boxes, sizes=columns.sizes, areas=columns.areas, image=image)


def _convert_units(copy: SplitCopy, columns: _Columns) -> None:
    """Corners, shares and pixels to x1, y1, x2, y2 in pixels."""
    raw, faults, boxes, areas = copy.split.raw, copy.split.faults, columns.boxes, columns.areas
    known = ~(faults.unknown_image | faults.not_finite)
    ends = np.zeros((len(boxes), 4))
    ends[known] = np.tile(raw.sizes[raw.image[known]], 2)
    if faults.corners:
        boxes[:, 2:] -= boxes[:, :2]
        areas[:] = np.nan
        copy.record("corners", "all boxes", "third and fourth number read as width and height", "read as x2 and y2")
    if faults.normalized.any():
        boxes[faults.normalized] *= ends[faults.normalized]
        areas[faults.normalized] = np.nan
        copy.record("normalised", f"{faults.normalized.sum()} boxes", "shares of the picture", "pixels")
    if faults.pixels.any() and faults.pixels.sum() >= known.sum() / 2:
        boxes[faults.pixels] /= ends[faults.pixels]
        areas[faults.pixels] = np.nan
        after = "shares of the picture, as YOLO has them"
        copy.record("pixels", f"{faults.pixels.sum()} boxes", "pixels", after)


def _fit_to_image(copy: SplitCopy, columns: _Columns, index: int, rows: np.ndarray) -> None:
    """Turn or scale the boxes ``rows`` of an image whose stated size is wrong, and correct its size."""
    check = copy.split.images[index]
    assert check is not None  # only called where there is an image
    header, stated = check.header, columns.sizes[index].tolist()
    change = size_change(copy.split, index, stated)
    if change == "turn":
        columns.boxes[rows] = turned(columns.boxes[rows], header.width, header.height, header.orientation)
    elif change == "scale":
        ratio = np.asarray(header.size) / columns.sizes[index]
        columns.boxes[rows] *= np.tile(ratio, 2)
        columns.areas[rows] *= ratio.prod()
    if change in ("turn", "scale"):
        code = "turned" if change == "turn" else "wrong-size"
        copy.record(code, quoted(copy.split.raw.image_names[index]), stated, [*header.size])
    columns.sizes[index] = header.size


def turned(boxes: np.ndarray, width: int, height: int, orientation: int) -> np.ndarray:
    """Boxes ``[n, 4]`` of a stored image ``width`` x ``height`` in pixels of the image turned by EXIF (5 to 8)."""
    x1, y1, x2, y2 = boxes.T
    left, right = (height - y2, height - y1) if orientation in (6, 7) else (y1, y2)
    top, bottom = (width - x2, width - x1) if orientation in (7, 8) else (x1, x2)
    return np.column_stack([left, top, right, bottom])
