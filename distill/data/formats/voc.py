"""Pascal VOC: one XML file an image, lists of splits in ``ImageSets/Main``.

VOC counts pixels from 1 and includes the last one, so a box ``xmin ymin xmax ymax`` covers ``xmin-1 .. xmax``. Some
tools count from 0: if any box of a data set has a zero, all of them are read so. Objects marked ``difficult`` are
ignored, as crowds are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from distill.data.formats.findings import FindingLog, quoted
from distill.data.formats.image_headers import fill_sizes
from distill.data.formats.paths import MISSING, OUTSIDE, DataFiles
from distill.data.formats.raw import Category, RawAnnotations, Source, columns
from distill.data.formats.voc_xml import VocFile, read_voc_file
from workbench.doors.bytes import read_text
from workbench.errors import BadInput
from zoo.images import SUFFIXES

SPLIT_FILES = {"train": ("train", "trainval"), "val": ("val",), "test": ("test",)}
"""The list of each split; trainval is used where there is no train."""
LOG_EVERY = 1000
"""Files between two lines of progress."""


def find(path: Path) -> list[Source]:
    """The splits of a VOC data set at ``path``: the standard folders, or XML beside the images."""
    if not path.is_dir():
        return []
    root = path.resolve()
    if (path / "Annotations").is_dir():
        images, settings = (path / "JPEGImages",), {"xml": path / "Annotations"}
        lists = path / "ImageSets" / "Main"
        sources = []
        for split, names in SPLIT_FILES.items():
            file = next((lists / f"{name}.txt" for name in names if (lists / f"{name}.txt").is_file()), None)
            if file is not None:
                sources.append(Source("voc", split, root, file, images, settings))
        return sources or [Source("voc", "", root, path / "Annotations", images, settings)]
    val = next((path / name for name in ("val", "valid") if (path / name).is_dir()), path / "val")
    folders = {
        split: folder
        for split, folder in {"train": path / "train", "val": val, "test": path / "test"}.items()
        if folder.is_dir() and next(folder.glob("*.xml"), None)
    }
    return [
        Source("voc", split, root, folder, (folder,), {"xml": folder, "all": tuple(folders.values())})
        for split, folder in folders.items()
    ]


def read(source: Source, log: Callable[[str], None] = lambda text: None) -> RawAnnotations:
    """What the XML files of a split say; the classes are those of the whole data set, sorted by name."""
    notes, data_files = FindingLog(source.name), source.data_files()
    folder: Path = source.settings["xml"]
    stems = _stems(source, data_files)
    # every file is read, since no split has all the classes
    contents = _read_folder(folder, set(stems), data_files, notes, log)
    everywhere = [*contents.values(), *_other_splits(source, data_files)]
    names = sorted({thing.name for file in everywhere for thing in file.objects})
    if not names:
        raise BadInput(f"{folder}: no object in any XML file, so there is no class; is it the right folder?")
    from_zero = any(min(thing.box[:2]) < 1 for file in everywhere for thing in file.objects)
    numbers = {name: number for number, name in enumerate(names, 1)}
    listed = [_listed(contents, stem, folder, notes) for stem in stems]
    files = []
    for stem, content in zip(stems, listed, strict=True):
        image_file = _image_file(data_files, source.images[0], stem, content.image)
        if isinstance(image_file, str):
            code = "path-outside" if image_file == OUTSIDE else "missing-image"
            notes.add(code, quoted(content.image or stem))
        files.append(image_file if isinstance(image_file, Path) else None)
    objects = [(index, thing) for index, content in enumerate(listed) for thing in content.objects]
    boxes = np.asarray([thing.box for _, thing in objects], dtype=np.float64).reshape(-1, 4)
    if from_zero:
        notes.add("from-zero", str(folder))
    else:
        boxes[:, :2] -= 1
    stated = np.asarray([content.size for content in listed], dtype=np.int64).reshape(-1, 2)
    sizes = fill_sizes(stated, files, notes, log)
    category = [numbers[thing.name] for _, thing in objects]
    areas, ids = np.full(len(boxes), math.nan), np.full(len(boxes), -1)
    return RawAnnotations(
        source, tuple(Category(number, name) for name, number in numbers.items()),
        np.arange(len(stems), dtype=np.int64), tuple(files), tuple(stems), sizes,
        **columns(boxes, [i for i, _ in objects], category, [thing.difficult for _, thing in objects], areas, ids),
        findings=notes.findings(),
    )  # fmt: skip


def _read_folder(
    folder: Path, noted: set[str], data_files: DataFiles, notes: FindingLog, log: Callable[[str], None]
) -> dict[str, VocFile]:
    """The XML files of ``folder`` by stem. One that cannot be read is empty, and noted if it is in ``noted``."""
    stems = sorted({name[: -len(".xml")] for name in data_files.files(folder, (".xml",))})
    contents: dict[str, VocFile] = {}
    for count, stem in enumerate(stems):
        if count % LOG_EVERY == 0:
            log(f"reading XML: {count:,} of {len(stems):,}")
        try:
            contents[stem] = read_voc_file(data_files, folder, stem + ".xml")
        except ValueError as error:
            if stem in noted:
                notes.add("malformed-label", str(error))
            contents[stem] = VocFile()
    return contents


def _other_splits(source: Source, data_files: DataFiles) -> list[VocFile]:
    """The XML files of the other splits, where each has a folder; faults are noted where their own split is read."""
    contents = []
    for folder in source.settings.get("all", ()):
        if folder == source.settings["xml"]:
            continue
        for name in data_files.files(folder, (".xml",)):
            try:
                contents.append(read_voc_file(data_files, folder, name))
            except ValueError:
                continue
    return contents


def _listed(contents: dict[str, VocFile], stem: str, folder: Path, notes: FindingLog) -> VocFile:
    """The file of an image in the split's list; an empty one where there is none. Faults are noted."""
    if stem not in contents:
        notes.add("malformed-label", f"{quoted(stem)} is in the list, but there is no {folder.name}/{stem[:80]}.xml")
        return VocFile()
    for fault in contents[stem].faults:
        notes.add("malformed-label", f"{folder / (stem + '.xml')}: {fault}")
    return contents[stem]


def _stems(source: Source, data_files: DataFiles) -> list[str]:
    """Names without suffix of the split's images, in order, each once."""
    if source.file.is_dir():
        return [name[: -len(".xml")] for name in data_files.files(source.file, (".xml",))]
    if not data_files.is_inside(source.file):
        raise BadInput(f"{source.file}: a link that leaves the folder {source.root}; put the list itself there")
    return list(dict.fromkeys(line.split()[0] for line in read_text(source.file).splitlines() if line.strip()))


def _image_file(data_files: DataFiles, folder: Path, stem: str, stated: str) -> Path | str:
    """The image of an XML file: by the same name, else by the file name it states."""
    suffixes = [suffix for end in (".jpg", ".jpeg", ".png", *SUFFIXES) for suffix in (end, end.upper())]
    missing = MISSING
    for name in [stem + suffix for suffix in suffixes] + ([stated] if stated else []):
        file = data_files.find(folder, name)
        if isinstance(file, Path):
            return file
        missing = file if file == OUTSIDE else missing
    return missing
