"""COCO's JSON. Segmentations are skipped: a detector learns boxes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from json.decoder import JSONDecodeError
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from distill.data.formats import coco_layout
from distill.data.formats.findings import FindingLog, quoted
from distill.data.formats.image_headers import fill_sizes
from distill.data.formats.json_lists import BEGIN, list_entries
from distill.data.formats.paths import MISSING, OUTSIDE, DataFiles
from distill.data.formats.raw import Category, RawAnnotations, Source, columns
from workbench.doors.bytes import read_text
from workbench.errors import BadInput

MAX_JSON_BYTES = 8 * 2**30
MAX_ID = 2**53
"""JSON numbers beyond it lose digits in other programs."""
MAX_SIDE_PX = 10**6
LOG_EVERY = 20_000
"""Annotations between two lines of progress."""

POLYGONS = re.compile(r'("segmentation":)\s*\[[\[\]\d\s,.eE+-]*\]')
"""Four fifths of a COCO file; without them reading is twice as fast. In a JSON string the quotes would be escaped."""


def find(path: Path) -> list[Source]:
    """The splits in COCO format at ``path``."""
    return coco_layout.find_sources(path)


def read(source: Source, log: Callable[[str], None] = lambda text: None) -> RawAnnotations:
    """What the JSON file says."""
    file, notes = source.file, FindingLog(source.name)
    if file.is_file() and not source.data_files().is_inside(file):
        raise BadInput(f"{file}: a link that leaves the folder {source.root}; give the file itself")
    log(f"reading {file.name}")
    lists = _Lists(notes)
    try:
        lists.read(POLYGONS.sub(r"\1 0", read_text(file, "", MAX_JSON_BYTES)), file, log)
    except JSONDecodeError as error:
        fault = _first_fault(file) or error
        raise BadInput(
            f"{file}: not JSON (line {fault.lineno}, column {fault.colno}: {fault.msg}): is the file whole?"
        ) from error
    except RecursionError as error:
        raise BadInput(f"{file}: nested too deep to be a COCO file") from error
    except BadInput as error:
        raise error if str(error).startswith(str(file)) else BadInput(f"{file}: {error}") from error
    except ValueError as error:  # a number of thousands of digits
        raise BadInput(f"{file}: {error}") from error
    if not lists.categories:
        raise BadInput(
            f'{file}: no category is defined; a COCO file needs at least one, such as {{"id": 1, "name": "thing"}}'
        )
    return _raw_annotations(source, lists, log)


def _first_fault(file: Path) -> JSONDecodeError | None:
    """The first fault of the file with its polygons, so that line and column are the file's own."""
    try:
        for _ in list_entries(read_text(file, "", MAX_JSON_BYTES), frozenset()):
            pass
    except JSONDecodeError as error:
        return error
    return None


class _Lists:
    """The lists of a COCO file, in columns. An invalid entry is noted and skipped."""

    def __init__(self, notes: FindingLog) -> None:
        self.notes = notes
        self.image_ids: list[int] = []
        self.image_names: list[str] = []
        self.sizes: list[tuple[int, int]] = []
        self.annotation_ids: list[int] = []
        self.annotation_images: list[int] = []
        self.annotation_categories: list[int] = []
        self.crowd: list[bool] = []
        self.areas: list[float] = []
        self.boxes: list[float] = []
        self.categories: list[Category] = []

    def read(self, text: str, file: Path, log: Callable[[str], None]) -> None:
        """Read the three lists."""
        add = {"images": self._add_image, "annotations": self._add_annotation, "categories": self._add_category}
        seen = set()
        for key, entry in list_entries(text, frozenset(add)):
            if key in seen and entry is BEGIN:
                raise BadInput(f"{file}: has {key!r} twice; a COCO file has one list of each")
            seen.add(key)
            if entry is not BEGIN:
                add[key](entry)
                if len(self.annotation_ids) % LOG_EVERY == 0:
                    images, annotations = len(self.image_ids), len(self.annotation_ids)
                    log(f"reading {file.name}: {images:,} images, {annotations:,} annotations")
        missing = [name for name in add if name not in seen]
        if missing:
            raise BadInput(
                f"{file}: no list {missing[0]!r}; "
                "a COCO file of objects has the lists images, annotations and categories"
            )

    def _add_image(self, entry: Any) -> None:
        number, name = (entry.get("id"), entry.get("file_name")) if isinstance(entry, dict) else (None, None)
        if not _is_id(number) or not isinstance(name, str) or not name:
            where = f"entry {len(self.image_ids)}: id {quoted(number)}, file_name {quoted(name)}"
            self.notes.add("malformed-image", where)
            return
        width, height = entry.get("width"), entry.get("height")
        self.image_ids.append(number)
        self.image_names.append(name)
        self.sizes.append((int(width), int(height)) if _is_side(width) and _is_side(height) else (0, 0))

    def _add_annotation(self, entry: Any) -> None:
        try:
            image, category, box = entry["image_id"], entry["category_id"], entry["bbox"]
            x, y, width, height = box
            valid = _is_id(image) and _is_id(category) and all(type(v) in (int, float) for v in box)
            numbers = (float(x), float(y), float(width), float(height)) if valid else None
        except (TypeError, KeyError, ValueError, OverflowError):
            numbers = None
        if numbers is None:
            self.notes.add("malformed-annotation", _annotation_text(entry))
            return
        self.boxes.extend(numbers)
        self.annotation_images.append(image)
        self.annotation_categories.append(category)
        self.crowd.append(entry.get("iscrowd") in (1, True))
        area, number = entry.get("area"), entry.get("id")
        self.areas.append(float(area) if type(area) in (int, float) and 0 < area < 1e15 else math.nan)
        self.annotation_ids.append(number if _is_id(number) else -1)

    def _add_category(self, entry: Any) -> None:
        number, name = (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (None, None)
        if not _is_id(number) or not isinstance(name, str) or not name.strip():
            self.notes.add("malformed-category", f"id {quoted(number)}, name {quoted(name)}")
            return
        parent = entry.get("supercategory")
        self.categories.append(Category(number, name, parent if isinstance(parent, str) else ""))


def _is_id(value: Any) -> TypeGuard[int]:
    return type(value) is int and -MAX_ID < value < MAX_ID


def _is_side(value: Any) -> bool:
    return type(value) in (int, float) and 1 <= value <= MAX_SIDE_PX and value == int(value)


def _annotation_text(entry: Any) -> str:
    if not isinstance(entry, dict):
        return quoted(entry)
    keys = ("id", "image_id", "category_id", "bbox")
    return ", ".join(f"{key} {quoted(entry[key])}" if key in entry else f"no {key}" for key in keys)


def _raw_annotations(source: Source, lists: _Lists, log: Callable[[str], None]) -> RawAnnotations:
    data_files, notes = source.data_files(), lists.notes
    files = []
    for name in lists.image_names:
        file = _image_file(data_files, source.images, name)
        if file in (OUTSIDE, MISSING):
            notes.add("path-outside" if file == OUTSIDE else "missing-image", quoted(name))
        files.append(file if isinstance(file, Path) else None)
    stated = np.asarray(lists.sizes, dtype=np.int64).reshape(-1, 2)
    sizes = fill_sizes(stated, files, notes, log, "no-size")
    index_of: dict[int, int] = {}
    for index, number in enumerate(lists.image_ids):
        index_of.setdefault(number, index)
    boxes = np.asarray(lists.boxes, dtype=np.float64).reshape(-1, 4)
    with np.errstate(over="ignore", invalid="ignore"):
        boxes[:, 2:] += boxes[:, :2]
    images, ids = lists.annotation_images, lists.annotation_ids
    image = np.asarray([index_of.get(number, -1) for number in images], dtype=np.int64)
    notes.add_all("unknown-image", image < 0, lambda row: f"annotation {ids[row]}: image_id {images[row]}")
    return RawAnnotations(
        source, tuple(lists.categories), np.asarray(lists.image_ids, dtype=np.int64), tuple(files),
        tuple(lists.image_names), sizes,
        **columns(boxes, image, lists.annotation_categories, lists.crowd, lists.areas, ids), findings=notes.findings(),
    )  # fmt: skip


def _image_file(data_files: DataFiles, folders: tuple[Path, ...], name: str) -> Path | str:
    """The image ``name`` in the first of ``folders`` that has it, or ``OUTSIDE``, or ``MISSING``."""
    missing = MISSING
    for folder in folders:
        file = data_files.find(folder, name)
        if isinstance(file, Path):
            return file
        if file == OUTSIDE:
            missing = OUTSIDE
    return missing


def write(images: list[dict[str, Any]], annotations: list[dict[str, Any]], categories: list[dict[str, Any]]) -> str:
    """The text of a COCO file, one entry a line, so that two files can be compared line by line."""
    parts = []
    for name, entries in (("images", images), ("annotations", annotations), ("categories", categories)):
        lines = ",\n".join("  " + json.dumps(entry, allow_nan=False, ensure_ascii=False) for entry in entries)
        parts.append(f' "{name}": [\n{lines}\n ]' if entries else f' "{name}": []')
    return "{\n" + ",\n".join(parts) + "\n}\n"
