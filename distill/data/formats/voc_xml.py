"""The XML files of Pascal VOC. XML with a document type is refused: entities are how XML attacks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from distill.data.formats.findings import quoted
from distill.data.formats.paths import OUTSIDE, DataFiles

MAX_XML_BYTES = 16 * 2**20
MAX_DEPTH = 32
MAX_SIDE_PX = 10**6
CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(slots=True)
class VocObject:
    """One object of a file; the box is as stated."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool


@dataclass(slots=True)
class VocFile:
    """What one XML file says."""

    image: str = ""
    """The file name it states."""
    size: tuple[int, int] = (0, 0)
    """Width and height; 0 where none is stated."""
    objects: list[VocObject] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def read_voc_file(data_files: DataFiles, folder: Path, name: str) -> VocFile:
    """The contents of one XML file; ``ValueError`` says what is wrong with it."""
    root = _read_tree(data_files, folder, name)
    image = (root.findtext("filename") or "").strip()
    width, height = (_number(root.findtext(f"size/{side}")) for side in ("width", "height"))
    known = all(1 <= side <= MAX_SIDE_PX and side == int(side) for side in (width, height))
    contents = VocFile(image, (int(width), int(height)) if known else (0, 0))
    for number, element in enumerate(root.findall("object"), 1):
        class_name = (element.findtext("name") or "").strip()
        x1, y1, x2, y2 = (_number(element.findtext(f"bndbox/{corner}")) for corner in CORNERS)
        if not class_name or any(math.isnan(value) for value in (x1, y1, x2, y2)):
            contents.faults.append(f"object {number} ({quoted(class_name)}) needs a name and a bndbox of four numbers")
            continue
        difficult = (element.findtext("difficult") or "").strip() == "1"
        contents.objects.append(VocObject(class_name, (x1, y1, x2, y2), difficult))
    return contents


def _number(text: str | None) -> float:
    """A number, or NaN."""
    try:
        return float(text) if text is not None else math.nan
    except ValueError:
        return math.nan


def _read_tree(data_files: DataFiles, folder: Path, name: str) -> ElementTree.Element:
    file = data_files.find(folder, name)
    if isinstance(file, str):
        fault = "leaves the folder of the data" if file == OUTSIDE else "is no regular file"
        raise ValueError(f"{folder / name}: {fault}")
    try:
        if file.stat().st_size > MAX_XML_BYTES:
            raise ValueError(f"{file}: more than {MAX_XML_BYTES:,} bytes are not read")
        return parse_xml(file.read_bytes())
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror or error}") from error
    except ValueError as error:
        raise error if str(error).startswith(str(file)) else ValueError(f"{file}: {error}") from error


def parse_xml(data: bytes) -> ElementTree.Element:
    """The tree of plain XML. A document type, and with it any entity, raises ``ValueError`` before it is read."""
    builder, parser, depth = ElementTree.TreeBuilder(), expat.ParserCreate(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} elements")
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
