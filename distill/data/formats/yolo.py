"""YOLO's text labels: ``data.yaml`` with names and splits, and for every image a file with one line an object.

A line is ``class cx cy width height`` in shares of the image, or ``class x1 y1 x2 y2 x3 y3 ...``, a polygon whose box
is taken. No file or an empty one means an image without objects.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from distill.data.formats.findings import FindingLog, quoted
from distill.data.formats.image_headers import fill_sizes
from distill.data.formats.paths import MISSING, OUTSIDE, DataFiles, read_description
from distill.data.formats.raw import Category, RawAnnotations, Source, columns
from distill.data.formats.yolo_labels import LabelColumns
from workbench.doors.bytes import read_text
from workbench.errors import BadInput
from zoo.images import SUFFIXES

MAX_CLASSES = 100_000
LOG_EVERY = 2000
"""Label files between two lines of progress."""

ListedImage = tuple[str, Path | None, Path | None]
"""Name, image file and label file of an image; None where there is none."""


def find(path: Path) -> list[Source]:
    """The splits of a YOLO data set at ``path``: its ``data.yaml``, or the folder with it."""
    if path.is_file():
        return _sources(path) if path.suffix.lower() in (".yaml", ".yml") else []
    files = [path / name for name in ("data.yaml", "dataset.yaml", "data.yml") if (path / name).is_file()]
    if files:
        return _sources(files[0])
    if (path / "labels").is_dir() and (path / "images").is_dir():
        raise BadInput(
            f"{path}: has images and labels but no data.yaml; write one there: "
            "'train: images/train', 'val: images/val' and 'names: [first class, second class]'"
        )
    return []


def _sources(file: Path) -> list[Source]:
    data = read_description(file)
    names = _names(data, file)
    splits = {}
    for split in ("train", "val", "test"):
        value = data.get(split, data.get("valid") if split == "val" else None)
        if value not in (None, "", []):
            splits[split] = [_path(part, split, file) for part in (value if isinstance(value, list) else [value])]
    if not splits:
        raise BadInput(
            f"{file}: names no split; it needs 'train: images/train' and 'val: images/val', relative to its own folder"
        )
    root = _root(data.get("path"), [part for parts in splits.values() for part in parts], file)
    settings = {"names": names, "pose": "kpt_shape" in data}
    sources = []
    for split, parts in splits.items():
        listed = tuple(_followed(root, part) for part in parts)
        if split == "test" and not any(path.exists() for path in listed):
            continue  # exported descriptions name a test split that was left out
        named = tuple(Path(os.path.realpath(place)) for path in listed for place in _folders_of(path))
        for place in named:
            if Path.home().is_relative_to(place):
                raise BadInput(f"{file}: {split} is {str(place)!r}, which holds far more than pictures: name theirs")
        sources.append(Source("yolo", split, root, file, listed, settings, named))
    if not sources:
        raise BadInput(f"{file}: {splits['test'][0]!r}, its only split, is not there")
    return sources


def _root(value: Any, parts: list[str], file: Path) -> Path:
    """The folder that the paths of the splits are relative to: ``path``, itself relative to the file's own folder.

    Where ``path`` is not there, as in a description that was moved, and the splits are beside the file, its own folder.
    """
    own = file.parent.resolve()
    if value in (None, ""):
        return own
    root = own / _path(value, "path", file)
    if root.is_dir():
        return root.resolve()
    if any(Path(part).parts and _followed(own, part).exists() for part in parts):
        return own
    raise BadInput(f"{file}: path {quoted(value)} is {str(root)!r}, and there is none: correct it or leave it out")


def _followed(root: Path, part: str) -> Path:
    """The folder or list of a split. Roboflow writes ../train/images and means train/images."""
    if Path(part).parts[:1] == ("..",):
        near = root.joinpath(*[step for step in Path(part).parts if step != ".."])
        if near.exists():
            return near
    return root / part


def _folders_of(listed: Path) -> tuple[Path, ...]:
    """The folders of a split's images and of its labels, or the one with its list; none if there is neither."""
    if listed.is_dir():
        return listed, _label_folder(listed)
    return (listed.parent,) if listed.is_file() else ()


def _path(value: Any, key: str, file: Path) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise BadInput(f"{file}: {key} is {quoted(value)}; it must be a path, such as images/train")
    return value.replace("\\", "/")


def _names(data: dict[str, Any], file: Path) -> list[str]:
    """Class names in the order of their numbers."""
    names, nc = data.get("names"), data.get("nc")
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            keys = quoted(sorted(map(str, names)))
            raise BadInput(f"{file}: names has the keys {keys}; they must be 0, 1, 2 ... without a gap")
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names or len(names) > MAX_CLASSES:
        raise BadInput(f"{file}: needs 'names', the list of classes in the order of their numbers")
    for name in names:
        if not isinstance(name, (str, int, float)) or isinstance(name, bool):
            raise BadInput(f"{file}: the class name {quoted(name)} must be text; put it in quotes")
    if nc is not None and nc != len(names):
        raise BadInput(f"{file}: nc is {quoted(nc)} but there are {len(names)} names; both must agree")
    return [str(name) for name in names]


def read(source: Source, log: Callable[[str], None] = lambda text: None) -> RawAnnotations:
    """What the label files of a split say."""
    notes = FindingLog(source.name)
    listed = _without_repeats(_listed_images(source, notes), notes)
    files = [image for _, image, _ in listed]
    sizes = fill_sizes(np.zeros((len(files), 2), dtype=np.int64), files, notes, log)
    labels, images = LabelColumns(source.settings["pose"]), []
    for index, (_, _, label) in enumerate(listed):
        if index % LOG_EVERY == 0:
            log(f"reading labels: {index:,} of {len(listed):,}")
        if label is not None:
            images.extend([index] * labels.read(label, notes))
    boxes = np.asarray(labels.boxes, dtype=np.float64).reshape(-1, 4)
    image = np.asarray(images, dtype=np.int64)
    size = sizes[image].astype(np.float64).reshape(-1, 2)
    with np.errstate(over="ignore", invalid="ignore"):
        boxes *= np.concatenate([size, size], 1)
        area = np.asarray(labels.areas, dtype=np.float64) * size.prod(1)
    categories = tuple(Category(i, name) for i, name in enumerate(source.settings["names"]))
    crowd, ids = np.zeros(len(boxes), dtype=bool), np.full(len(boxes), -1)
    return RawAnnotations(
        source, categories, np.arange(len(files), dtype=np.int64), tuple(files), tuple(name for name, _, _ in listed),
        sizes, **columns(boxes, image, labels.classes, crowd, area, ids), findings=notes.findings(),
    )  # fmt: skip


def _without_repeats(listed: list[ListedImage], notes: FindingLog) -> list[ListedImage]:
    """The first entry of every image file; the others are noted."""
    seen: set[Path] = set()
    first = []
    for name, image, label in listed:
        if image is not None and image in seen:
            notes.add("duplicate-file", quoted(name))
            continue
        if image is not None:
            seen.add(image)
        first.append((name, image, label))
    return first


def _listed_images(source: Source, notes: FindingLog) -> list[ListedImage]:
    """The images of a split in order."""
    data_files = source.data_files()
    images: list[ListedImage] = []
    for listed in source.images:
        if listed.is_dir():
            images += _images_in_folder(listed, source, data_files, notes)
        elif listed.is_file() and listed.suffix == ".txt":
            images += _images_in_list(listed, source, data_files, notes)
        else:
            raise BadInput(
                f"{source.file}: {source.name} is {str(listed)!r}, "
                "which is neither a folder of images nor a .txt list of them"
            )
    return images


def _images_in_list(file: Path, source: Source, data_files: DataFiles, notes: FindingLog) -> list[ListedImage]:
    """The images in a text file, one a line, relative to it or to the root."""
    images: list[ListedImage] = []
    for line in read_text(file).splitlines():
        name = line.strip()
        if not name:
            continue
        base = file.parent if name.startswith("./") else source.root
        image = data_files.find(base, name)
        if image == MISSING and base != file.parent:
            base = file.parent
            image = data_files.find(base, name)
        if isinstance(image, str):
            notes.add("path-outside" if image == OUTSIDE else "missing-image", quoted(name))
        label = _label_file(data_files, base / name.replace("\\", "/"), notes)
        images.append((name, image if isinstance(image, Path) else None, label))
    return images


def _images_in_folder(root: Path, source: Source, data_files: DataFiles, notes: FindingLog) -> list[ListedImage]:
    """The images in ``root`` and the real folders below it; labels without an image are noted."""
    images: list[ListedImage] = []
    for folder in sorted(Path(path) for path, _, _ in os.walk(root)):
        used = set()
        for name in data_files.files(folder, SUFFIXES):
            path = folder / name
            image = data_files.find(folder, name)
            label = _label_file(data_files, path, notes)
            shown = path.relative_to(source.root).as_posix() if path.is_relative_to(source.root) else name
            if isinstance(image, str):
                notes.add("path-outside" if image == OUTSIDE else "missing-image", quoted(shown))
            used.add(label)
            images.append((shown, image if isinstance(image, Path) else None, label))
        label_folder = _label_folder(folder)
        for name in data_files.files(label_folder, (".txt",)) if label_folder != folder else []:
            file = data_files.find(label_folder, name)
            if isinstance(file, Path) and file not in used:
                notes.add("stray-label", str(file))
    return images


def _label_folder(folder: Path) -> Path:
    """``.../images/train`` to ``.../labels/train``: the last folder called images; without one, the same folder."""
    parts = list(folder.parts)
    for index in range(len(parts) - 1, -1, -1):
        if parts[index] == "images":
            return Path(*parts[:index], "labels", *parts[index + 1 :])
    return folder


def _label_file(data_files: DataFiles, image: Path, notes: FindingLog) -> Path | None:
    """The label file of an image, or None; one that leaves the folder is noted."""
    folder = _label_folder(image.parent)
    file = data_files.find(folder, image.stem + ".txt")
    if file == OUTSIDE and data_files.is_inside(folder):
        notes.add("path-outside", quoted(str(folder / (image.stem + ".txt"))))
    return file if isinstance(file, Path) else None
