"""A repaired copy of a data set, in COCO form, with everything that was changed written down.

The copy holds hard links to the images, or copies where links are not possible; the input is only read. It is put
together in a folder beside its place and renamed at the end, so that it is there whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from distill.data.check.doctor import Report, Split, right_suffix, same_files, sizes_agree
from distill.data.check.faults import find_faults, parent_category
from distill.data.formats import coco
from distill.data.formats.raw import RawAnnotations, quoted
from distill.data.formats.readers import silent
from workbench.errors import BadInput
from workbench.files import new_folder

FORMAT = "nas-repair-1"
SAME_SHAPE = 0.01
"""Two sizes have one shape if their ratios of width to height differ by no more than this share."""
DROPPED = "left out"
SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "BMP": ".bmp", "DIB": ".bmp", "WEBP": ".webp", "TIFF": ".tif"}
SPLIT_ORDER = ("train", "val", "test")
"""Of two splits with one image the earlier loses it: what is measured on stays whole."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that was done, and why."""

    split: str
    code: str
    where: str
    before: Any
    after: Any

    def lines(self) -> str:
        """As a diff shows it."""
        new = "" if self.after == DROPPED else f"+ {self.split} {self.where}: {_said(self.after)}\n"
        return f"# {self.code}\n- {self.split} {self.where}: {_said(self.before)}\n{new}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"split": self.split, "code": self.code, "where": self.where, "before": self.before, "after": self.after}


def _said(value: Any) -> str:
    return " ".join(f"{v:.6g}" for v in value) if isinstance(value, list) else str(value)


@dataclass(slots=True)
class _Copy:
    """One split of the copy while it is made."""

    split: Split
    changes: list[Change]
    keep: np.ndarray
    """bool ``[m]``: images that stay."""
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    links: list[tuple[Path, str]] = field(default_factory=list)
    """Image and its name in the copy."""
    mended: RawAnnotations | None = None

    def told(self, code: str, where: str, before: Any, after: Any = DROPPED) -> None:
        self.changes.append(Change(self.split.name, code, where, before, after))

    def drop(self, at: int, code: str, why: str) -> None:
        """Leave out an image and, by that, its objects."""
        if self.keep[at]:
            self.keep[at] = False
            self.told(code, quoted(self.split.claims.labels_from[at]), why)


def repair(report: Report, out: str | Path, log: Callable[[str], None] = silent) -> Counter[str]:
    """Write a repaired copy of what ``report`` is about to the folder ``out``; the number of changes by code."""
    out = Path(out)
    check_place(out, report.splits[0].claims.source.root)
    changes: list[Change] = []
    categories, numbers = _categories(report.splits, changes)
    copies = [_Copy(split, changes, np.ones(len(split.claims), dtype=bool)) for split in report.splits]
    for one in copies:
        _images(one)
    _leaks(copies)
    for one, own in zip(copies, numbers, strict=True):
        log(f"mending {one.split.name}")
        _annotations(one, own)
        _entries(one)
    copies = [one for one in copies if one.images]
    if not copies:
        raise BadInput(f"{report.path}: no image is left after repair; nothing was written")
    with new_folder(out) as folder:
        for one in copies:
            _write(one, categories, folder, log)
        (folder / "changes.json").write_text(
            json.dumps({"format": FORMAT, "counts": dict(Counter(c.code for c in changes)), "changes": [c.to_dict() for c in changes]}, indent=1) + "\n", encoding="utf-8"
        )
        (folder / "changes.diff").write_text("".join(c.lines() for c in changes), encoding="utf-8")
    return Counter(c.code for c in changes)


def check_place(out: Path, root: Path) -> None:
    """Refuse a folder for the copy that has something in it, or has to do with the data at ``root``."""
    target = out.resolve()
    if target == root or root in target.parents:
        raise BadInput(f"{out}: inside the data {root}, which is never touched; choose a folder outside it")
    if target in root.parents:
        raise BadInput(f"{out}: holds the data {root}; choose a new folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"{out}: is there already and not empty; choose a new folder or empty it")


def _categories(splits: tuple[Split, ...], changes: list[Change]) -> tuple[list[dict[str, Any]], list[dict[int, int]]]:
    """One list of categories for all splits, and for each split its own ids to those of the list."""
    parents = [parent_category(split.claims) for split in splits]
    # a parent without objects goes only if no split has objects of it
    used = {one.name for split in splits for one in split.claims.categories if (split.claims.category == one.id).any()}
    ids: dict[str, int] = {}
    numbers: list[dict[int, int]] = []
    for split, parent in zip(splits, parents, strict=True):
        own: dict[int, int] = {}
        names: set[str] = set()
        for one in split.claims.categories:
            where = f"category {quoted(one.name)}"
            if one.id == parent and one.name not in used:
                changes.append(Change(split.name, "parent-category", where, f"id {one.id}", DROPPED))
                continue
            if one.id in own:
                changes.append(Change(split.name, "duplicate-category-id", where, f"id {one.id}", DROPPED))
                continue
            if one.name in names:
                own[one.id] = ids[one.name]
                changes.append(Change(split.name, "duplicate-class-name", where, f"id {one.id}", f"id {ids[one.name]}"))
                continue
            names.add(one.name)
            if one.name not in ids:
                taken = set(ids.values())
                new = one.id if one.id not in taken else max(taken) + 1
                ids[one.name] = new
            own[one.id] = ids[one.name]
            if ids[one.name] != one.id:
                changes.append(Change(split.name, "class-ids-differ", where, f"id {one.id}", f"id {ids[one.name]}"))
        numbers.append(own)
    if not ids:
        raise BadInput("no category is left after repair; nothing was written")
    for split in splits:
        theirs = {one.name for one in split.claims.categories}
        changes.extend(Change(split.name, "classes-differ", f"category {quoted(name)}", "absent", f"id {ids[name]}") for name in ids if name not in theirs)
    return [{"id": number, "name": name} for name, number in sorted(ids.items(), key=lambda item: item[1])], numbers


def _images(copy: _Copy) -> None:
    """Leave out what is no image, or nobody knows whose objects it has."""
    split = copy.split
    claims, verdict = split.claims, split.verdict
    first: dict[Path, int] = {}
    for at, (file, one) in enumerate(zip(claims.files, split.looks, strict=True)):
        if file is None or one is None:
            copy.drop(at, "missing-image", "no such file in the folder")
        elif one.header.fault:
            copy.drop(at, one.header.fault, one.header.why)
        elif verdict.same_id[at]:
            copy.drop(at, "duplicate-image-id", f"id {claims.ids[at]}")
        elif file in first:
            copy.drop(at, "duplicate-file", f"id {claims.ids[at]}, merged into id {claims.ids[first[file]]}")
        elif _fate(claims.sizes[at].tolist(), at, split) == "":
            copy.drop(at, "wrong-size", _sizes(split, at))
        if file is not None:
            first.setdefault(file, at)


def _sizes(split: Split, at: int) -> str:
    one = split.looks[at]
    assert one is not None  # only asked where there is an image
    width, height = split.claims.sizes[at].tolist()
    return f"stated {width} x {height}, is {one.header.size[0]} x {one.header.size[1]}"


def _fate(stated: list[int], at: int, split: Split) -> str:
    """What to do with boxes drawn on the stated size: ``keep``, ``turn``, ``scale``, or nothing where they are lost."""
    one = split.looks[at]
    assert one is not None  # only asked where there is an image
    found = sizes_agree((stated[0], stated[1]), one.header)
    if not found:
        return "keep"
    if found == "turned":
        return "turn"
    width, height = one.header.size
    return "scale" if abs(stated[0] * height / (stated[1] * width) - 1) <= SAME_SHAPE else ""


def _leaks(copies: list[_Copy]) -> None:
    """Take images that are in two splits out of the one that is learnt from."""
    ordered = sorted(copies, key=lambda one: SPLIT_ORDER.index(one.split.name) if one.split.name in SPLIT_ORDER else len(SPLIT_ORDER))
    for at, ours in enumerate(ordered):
        for other in ordered[at + 1 :]:
            for mine, theirs in same_files(ours.split, other.split):
                if other.keep[theirs]:
                    ours.drop(mine, "leak", f"also in {other.split.name} as {quoted(other.split.claims.labels_from[theirs])}")


def _annotations(copy: _Copy, numbers: dict[int, int]) -> None:
    """Mended annotations of the images that stay, with ``numbers`` from the split's category ids to the copy's."""
    claims = _mended(copy)
    verdict = find_faults(claims)
    for found in copy.split.claims.findings:
        if found.code.startswith("malformed-"):
            for example in found.examples:
                copy.told(found.code, example, f"one of {found.count}")
    ids = claims.annotation_ids
    anew = len(np.unique(ids)) < len(ids) or bool((ids < 1).any())
    if anew and (ids >= 0).any():
        copy.told("duplicate-annotation-id", "all annotations", "ids repeat or are below 1", "numbered from 1")
    reasons = (
        ("unknown-image", verdict.unknown_image), ("not-finite", verdict.not_finite), ("pixels", verdict.pixels),
        ("degenerate", verdict.degenerate), ("duplicate-box", verdict.duplicate),
    )  # fmt: skip
    clipped = verdict.clipped.astype(np.float64)
    whole = (clipped[:, 2:] - clipped[:, :2]).prod(1)
    areas = np.fmin(claims.areas, whole)
    for at in range(len(ids)):
        image = int(claims.image[at])
        if image >= 0 and not copy.keep[image]:
            continue  # its image was told of
        where = f"{quoted(claims.labels_from[image]) if image >= 0 else 'no image'} {f'annotation {ids[at]}' if ids[at] >= 0 else f'object {at}'}"
        stated = copy.split.claims.boxes[at].tolist()
        before = [v if np.isfinite(v) else str(v) for v in stated]
        number = numbers.get(int(claims.category[at]))
        reason = next((code for code, broken in reasons if broken[at]), "" if number is not None else "unknown-category")
        if reason:
            copy.told(reason, where, " ".join(map(str, before)))
            continue
        x1, y1, x2, y2 = box = clipped[at].tolist()
        if np.abs(claims.boxes[at] - clipped[at]).max() > 1e-3:
            copy.told("outside", where, claims.boxes[at].tolist(), box)
        copy.annotations.append({
            "id": len(copy.annotations) + 1 if anew else int(ids[at]), "image_id": int(claims.ids[image]), "category_id": number,
            "bbox": [x1, y1, x2 - x1, y2 - y1], "area": float(areas[at]), "iscrowd": int(claims.crowd[at]),
        })  # fmt: skip
    copy.mended = claims


def _mended(copy: _Copy) -> RawAnnotations:
    """The claims with boxes as pixels of the images as they are, and entries of one file merged."""
    split, claims, verdict = copy.split, copy.split.claims, copy.split.verdict
    boxes, sizes, areas, image = claims.boxes.copy(), claims.sizes.copy(), claims.areas.copy(), claims.image.copy()
    known = ~(verdict.unknown_image | verdict.not_finite)
    stated = np.zeros((len(boxes), 4))
    stated[known] = np.tile(claims.sizes[claims.image[known]], 2)
    if verdict.corners:
        boxes[:, 2:] -= boxes[:, :2]
        areas[:] = np.nan
        copy.told("corners", "all boxes", "third and fourth number read as width and height", "read as x2 and y2")
    if verdict.normalised.any():
        boxes[verdict.normalised] *= stated[verdict.normalised]
        areas[verdict.normalised] = np.nan
        copy.told("normalised", f"{verdict.normalised.sum()} boxes", "shares of the picture", "pixels")
    if verdict.pixels.any() and verdict.pixels.sum() >= known.sum() / 2:
        boxes[verdict.pixels] /= stated[verdict.pixels]
        areas[verdict.pixels] = np.nan
        copy.told("pixels", f"{verdict.pixels.sum()} boxes", "pixels", "shares of the picture, as YOLO has them")
    first: dict[Path, int] = {}
    moved = np.arange(len(claims))
    objects = np.argsort(image, kind="stable")
    starts = np.searchsorted(image[objects], np.arange(len(claims) + 1))
    for at, (file, one) in enumerate(zip(claims.files, split.looks, strict=True)):
        if file is None or one is None or one.header.fault:
            continue
        moved[at] = first.setdefault(file, at) if not verdict.same_id[at] else at
        fate = _fate(sizes[at].tolist(), at, split)
        mine = objects[starts[at] : starts[at + 1]]
        if fate == "turn":
            boxes[mine] = turned(boxes[mine], one.header.width, one.header.height, one.header.orientation)
        elif fate == "scale":
            ratio = np.asarray(one.header.size) / sizes[at]
            boxes[mine] *= np.tile(ratio, 2)
            areas[mine] *= ratio.prod()
        if fate in ("turn", "scale"):
            code = "turned" if fate == "turn" else "wrong-size"
            copy.told(code, quoted(claims.labels_from[at]), sizes[at].tolist(), [*one.header.size])
        sizes[at] = one.header.size
    image[claims.image >= 0] = moved[claims.image[claims.image >= 0]]
    return replace(claims, boxes=boxes, sizes=sizes, areas=areas, image=image)


def turned(boxes: np.ndarray, width: int, height: int, orientation: int) -> np.ndarray:
    """Boxes ``[n, 4]`` of a stored image ``width`` x ``height``, in pixels of the picture that its EXIF ``orientation`` 5 to 8 makes of it."""
    x1, y1, x2, y2 = boxes.T
    left, right = (height - y2, height - y1) if orientation in (6, 7) else (y1, y2)
    top, bottom = (width - x2, width - x1) if orientation in (7, 8) else (x1, x2)
    return np.column_stack([left, top, right, bottom])


def _entries(copy: _Copy) -> None:
    """Image entries of the copy, with a name for each: its own, unless that is taken or its suffix lies."""
    claims, used = copy.mended or copy.split.claims, set()
    for at in np.flatnonzero(copy.keep).tolist():
        file, one = claims.files[at], copy.split.looks[at]
        assert file is not None and one is not None  # others were left out
        kind = one.header.kind
        suffix = file.suffix if right_suffix(file, one.header) else SUFFIXES.get(kind, f".{kind.lower()}")
        name, n = file.stem + suffix, 1
        while name.lower() in used:
            n += 1
            name = f"{file.stem}-{n}{suffix}"
        used.add(name.lower())
        if suffix != file.suffix:
            copy.told("wrong-suffix", quoted(claims.labels_from[at]), file.name, name)
        width, height = claims.sizes[at].tolist()
        copy.images.append({"id": int(claims.ids[at]), "file_name": name, "width": width, "height": height})
        copy.links.append((file, name))


def _write(copy: _Copy, categories: list[dict[str, Any]], folder: Path, log: Callable[[str], None]) -> None:
    """Annotations and images of one split."""
    images, name = folder / "images" / copy.split.name, copy.split.name
    images.mkdir(parents=True)
    for n, (file, new) in enumerate(copy.links, 1):
        try:
            os.link(file, images / new)
        except OSError:  # another file system, or one without links: a copy takes more room and does as well
            shutil.copyfile(file, images / new)
        if n % 100 == 0:
            log(f"{name}: {n:,} of {len(copy.links):,} images linked")
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / f"{name}.json").write_text(coco.write(copy.images, copy.annotations, categories), encoding="utf-8")
