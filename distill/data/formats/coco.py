"""COCO's JSON: found in the layouts people keep it in, and read without holding the polygons in memory.

The large lists are decoded entry by entry, so that a file of half a gigabyte costs its own size and little more.
Segmentations are passed over: a detector learns boxes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from json.decoder import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from distill.data.formats.image_headers import read_sizes
from distill.data.formats.paths import MISSING, OUTSIDE, Places, read_text
from distill.data.formats.raw import Category, FindingLog, RawAnnotations, Source, columns, quoted
from workbench.errors import BadInput

MOST_JSON_BYTES = 8 * 2**30
MOST_ID = 2**53
"""JSON numbers beyond it lose digits in other programs."""
MOST_SIDE_PX = 10**6

SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
"""What the splits are called in files and folders."""
NOT_DETECTION = ("captions", "person_keypoints", "stuff", "panoptic", "image_info")
"""COCO's other annotation files begin so."""
ALONE = ("_annotations.coco.json", "annotations.json", "instances.json", "labels.json")
"""A single file of annotations beside its images."""

POLYGONS = re.compile(r'("segmentation":)\s*\[[\[\]\d\s,.eE+-]*\]')
"""Four fifths of a COCO file; cutting them out first makes reading twice as fast. Inside a JSON string the quotes would be escaped."""

BLANK = re.compile(r"[ \t\n\r]*")


def split_of(name: str) -> str:
    """The split that a file's or folder's name tells of, or nothing: ``instances_val2017`` is ``val``."""
    words = re.findall(r"[a-z]+", name.lower())
    found = {split for split, names in SPLITS.items() for word in words if word in names}
    return found.pop() if len(found) == 1 else ""


def find(path: Path) -> list[Source]:
    """The splits in COCO form at ``path``: a JSON file, or a folder in one of the known layouts; none if there are none."""
    if path.is_file():
        return [_source(path)] if path.suffix.lower() == ".json" else []
    files: dict[str, list[Path]] = {}
    for name in ("train", "val", "valid", "test"):  # Roboflow
        file = path / name / "_annotations.coco.json"
        if file.is_file():
            files.setdefault(split_of(name), []).append(file)
    for folder in (path / "annotations", path) if not files else ():
        for file in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            split = split_of(file.stem)
            if split and not file.stem.startswith(NOT_DETECTION):
                files.setdefault(split, []).append(file)
        if files:
            break
    if not files:
        # one file without the name of a split
        alone = sorted((path / "annotations").glob("*.json")) or [path / name for name in ALONE if (path / name).is_file()]
        return [_source(alone[0], path)] if len(alone) == 1 else []
    for split, several in files.items():
        if len(several) > 1:
            names = ", ".join(str(file.relative_to(path)) for file in several)
            raise BadInput(f"{path}: {names} all look like the split {split!r}: give one file instead of the folder, or move the others away")
    return [_source(files[split][0], path) for split in SPLITS if split in files]


def _source(file: Path, root: Path | None = None) -> Source:
    """The split of one JSON file, with the folders in which its images may be."""
    stem, folder = file.stem, file.parent
    # a file in .../annotations belongs to the folder above, where the images are
    root = root or (folder.parent if folder.name == "annotations" else folder)
    split = split_of(folder.name if stem == "_annotations.coco" else stem)
    plain = stem.removeprefix("instances_")
    bases = (root, root / "images", root / "data")
    folders = [folder, *(base / name for base in bases for name in dict.fromkeys((plain, split)) if name), *bases]
    return Source("coco", split, root.resolve(), file, tuple(dict.fromkeys(folders)))


def read(source: Source, log: Callable[[str], None] = lambda text: None) -> RawAnnotations:
    """What the JSON file claims."""
    file, notes = source.file, FindingLog(source.name)
    if file.is_file() and not Places(source.root).inside(file):
        raise BadInput(f"{file}: a link that leaves the folder {source.root}; give the file itself")
    log(f"reading {file.name}")
    text = POLYGONS.sub(r'\1 0', read_text(file, MOST_JSON_BYTES))
    images, annotations, categories = _Images(), _Annotations(), _Categories()
    lists: dict[str, Callable[[Any, FindingLog], None]] = {"images": images.add, "annotations": annotations.add, "categories": categories.add}
    seen = set()
    try:
        for key, entry in _entries(text, frozenset(lists)):
            if key in seen and entry is _BEGIN:
                raise BadInput(f"{file}: has {key!r} twice; a COCO file has one list of each")
            seen.add(key)
            if entry is not _BEGIN:
                lists[key](entry, notes)
                if len(annotations.image) % 20_000 == 0:
                    log(f"reading {file.name}: {len(images.ids):,} images, {len(annotations.image):,} annotations")
    except JSONDecodeError as error:
        place = _true_place(file) or error
        raise BadInput(f"{file}: not JSON (line {place.lineno}, column {place.colno}: {place.msg}): is the file whole?") from error
    except RecursionError as error:
        raise BadInput(f"{file}: nested too deep to be a COCO file") from error
    except BadInput as error:
        raise error if str(error).startswith(str(file)) else BadInput(f"{file}: {error}") from error
    except ValueError as error:  # a number of thousands of digits
        raise BadInput(f"{file}: {error}") from error
    missing = [name for name in lists if name not in seen]
    if missing:
        raise BadInput(f"{file}: no list {missing[0]!r}; a COCO file of objects has the lists images, annotations and categories")
    if not categories.found:
        raise BadInput(f"{file}: no category is defined; a COCO file needs at least one, such as {{\"id\": 1, \"name\": \"thing\"}}")
    del text
    return _claims(source, images, annotations, categories, notes, log)


_BEGIN = object()
"""Stands for the start of a list, so that an empty one is seen too."""


def _entries(text: str, wanted: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Of the JSON object in ``text``: the entries of the lists that are ``wanted``, each preceded by ``_BEGIN``."""
    decode = JSONDecoder().raw_decode

    def skip(at: int) -> int:
        return BLANK.match(text, at).end()  # type: ignore[union-attr]  # matches everywhere

    def expect(marks: str, at: int) -> str:
        if text[at : at + 1] and text[at] in marks:
            return text[at]
        raise JSONDecodeError(f"expected {' or '.join(marks)}", text, at)

    at = skip(0)
    if text[at : at + 1] == "[":
        raise BadInput("a list, not a COCO data set; results look so, but the true boxes are needed here")
    expect("{", at)
    at = skip(at + 1)
    if text[at : at + 1] == "}":
        return
    while True:
        expect('"', at)
        key, at = decode(text, at)
        at = skip(at)
        expect(":", at)
        at = skip(at + 1)
        if key in wanted:
            if text[at : at + 1] != "[":
                raise BadInput(f"{key!r} must be a list")
            yield key, _BEGIN
            at = skip(at + 1)
            while text[at : at + 1] != "]":
                entry, at = decode(text, at)
                yield key, entry
                at = skip(at)
                if expect(",]", at) == ",":
                    at = skip(at + 1)
                    if text[at : at + 1] == "]":
                        raise JSONDecodeError("expected a value", text, at)
            at += 1
        else:
            _, at = decode(text, at)
        at = skip(at)
        if expect(",}", at) == "}":
            break
        at = skip(at + 1)
    if skip(at + 1) != len(text):
        raise JSONDecodeError("more after the end", text, skip(at + 1))


def _true_place(file: Path) -> JSONDecodeError | None:
    """The first fault of the file as it is, with its polygons, so that line and column are the file's own."""
    try:
        for _ in _entries(read_text(file, MOST_JSON_BYTES), frozenset()):
            pass
    except JSONDecodeError as error:
        return error
    return None


def _is_id(value: Any) -> TypeGuard[int]:
    return type(value) is int and -MOST_ID < value < MOST_ID


class _Images:
    """The list of images, in columns."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.names: list[str] = []
        self.sizes: list[tuple[int, int]] = []

    def add(self, entry: Any, notes: FindingLog) -> None:
        """One entry; what is no image is noted and passed over."""
        found, name = (entry.get("id"), entry.get("file_name")) if isinstance(entry, dict) else (None, None)
        if not _is_id(found) or not isinstance(name, str) or not name:
            notes.add("malformed-image", f"entry {len(self.ids)}: id {quoted(found)}, file_name {quoted(name)}")
            return
        width, height = entry.get("width"), entry.get("height")
        good = _is_side(width) and _is_side(height)
        self.ids.append(found)
        self.names.append(name)
        self.sizes.append((int(width), int(height)) if good else (0, 0))


def _is_side(value: Any) -> bool:
    return type(value) in (int, float) and 1 <= value <= MOST_SIDE_PX and value == int(value)


class _Annotations:
    """The list of annotations, in columns."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.image: list[int] = []
        self.category: list[int] = []
        self.crowd: list[bool] = []
        self.areas: list[float] = []
        self.boxes: list[float] = []

    def add(self, entry: Any, notes: FindingLog) -> None:
        """One entry; what is no annotation of a box is noted and passed over."""
        try:
            image, category, box = entry["image_id"], entry["category_id"], entry["bbox"]
            x, y, width, height = box
            good = _is_id(image) and _is_id(category) and all(type(v) in (int, float) for v in box)
            numbers = (float(x), float(y), float(width), float(height)) if good else None
        except (TypeError, KeyError, ValueError, OverflowError):
            numbers = None
        if numbers is None:
            what = ", ".join(f"{key} {quoted(entry[key])}" if key in entry else f"no {key}" for key in ("id", "image_id", "category_id", "bbox")) if isinstance(entry, dict) else quoted(entry)
            notes.add("malformed-annotation", what)
            return
        self.boxes.extend(numbers)
        self.image.append(image)
        self.category.append(category)
        self.crowd.append(entry.get("iscrowd") in (1, True))
        area, own = entry.get("area"), entry.get("id")
        self.areas.append(float(area) if type(area) in (int, float) and 0 < area < 1e15 else math.nan)
        self.ids.append(own if _is_id(own) else -1)


class _Categories:
    """The list of categories."""

    def __init__(self) -> None:
        self.found: list[Category] = []

    def add(self, entry: Any, notes: FindingLog) -> None:
        """One entry; what is no category is noted and passed over."""
        found, name = (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (None, None)
        if not _is_id(found) or not isinstance(name, str) or not name.strip():
            notes.add("malformed-category", f"id {quoted(found)}, name {quoted(name)}")
            return
        parent = entry.get("supercategory")
        self.found.append(Category(found, name, parent if isinstance(parent, str) else ""))


def _claims(source: Source, images: _Images, annotations: _Annotations, categories: _Categories, notes: FindingLog, log: Callable[[str], None]) -> RawAnnotations:
    places = Places(source.root)
    files = []
    for name in images.names:
        file = _file(places, source.images, name)
        if file in (OUTSIDE, MISSING):
            notes.add("path-outside" if file == OUTSIDE else "missing-image", quoted(name))
        files.append(file if isinstance(file, Path) else None)
    sizes = fill_sizes(np.asarray(images.sizes, dtype=np.int64).reshape(-1, 2), files, notes, log, "no-size")
    ids = np.asarray(images.ids, dtype=np.int64)
    position: dict[int, int] = {}
    for at, one in enumerate(images.ids):
        position.setdefault(one, at)
    boxes = np.asarray(annotations.boxes, dtype=np.float64).reshape(-1, 4)
    with np.errstate(over="ignore", invalid="ignore"):
        boxes[:, 2:] += boxes[:, :2]
    where = np.asarray([position.get(one, -1) for one in annotations.image], dtype=np.int64)
    notes.all("unknown-image", where < 0, lambda at: f"annotation {annotations.ids[at]}: image_id {annotations.image[at]}")
    return RawAnnotations(
        source, tuple(categories.found), ids, tuple(files), tuple(images.names), sizes,
        **columns(boxes, where, annotations.category, annotations.crowd, annotations.areas, annotations.ids), findings=notes.findings(),
    )  # fmt: skip


def _file(places: Places, folders: tuple[Path, ...], name: str) -> Path | str:
    """The image ``name``: in the first of ``folders`` that has it."""
    worst = MISSING
    for folder in folders:
        file = places.find(folder, name)
        if isinstance(file, Path):
            return file
        if file == OUTSIDE:
            worst = OUTSIDE
    return worst


def fill_sizes(sizes: np.ndarray, files: list[Path | None], notes: FindingLog, log: Callable[[str], None], code: str = "") -> np.ndarray:
    """``sizes`` ``[m, 2]`` with zeros replaced from the images' headers; ``code`` is noted for each, what cannot be read always."""
    unknown = [at for at in np.flatnonzero((sizes <= 0).any(1)).tolist() if files[at] is not None]
    headers = read_sizes([file for at in unknown if (file := files[at]) is not None], log)
    for at, header in zip(unknown, headers, strict=True):
        if header.fault:
            notes.add(header.fault, f"{files[at]}: {header.why}")
            continue
        sizes[at] = header.size
        if code:
            notes.add(code, str(files[at]))
    return sizes


def write(images: list[dict[str, Any]], annotations: list[dict[str, Any]], categories: list[dict[str, Any]]) -> str:
    """The text of a COCO file, one entry a line, so that two of them can be compared line by line."""
    parts = []
    for name, entries in (("images", images), ("annotations", annotations), ("categories", categories)):
        lines = ",\n".join("  " + json.dumps(entry, allow_nan=False, ensure_ascii=False) for entry in entries)
        parts.append(f' "{name}": [\n{lines}\n ]' if entries else f' "{name}": []')
    return "{\n" + ",\n".join(parts) + "\n}\n"
