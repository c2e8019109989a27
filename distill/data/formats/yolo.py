"""YOLO's text labels: ``data.yaml`` with names and splits, and beside every image a file with one line an object.

A line is ``class cx cy width height`` in shares of the picture, or ``class x1 y1 x2 y2 x3 y3 ...``, a polygon whose box
is taken. No file or an empty one means a picture without objects.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from distill.data.formats.coco import fill_sizes
from distill.data.formats.paths import MISSING, OUTSIDE, Places, read_text, read_yaml
from distill.data.formats.raw import Category, FindingLog, RawAnnotations, Source, columns, quoted
from workbench.errors import BadInput
from zoo.images import SUFFIXES

MOST_CLASSES = 100_000


def find(path: Path) -> list[Source]:
    """The splits of a YOLO data set at ``path``: its ``data.yaml``, or the folder with it; none if it is no such set."""
    if path.is_file():
        return _sources(path) if path.suffix.lower() in (".yaml", ".yml") else []
    files = [path / name for name in ("data.yaml", "dataset.yaml", "data.yml") if (path / name).is_file()]
    if files:
        return _sources(files[0])
    if (path / "labels").is_dir() and (path / "images").is_dir():
        raise BadInput(f"{path}: has images and labels but no data.yaml; write one there: 'train: images/train', 'val: images/val' and 'names: [first class, second class]'")
    return []


def _sources(file: Path) -> list[Source]:
    data = read_yaml(file)
    root = file.parent.resolve()
    places = Places(root)
    names = _names(data, file)
    base = _inside(places, root, data.get("path") or ".", "path", file)
    settings = {"names": names, "pose": "kpt_shape" in data}
    sources = []
    for split in ("train", "val", "test"):
        value = data.get(split, data.get("valid") if split == "val" else None)
        if value in (None, "", []):
            continue
        parts = value if isinstance(value, list) else [value]
        listed = tuple(_inside(places, base, part, split, file) for part in parts)
        sources.append(Source("yolo", split, root, file, listed, settings))
    if not sources:
        raise BadInput(f"{file}: names no split; it needs 'train: images/train' and 'val: images/val', relative to its own folder")
    return sources


def _names(data: dict[str, Any], file: Path) -> list[str]:
    """Class names in the order of their numbers."""
    names, nc = data.get("names"), data.get("nc")
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise BadInput(f"{file}: names has the keys {quoted(sorted(map(str, names)))}; they must be 0, 1, 2 ... without a gap")
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names or len(names) > MOST_CLASSES:
        raise BadInput(f"{file}: needs 'names', the list of classes in the order of their numbers")
    for name in names:
        if not isinstance(name, (str, int, float)) or isinstance(name, bool):
            raise BadInput(f"{file}: the class name {quoted(name)} must be text; put it in quotes")
    if nc is not None and nc != len(names):
        raise BadInput(f"{file}: nc is {quoted(nc)} but there are {len(names)} names; both must agree")
    return [str(name) for name in names]


def _inside(places: Places, base: Path, value: Any, key: str, file: Path) -> Path:
    """The folder or file that ``value`` names, relative to ``base``; it must be inside the data's folder."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise BadInput(f"{file}: {key} is {quoted(value)}; it must be a path relative to this file's folder")
    wanted = base / value.replace("\\", "/")
    if places.inside(wanted):
        return wanted
    # Roboflow writes ../train/images and means train/images
    parts = Path(value.replace("\\", "/")).parts
    near = base.joinpath(*[part for part in parts if part != ".."])
    if parts[0] == ".." and near.exists() and places.inside(near):
        return near
    raise BadInput(f"{file}: {key} {quoted(value)} leaves the folder {places.root}; put this file into the data's folder and write paths relative to it")


def read(source: Source, log: Callable[[str], None] = lambda text: None) -> RawAnnotations:
    """What the label files of one split claim."""
    notes, places = FindingLog(source.name), Places(source.root)
    names: list[str] = []
    files: list[Path | None] = []
    labels: list[Path | None] = []
    seen: set[Path] = set()
    for name, image, label in _listed(source, places, notes):
        if image is not None and image in seen:
            notes.add("duplicate-file", quoted(name))
            continue
        if image is not None:
            seen.add(image)
        names.append(name)
        files.append(image)
        labels.append(label)
    sizes = fill_sizes(np.zeros((len(files), 2), dtype=np.int64), files, notes, log)
    shares, images = _Lines(source.settings["pose"]), []
    for at, label in enumerate(labels):
        if at % 2000 == 0:
            log(f"reading labels: {at:,} of {len(labels):,}")
        if label is not None:
            images.extend([at] * shares.read(label, notes))
    boxes = np.asarray(shares.boxes, dtype=np.float64).reshape(-1, 4)
    where = np.asarray(images, dtype=np.int64)
    size = sizes[where].astype(np.float64).reshape(-1, 2)
    with np.errstate(over="ignore", invalid="ignore"):
        boxes *= np.concatenate([size, size], 1)
        area = np.asarray(shares.areas, dtype=np.float64) * size.prod(1)
    return RawAnnotations(
        source, tuple(Category(i, name) for i, name in enumerate(source.settings["names"])),
        np.arange(len(files), dtype=np.int64), tuple(files), tuple(names), sizes,
        **columns(boxes, where, shares.classes, np.zeros(len(boxes), dtype=bool), area, np.full(len(boxes), -1)), findings=notes.findings(),
    )  # fmt: skip


def _listed(source: Source, places: Places, notes: FindingLog) -> list[tuple[str, Path | None, Path | None]]:
    """Name, image and label file (None where there is none) of every picture of a split, in order."""
    found: list[tuple[str, Path | None, Path | None]] = []
    for listed in source.images:
        if listed.is_dir():
            _folder(listed, source, places, notes, found)
        elif listed.is_file() and listed.suffix == ".txt":
            for line in read_text(listed).splitlines():
                name = line.strip()
                if name:
                    base = listed.parent if name.startswith("./") else source.root
                    image = places.find(base, name)
                    if image == MISSING and base != listed.parent:
                        base = listed.parent
                        image = places.find(base, name)
                    if isinstance(image, str):
                        notes.add("path-outside" if image == OUTSIDE else "missing-image", quoted(name))
                    found.append((name, image if isinstance(image, Path) else None, _label(places, base / name.replace("\\", "/"), notes)))
        else:
            raise BadInput(f"{source.file}: {source.name} is {str(listed)!r}, which is neither a folder of images nor a .txt list of them")
    return found


def _folder(folder: Path, source: Source, places: Places, notes: FindingLog, found: list[tuple[str, Path | None, Path | None]]) -> None:
    """The images in ``folder`` and the real folders below it, and the labels that belong to none."""
    for one in sorted(Path(here) for here, _, _ in os.walk(folder)):
        used = set()
        for name in places.files(one, SUFFIXES):
            image = places.find(one, name)
            label = _label(places, one / name, notes)
            shown = (one / name).relative_to(source.root).as_posix() if (one / name).is_relative_to(source.root) else name
            if isinstance(image, str):
                notes.add("path-outside" if image == OUTSIDE else "missing-image", quoted(shown))
            used.add(label)
            found.append((shown, image if isinstance(image, Path) else None, label))
        beside = _label_folder(one)
        for name in places.files(beside, (".txt",)) if beside != one else []:
            file = places.find(beside, name)
            if isinstance(file, Path) and file not in used:
                notes.add("stray-label", str(file))


def _label_folder(folder: Path) -> Path:
    """``.../images/train`` to ``.../labels/train``: the last folder called images; without one, the same folder."""
    parts = list(folder.parts)
    for at in range(len(parts) - 1, -1, -1):
        if parts[at] == "images":
            return Path(*parts[:at], "labels", *parts[at + 1 :])
    return folder


def _label(places: Places, image: Path, notes: FindingLog) -> Path | None:
    """The label file of an image, or None; one that leaves the folder is noted."""
    folder = _label_folder(image.parent)
    file = places.find(folder, image.stem + ".txt")
    if file == OUTSIDE and places.inside(folder):
        notes.add("path-outside", quoted(str(folder / (image.stem + ".txt"))))
    return file if isinstance(file, Path) else None


class _Lines:
    """Objects of label files, in columns; boxes are x1, y1, x2, y2 and areas, all in shares of the picture."""

    def __init__(self, pose: bool) -> None:
        self.pose = pose
        self.classes: list[int] = []
        self.boxes: list[float] = []
        self.areas: list[float] = []

    def read(self, file: Path, notes: FindingLog) -> int:
        """Objects of one file; lines that are none are noted and passed over."""
        try:
            text = read_text(file)
        except BadInput as error:
            notes.add("malformed-label", str(error))
            return 0
        before = len(self.classes)
        for n, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if words:
                try:
                    self._line(words)
                except ValueError as error:
                    notes.add("malformed-label", f"{file}:{n}: {error}")
        return len(self.classes) - before

    def _line(self, words: list[str]) -> None:
        try:
            number, *values = map(float, words)
        except ValueError:
            raise ValueError(f"{quoted(' '.join(words))} is not a row of numbers") from None
        if not math.isfinite(number) or number != int(number) or abs(number) >= 2**53:
            raise ValueError(f"the class {words[0][:40]} is not a whole number")
        if len(values) == 4 or (self.pose and len(values) > 4):
            cx, cy, w, h = values[:4]
            box, area = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), math.nan
        elif len(values) >= 6 and len(values) % 2 == 0:
            xs, ys = values[0::2], values[1::2]
            box = (min(xs), min(ys), max(xs), max(ys))
            area = abs(sum(x * ys[i - 1] - xs[i - 1] * y for i, (x, y) in enumerate(zip(xs, ys, strict=True)))) / 2
        else:
            hint = "; is it a prediction with its score?" if len(values) == 5 else ""
            raise ValueError(f"{len(words)} numbers: must be class cx cy width height, or class and three or more points{hint}")
        self.classes.append(int(number))
        self.boxes.extend(box)
        self.areas.append(area if area > 0 else math.nan)
