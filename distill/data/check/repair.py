"""A repaired copy of a data set in COCO format, with a list of all changes.

The copy holds hard links to the images, or copies where links are not possible; the input is only read. It is made in a
folder beside its place and renamed at the end, so that it is there whole or not at all.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill.data.check.changes import DROPPED, Change, write_changes
from distill.data.check.faults import parent_category
from distill.data.check.image_check import has_right_suffix
from distill.data.check.repair_boxes import repair_annotations
from distill.data.check.report import Report, Split
from distill.data.check.split_copy import SplitCopy, drop_images, drop_leaks
from distill.data.formats import coco
from distill.data.formats.findings import quoted
from distill.data.formats.raw import RawAnnotations
from distill.data.formats.readers import silent
from workbench.errors import BadInput
from workbench.files import new_folder

SUFFIXES = {
    "JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "BMP": ".bmp", "DIB": ".bmp", "WEBP": ".webp", "TIFF": ".tif",
}  # fmt: skip
"""The suffix that an image's format has in the copy, where its own is wrong."""
LOG_EVERY = 100
"""Images between two lines of progress."""


def repair(report: Report, out: str | Path, log: Callable[[str], None] = silent) -> Counter[str]:
    """Write a repaired copy of the data in ``report`` to the folder ``out``; the number of changes by finding."""
    out = Path(out)
    check_place(out, report.splits[0].raw.source.root)
    changes: list[Change] = []
    categories, numbers = _categories(report.splits, changes)
    copies = [SplitCopy(split, changes, np.ones(len(split.raw), dtype=bool)) for split in report.splits]
    for copy in copies:
        drop_images(copy)
    drop_leaks(copies)
    for copy, own_numbers in zip(copies, numbers, strict=True):
        log(f"repairing {copy.split.name}")
        _name_images(copy, repair_annotations(copy, own_numbers))
    copies = [copy for copy in copies if copy.images]
    if not copies:
        raise BadInput(f"{report.path}: no image is left after repair; nothing was written")
    with new_folder(out) as folder:
        for copy in copies:
            _write(copy, categories, folder, log)
        write_changes(changes, folder)
    return Counter(change.code for change in changes)


def check_place(out: Path, root: Path) -> None:
    """Refuse a folder for the copy that is not empty, or that contains or is inside the data at ``root``."""
    target = out.resolve()
    if target == root or root in target.parents:
        raise BadInput(f"{out}: inside the data {root}, which is never touched; choose a folder outside it")
    if target in root.parents:
        raise BadInput(f"{out}: holds the data {root}; choose a new folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"{out}: is there already and not empty; choose a new folder or empty it")


def _categories(
    splits: Sequence[Split], changes: list[Change]
) -> tuple[list[dict[str, Any]], list[dict[int, int]]]:
    """One list of categories for all splits, and for each split its own ids to those of the list."""
    # a parent without objects is left out only if no split has objects of it
    used = {
        category.name
        for split in splits
        for category in split.raw.categories
        if (split.raw.category == category.id).any()
    }
    ids: dict[str, int] = {}
    numbers = [_split_categories(split, used, ids, changes) for split in splits]
    if not ids:
        raise BadInput("no category is left after repair; nothing was written")
    for split in splits:
        names = {category.name for category in split.raw.categories}
        changes.extend(
            Change(split.name, "classes-differ", f"category {quoted(name)}", "absent", f"id {ids[name]}")
            for name in ids
            if name not in names
        )
    categories = [{"id": number, "name": name} for name, number in sorted(ids.items(), key=lambda item: item[1])]
    return categories, numbers


def _split_categories(split: Split, used: set[str], ids: dict[str, int], changes: list[Change]) -> dict[int, int]:
    """From the split's category ids to those in ``ids``, to which names that are new are added."""
    parent = parent_category(split.raw)
    numbers: dict[int, int] = {}
    names: set[str] = set()
    for category in split.raw.categories:
        number, name = category.id, category.name
        where = f"category {quoted(name)}"
        if number == parent and name not in used:
            changes.append(Change(split.name, "parent-category", where, f"id {number}", DROPPED))
            continue
        if number in numbers:
            changes.append(Change(split.name, "duplicate-category-id", where, f"id {number}", DROPPED))
            continue
        if name in names:
            numbers[number] = ids[name]
            changes.append(Change(split.name, "duplicate-class-name", where, f"id {number}", f"id {ids[name]}"))
            continue
        names.add(name)
        if name not in ids:
            taken = set(ids.values())
            ids[name] = number if number not in taken else max(taken) + 1
        numbers[number] = ids[name]
        if ids[name] != number:
            changes.append(Change(split.name, "class-ids-differ", where, f"id {number}", f"id {ids[name]}"))
    return numbers


def _name_images(copy: SplitCopy, raw: RawAnnotations) -> None:
    """Image entries of the copy; each keeps its name unless that is taken or its suffix is wrong."""
    used: set[str] = set()
    for index in np.flatnonzero(copy.keep).tolist():
        file, check = raw.files[index], copy.split.images[index]
        assert file is not None and check is not None  # others were left out
        kind = check.header.kind
        suffix = file.suffix if has_right_suffix(file, check.header) else SUFFIXES.get(kind, f".{kind.lower()}")
        name, number = file.stem + suffix, 1
        while name.lower() in used:
            number += 1
            name = f"{file.stem}-{number}{suffix}"
        used.add(name.lower())
        if suffix != file.suffix:
            copy.record("wrong-suffix", quoted(raw.image_names[index]), file.name, name)
        width, height = raw.sizes[index].tolist()
        copy.images.append({"id": int(raw.ids[index]), "file_name": name, "width": width, "height": height})
        copy.links.append((file, name))


def _write(copy: SplitCopy, categories: list[dict[str, Any]], folder: Path, log: Callable[[str], None]) -> None:
    """Write annotations and images of one split."""
    name = copy.split.name
    images = folder / "images" / name
    images.mkdir(parents=True)
    for number, (file, new_name) in enumerate(copy.links, 1):
        try:
            os.link(file, images / new_name)
        except OSError:  # another file system, or one without links
            shutil.copyfile(file, images / new_name)
        if number % LOG_EVERY == 0:
            log(f"{name}: {number:,} of {len(copy.links):,} images linked")
    text = coco.write(copy.images, copy.annotations, categories)
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / f"{name}.json").write_text(text, encoding="utf-8")
