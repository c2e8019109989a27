"""Pascal VOC: one XML file an image, lists of splits in ``ImageSets/Main``.

VOC counts pixels from 1 and includes the last one, so a box ``xmin ymin xmax ymax`` covers ``xmin-1 .. xmax``. Tools that
write VOC without knowing this begin at 0; one zero in a data set gives them away, and then nothing is taken off.
Objects marked ``difficult`` are ignored, as crowds are. XML with a document type is refused: entities are how XML attacks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from distill.data.formats.coco import fill_sizes
from distill.data.formats.paths import MISSING, OUTSIDE, Places, read_text
from distill.data.formats.raw import Category, FindingLog, RawAnnotations, Source, columns, quoted
from workbench.errors import BadInput
from zoo.images import SUFFIXES

MOST_XML_BYTES = 16 * 2**20
MOST_DEPTH = 32
SPLIT_FILES = {"train": ("train", "trainval"), "val": ("val",), "test": ("test",)}
"""The list of each split; trainval serves where there is no train."""


def find(path: Path) -> list[Source]:
    """The splits of a VOC data set at ``path``: the standard folders, or XML beside the images; none if it is no such set."""
    if not path.is_dir():
        return []
    root = path.resolve()
    if (path / "Annotations").is_dir():
        lists = path / "ImageSets" / "Main"
        sources = []
        for split, names in SPLIT_FILES.items():
            file = next((lists / f"{name}.txt" for name in names if (lists / f"{name}.txt").is_file()), None)
            if file is not None:
                sources.append(Source("voc", split, root, file, (path / "JPEGImages",), {"xml": path / "Annotations"}))
        if sources:
            return sources
        return [Source("voc", "", root, path / "Annotations", (path / "JPEGImages",), {"xml": path / "Annotations"})]
    folders = {"train": path / "train", "val": next((path / n for n in ("val", "valid") if (path / n).is_dir()), path / "val"), "test": path / "test"}
    with_xml = {split: folder for split, folder in folders.items() if folder.is_dir() and next(folder.glob("*.xml"), None)}
    return [Source("voc", split, root, folder, (folder,), {"xml": folder, "all": tuple(with_xml.values())}) for split, folder in with_xml.items()]


def read(source: Source, log: Callable[[str], None] = lambda text: None) -> RawAnnotations:
    """What the XML files of one split claim; the classes are those of the whole data set, by name."""
    notes, places = FindingLog(source.name), Places(source.root)
    folder: Path = source.settings["xml"]
    stems = _stems(source, places)
    known = {name[: -len(".xml")] for name in places.files(folder, (".xml",))}
    # every file is read, since no split knows all the classes
    sheets: dict[str, _Sheet] = {}
    for n, stem in enumerate(sorted(known)):
        if n % 1000 == 0:
            log(f"reading XML: {n:,} of {len(known):,}")
        try:
            sheets[stem] = _sheet(_xml(places, folder, stem + ".xml"))
        except ValueError as error:
            if stem in stems:
                notes.add("malformed-label", str(error))
            sheets[stem] = _Sheet()
    everywhere = list(sheets.values())
    for other in source.settings.get("all", ()):
        if other != folder:
            for name in places.files(other, (".xml",)):
                try:
                    everywhere.append(_sheet(_xml(places, other, name)))
                except ValueError:
                    continue  # noted where its own split is read
    names = sorted({one.name for sheet in everywhere for one in sheet.objects})
    if not names:
        raise BadInput(f"{folder}: no object in any XML file, so there is no class; is it the right folder?")
    from_zero = any(min(one.box[:2]) < 1 for sheet in everywhere for one in sheet.objects)
    numbers = {name: n for n, name in enumerate(names, 1)}
    files, sizes, boxes, image, category, crowd = [], [], [], [], [], []
    for at, stem in enumerate(stems):
        sheet = sheets.get(stem)
        if sheet is None:
            notes.add("malformed-label", f"{quoted(stem)} is in the list, but there is no {folder.name}/{shorten(stem)}.xml")
            sheet = _Sheet()
        for fault in sheet.faults:
            notes.add("malformed-label", f"{folder / (stem + '.xml')}: {fault}")
        file = _image(places, source.images[0], stem, sheet.file)
        if isinstance(file, str):
            notes.add("path-outside" if file == OUTSIDE else "missing-image", quoted(sheet.file or stem))
        files.append(file if isinstance(file, Path) else None)
        sizes.append(sheet.size)
        for one in sheet.objects:
            image.append(at)
            boxes.append(one.box)
            category.append(numbers[one.name])
            crowd.append(one.difficult)
    corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    if from_zero:
        notes.add("from-zero", str(folder))
    else:
        corners[:, :2] -= 1
    size = fill_sizes(np.asarray(sizes, dtype=np.int64).reshape(-1, 2), files, notes, log)
    return RawAnnotations(
        source, tuple(Category(number, name) for name, number in numbers.items()), np.arange(len(stems), dtype=np.int64), tuple(files), tuple(stems), size,
        **columns(corners, image, category, crowd, np.full(len(boxes), math.nan), np.full(len(boxes), -1)), findings=notes.findings(),
    )  # fmt: skip


def shorten(stem: str) -> str:
    """A stem for an error text."""
    return stem[:80]


def _stems(source: Source, places: Places) -> list[str]:
    """Names without suffix of the split's pictures, in order, each once."""
    if source.file.is_dir():
        return [name[: -len(".xml")] for name in places.files(source.file, (".xml",))]
    if not places.inside(source.file):
        raise BadInput(f"{source.file}: a link that leaves the folder {source.root}; put the list itself there")
    return list(dict.fromkeys(line.split()[0] for line in read_text(source.file).splitlines() if line.strip()))


def _image(places: Places, folder: Path, stem: str, stated: str) -> Path | str:
    """The image of a sheet: by the sheet's own name, else by the file name it states."""
    worst = MISSING
    for name in [stem + suffix for end in (".jpg", ".jpeg", ".png", *SUFFIXES) for suffix in (end, end.upper())] + ([stated] if stated else []):
        file = places.find(folder, name)
        if isinstance(file, Path):
            return file
        worst = file if file == OUTSIDE else worst
    return worst


class _Object:
    """One object of a sheet."""

    __slots__ = ("box", "difficult", "name")

    def __init__(self, name: str, box: tuple[float, float, float, float], difficult: bool) -> None:
        self.name, self.box, self.difficult = name, box, difficult


class _Sheet:
    """What one XML file says."""

    __slots__ = ("faults", "file", "objects", "size")

    def __init__(self) -> None:
        self.file = ""
        self.size = (0, 0)
        self.objects: list[_Object] = []
        self.faults: list[str] = []


def _sheet(root: ElementTree.Element) -> _Sheet:
    sheet = _Sheet()
    sheet.file = (root.findtext("filename") or "").strip()
    sides = [_number(root.findtext(f"size/{side}")) for side in ("width", "height")]
    if all(1 <= side <= 10**6 and side == int(side) for side in sides):
        sheet.size = (int(sides[0]), int(sides[1]))
    for n, one in enumerate(root.findall("object"), 1):
        name = (one.findtext("name") or "").strip()
        box = tuple(_number(one.findtext(f"bndbox/{corner}")) for corner in ("xmin", "ymin", "xmax", "ymax"))
        if not name or any(math.isnan(v) for v in box):
            sheet.faults.append(f"object {n} ({quoted(name)}) needs a name and a bndbox of four numbers")
            continue
        sheet.objects.append(_Object(name, (box[0], box[1], box[2], box[3]), (one.findtext("difficult") or "").strip() == "1"))
    return sheet


def _number(text: str | None) -> float:
    """A number, or NaN."""
    try:
        return float(text) if text is not None else math.nan
    except ValueError:
        return math.nan


def _xml(places: Places, folder: Path, name: str) -> ElementTree.Element:
    """The tree of one XML file; ``ValueError`` names what is wrong with it."""
    file = places.find(folder, name)
    if isinstance(file, str):
        raise ValueError(f"{folder / name}: {'leaves the folder of the data' if file == OUTSIDE else 'is no regular file'}")
    try:
        if file.stat().st_size > MOST_XML_BYTES:
            raise ValueError(f"{file}: more than {MOST_XML_BYTES:,} bytes are not read")
        return parse_xml(file.read_bytes())
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror or error}") from error
    except ValueError as error:
        raise error if str(error).startswith(str(file)) else ValueError(f"{file}: {error}") from error


def parse_xml(data: bytes) -> ElementTree.Element:
    """The tree of plain XML. A document type, and with it any entity, is refused with ``ValueError`` before it is read."""
    builder, parser, depth = ElementTree.TreeBuilder(), expat.ParserCreate(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MOST_DEPTH:
            raise ValueError(f"nested deeper than {MOST_DEPTH} elements")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise ValueError("has a document type (<!DOCTYPE ...>), which is not read: take that line out")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
        return builder.close()
    except expat.ExpatError as error:
        raise ValueError(f"not XML ({error})") from error
