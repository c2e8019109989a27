"""The folder layouts in which COCO data are kept."""

from __future__ import annotations

import re
from pathlib import Path

from distill.data.formats.raw import Source
from workbench.errors import BadInput

SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
"""Names of the splits in file and folder names."""
NOT_DETECTION = ("captions", "person_keypoints", "stuff", "panoptic", "image_info")
"""Beginnings of the names of COCO's other annotation files."""
SINGLE = ("_annotations.coco.json", "annotations.json", "instances.json", "labels.json")
"""A single annotation file beside its images."""


def split_of(name: str) -> str:
    """The split that a file's or folder's name says, or nothing: ``instances_val2017`` is ``val``."""
    words = re.findall(r"[a-z]+", name.lower())
    splits = {split for split, names in SPLITS.items() for word in words if word in names}
    return splits.pop() if len(splits) == 1 else ""


def find_sources(path: Path) -> list[Source]:
    """The splits in COCO format at ``path``: a JSON file, or a folder in one of the known layouts."""
    if path.is_file():
        return [_source(path)] if path.suffix.lower() == ".json" else []
    files = _files_by_split(path)
    if not files:
        annotations = sorted((path / "annotations").glob("*.json"))
        single = annotations or [path / name for name in SINGLE if (path / name).is_file()]
        return [_source(single[0], path)] if len(single) == 1 else []
    for split, several in files.items():
        if len(several) > 1:
            names = ", ".join(str(file.relative_to(path)) for file in several)
            raise BadInput(
                f"{path}: {names} all look like the split {split!r}: "
                "give one file instead of the folder, or move the others away"
            )
    return [_source(files[split][0], path) for split in SPLITS if split in files]


def _files_by_split(path: Path) -> dict[str, list[Path]]:
    """The annotation files whose names say a split."""
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
    return files


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
