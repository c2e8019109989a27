"""The one door to data: ``open_data(path, split)`` reads COCO, YOLO and VOC, and refuses what would hurt.

Errors that stand in the annotations are refused, with the doctor named as the way out. By rule, not by refusal, go
boxes that reach out of their picture (clipped), boxes without area in it (dropped), crowds (ignored) and pictures
without objects (background). Boxes are pixels of the image as ``zoo.images.read_image`` gives it, turned by EXIF.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

from distill.data.check.faults import AnnotationFaults, find_faults, findings
from distill.data.classes import ClassMap, check_same
from distill.data.dataset import DataSet, Picture
from distill.data.formats import coco, voc, yolo
from distill.data.formats.raw import RawAnnotations, Source
from workbench.errors import BadInput

FORMS: dict[str, ModuleType] = {"coco": coco, "yolo": yolo, "voc": voc}
"""Every form of data: a module with ``find(path)`` and ``read(source, say)``. Asked in this order."""

LAYOUTS = (
    "a COCO JSON file; annotations/train.json and val.json with images/train and images/val; annotations/instances_train2017.json with train2017; "
    "train/_annotations.coco.json (Roboflow); data.yaml (YOLO); Annotations and JPEGImages (VOC)"
)

Say = Callable[[str], None]


def silent(text: str) -> None:
    """Tells nobody."""


def find_sources(path: str | Path) -> list[Source]:
    """The splits of the data set at ``path``, in the order train, val, test."""
    path = Path(path)
    try:
        if not path.exists():
            raise BadInput(f"{path}: no such file or folder")
        if not path.is_dir() and not path.is_file():
            raise BadInput(f"{path}: neither a folder nor a regular file")
        for form in FORMS.values():
            sources: list[Source] = form.find(path)
            if sources:
                return sources
    except (OSError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{str(path)!r}: {error}") from error
    raise BadInput(f"{path}: no data set that can be read; known are {LAYOUTS}")


def read_claims(source: Source, log: Say = silent) -> RawAnnotations:
    """What the files of one split claim, faults and all."""
    claims: RawAnnotations = FORMS[source.form].read(source, log)
    return claims


def open_data(path: str | Path, split: str = "train", log: Say = silent) -> DataSet:
    """One split of the data at ``path``; ``log`` hears how reading goes.

    A JSON file whose name tells of no split serves as any.
    """
    sources = {source.name: source for source in find_sources(path)}
    source = sources.get(split) or (sources.get("") if len(sources) == 1 else None)
    if source is None:
        raise _no_split(path, split, list(sources))
    return accept(read_claims(source, log), path)


def open_pair(path: str | Path, log: Say = silent) -> tuple[DataSet, DataSet]:
    """The splits train and val of one data set, which must be two and agree on their classes."""
    sources = {source.name: source for source in find_sources(path)}
    for split in ("train", "val"):
        if split not in sources:
            raise _no_split(path, split, list(sources))
    train, val = (accept(read_claims(sources[split], log), path) for split in ("train", "val"))
    check_same(train.classes, val.classes, "train", "val")
    return train, val


def _no_split(path: str | Path, split: str, known: list[str]) -> BadInput:
    have = " and ".join(repr(name) for name in known if name) or "one that no name tells the split of"
    return BadInput(
        f"{path}: no split {split!r}, only {have}; give a folder with both train and val, such as annotations/train.json and annotations/val.json "
        "beside images/train and images/val (docs/data.md)"
    )


def accept(claims: RawAnnotations, path: str | Path) -> DataSet:
    """The data set that ``claims``, found at ``path``, make; ``BadInput`` names the first error and how many more there are."""
    verdict = find_faults(claims)
    errors = [one for one in findings(claims, verdict) if one.rule.severity == "error"]
    if errors:
        first, more = errors[0], len(errors) - 1
        raise BadInput(
            f"{claims.source.file}: {first.code}, {first.count} time{'s' * (first.count != 1)}: {first.rule.what}; for example {first.examples[0]}"
            + (f"; and {more} more kind{'s' * (more > 1)} of error" if more else "")
            + f"; nas data doctor {path} tells all, and --fix OUT writes a repaired copy"
        )
    classes = ClassMap.of((one.id, one.name) for one in claims.categories)
    return DataSet(claims.source.root, claims.source.name, classes, _pictures(claims, verdict, classes), {
        "outside": int((verdict.outside & ~verdict.degenerate).sum()), "degenerate": int(verdict.degenerate.sum()),
    })  # fmt: skip


def _pictures(claims: RawAnnotations, verdict: AnnotationFaults, classes: ClassMap) -> tuple[Picture, ...]:
    """Every picture with its boxes: views into columns sorted by picture, within one in the order of the file."""
    keep = np.flatnonzero(verdict.usable)
    keep = keep[np.argsort(claims.image[keep], kind="stable")]
    boxes = np.ascontiguousarray(verdict.clipped[keep])
    labels = classes.numbers(claims.category[keep])
    crowd = claims.crowd[keep]
    whole = (boxes[:, 2:] - boxes[:, :2]).prod(1, dtype=np.float64)
    # fmin passes over NaN: where no area is stated, the box's own
    areas = np.fmin(claims.areas[keep], whole).astype(np.float32)
    ends = np.searchsorted(claims.image[keep], np.arange(len(claims) + 1))
    pictures = []
    for at, (start, end) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)):
        file = claims.files[at]
        assert file is not None  # a missing one is an error, which accept refuses
        part = slice(start, end)
        width, height = claims.sizes[at].tolist()
        pictures.append(Picture(int(claims.ids[at]), file, width, height, boxes[part], labels[part], crowd[part], areas[part]))
    return tuple(pictures)
