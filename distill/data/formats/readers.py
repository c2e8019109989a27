"""Opening data: ``open_data(path, split)`` reads every format in ``FORMATS`` and refuses errors in annotations.

Handled by rule, not refused: boxes that reach out of their image (clipped), boxes without area in it (dropped), crowds
(ignored) and images without objects (background). Boxes are pixels of the image as ``zoo.images.read_image`` gives it,
turned by EXIF.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from distill.data.check.faults import AnnotationFaults, find_faults, findings
from distill.data.classes import ClassMap, check_same
from distill.data.dataset import DataSet, Picture
from distill.data.formats import coco, voc, yolo
from distill.data.formats.raw import RawAnnotations, Source
from workbench.errors import BadInput

LogFunction = Callable[[str], None]


class DataFormat(Protocol):
    """A data format: a module with these two functions, or an object."""

    def find(self, path: Path, /) -> list[Source]:
        """The splits of this format at ``path``; none if it is of another format."""

    def read(self, source: Source, log: LogFunction, /) -> RawAnnotations:
        """What the files of a split say, faults included."""


FORMATS: dict[str, DataFormat] = {"coco": coco, "yolo": yolo, "voc": voc}
"""Every format by name, in the order in which they are tried. A new one is one file and one line here."""

LAYOUTS = (
    "a COCO JSON file; annotations/train.json and val.json with images/train and images/val; "
    "annotations/instances_train2017.json with train2017; train/_annotations.coco.json (Roboflow); "
    "data.yaml (YOLO); Annotations and JPEGImages (VOC)"
)


def silent(text: str) -> None:
    """Log nothing."""


def find_sources(path: str | Path) -> list[Source]:
    """The splits of the data set at ``path``, in the order train, val, test."""
    path = Path(path)
    try:
        if not path.exists():
            raise BadInput(f"{path}: no such file or folder")
        if not path.is_dir() and not path.is_file():
            raise BadInput(f"{path}: neither a folder nor a regular file")
        for data_format in FORMATS.values():
            sources = data_format.find(path)
            if sources:
                return sources
    except (OSError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{str(path)!r}: {error}") from error
    raise BadInput(f"{path}: no data set that can be read; known are {LAYOUTS}")


def read_raw(source: Source, log: LogFunction = silent) -> RawAnnotations:
    """What the files of a split say, faults included."""
    return FORMATS[source.form].read(source, log)


def open_data(path: str | Path, split: str = "train", log: LogFunction = silent) -> DataSet:
    """One split of the data at ``path``; ``log`` takes lines of progress.

    A JSON file whose name does not say a split serves as any.
    """
    sources = {source.name: source for source in find_sources(path)}
    source = sources.get(split) or (sources.get("") if len(sources) == 1 else None)
    if source is None:
        raise _no_split(path, split, list(sources))
    return accept(read_raw(source, log), path)


def open_pair(path: str | Path, log: LogFunction = silent) -> tuple[DataSet, DataSet]:
    """The splits train and val of a data set; their classes must agree."""
    sources = {source.name: source for source in find_sources(path)}
    for split in ("train", "val"):
        if split not in sources:
            raise _no_split(path, split, list(sources))
    train, val = (accept(read_raw(sources[split], log), path) for split in ("train", "val"))
    check_same(train.classes, val.classes, "train", "val")
    return train, val


def open_splits(path: str | Path, log: LogFunction = silent) -> dict[str, DataSet]:
    """All splits of the data at ``path`` by name; ``all`` where no name says which."""
    return {source.name or "all": accept(read_raw(source, log), path) for source in find_sources(path)}


def _no_split(path: str | Path, split: str, known: list[str]) -> BadInput:
    there = " and ".join(repr(name) for name in known if name) or "one whose name does not say a split"
    return BadInput(
        f"{path}: no split {split!r}, only {there}; give a folder with both train and val, such as "
        "annotations/train.json and annotations/val.json beside images/train and images/val (docs/data.md)"
    )


def accept(raw: RawAnnotations, path: str | Path) -> DataSet:
    """The data set of ``raw``, read from ``path``; an error names the first fault and the number of other kinds."""
    faults = find_faults(raw)
    errors = [finding for finding in findings(raw, faults) if finding.rule.severity == "error"]
    if errors:
        first, more = errors[0], len(errors) - 1
        raise BadInput(
            f"{raw.source.file}: {first.code}, {first.count} time{'s' * (first.count != 1)}: {first.rule.what}; "
            f"for example {first.examples[0]}"
            + (f"; and {more} more kind{'s' * (more > 1)} of error" if more else "")
            + f"; nas data doctor {path} lists all, and --fix OUT writes a repaired copy"
        )
    classes = ClassMap.of((category.id, category.name) for category in raw.categories)
    outside, degenerate = (faults.outside & ~faults.degenerate).sum(), faults.degenerate.sum()
    handled = {"outside": int(outside), "degenerate": int(degenerate)}
    return DataSet(raw.source.root, raw.source.name, classes, _pictures(raw, faults, classes), handled)


def _pictures(raw: RawAnnotations, faults: AnnotationFaults, classes: ClassMap) -> tuple[Picture, ...]:
    """Every picture with its boxes: views into columns sorted by picture, within one in the order of the file."""
    rows = np.flatnonzero(faults.usable)
    rows = rows[np.argsort(raw.image[rows], kind="stable")]
    boxes = np.ascontiguousarray(faults.clipped[rows])
    labels = classes.numbers(raw.category[rows])
    crowd = raw.crowd[rows]
    box_areas = (boxes[:, 2:] - boxes[:, :2]).prod(1, dtype=np.float64)
    # fmin ignores NaN: where no area is stated, the box's own
    areas = np.fmin(raw.areas[rows], box_areas).astype(np.float32)
    ends = np.searchsorted(raw.image[rows], np.arange(len(raw) + 1))
    pictures = []
    for index, (start, end) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)):
        file = raw.files[index]
        assert file is not None  # a missing one is an error, which accept refuses
        part = slice(start, end)
        width, height = raw.sizes[index].tolist()
        image_id = int(raw.ids[index])
        pictures.append(Picture(image_id, file, width, height, boxes[part], labels[part], crowd[part], areas[part]))
    return tuple(pictures)
