"""What the files of a data set claim, before anybody believes it, and the list of what can be wrong with it.

Readers (``coco``, ``yolo``, ``voc``) make ``RawAnnotations``, ``judge`` looks for faults in them, and from there the ways part:
``readers.open_data`` refuses errors and makes a ``DataSet``, ``doctor`` tells, ``repair`` mends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""The worst first. Training refuses errors that stand in annotations; the other two it handles by rule."""

EXAMPLES = 5
"""So many examples of each finding are kept."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that can be wrong: how bad it is, what it does to training, how a person mends it, what ``--fix`` does."""

    severity: Severity
    what: str
    mend: str
    fix: str = ""
    """Empty where ``--fix`` leaves it alone."""


RULES: dict[str, Rule] = {
    # files and paths
    "path-outside": Rule("error", "the path of an image or a label leaves the folder of the data set, by .. or an absolute path or a symbolic link", "put the file itself into the folder and write its path relative to it", "left out"),
    "missing-image": Rule("error", "an image is listed, but there is no such regular file", "add the file or take the entry out; the letters' case counts", "left out with its objects"),
    "unlisted-image": Rule("note", "an image lies in the folder of a split, but no entry names it; it is not used", "annotate it, or take it out"),
    "stray-label": Rule("warning", "a label file has no image", "add the image or remove the label file", "left out"),
    "unreadable": Rule("error", "an image cannot be decoded: broken, cut short, or of no kind that Pillow reads", "replace the file", "left out with its objects"),
    "bomb": Rule("error", "an image claims more pixels than are ever decoded", "make it smaller", "left out with its objects"),
    "wrong-size": Rule("error", "width and height of the entry are not those of the image; boxes are taken as pixels of the real image, so they may be elsewhere", "correct width and height, and the boxes if they were drawn at another size", "boxes scaled with the image if only its scale differs, otherwise the image is left out"),
    "turned": Rule("error", "width and height are those before the camera's EXIF rotation; images are read turned, so boxes fall beside their objects", "annotate the turned image, or rotate the file itself and drop its EXIF", "boxes and size turned along"),
    "exif": Rule("note", "an image carries an EXIF rotation; it is read turned, and its boxes are taken as pixels of the turned image", "look at one with nas data show; where boxes are beside their objects, rotate the files themselves"),
    "wrong-suffix": Rule("warning", "the name's suffix says another kind of image than the content is; other programs may refuse it", "rename the file", "renamed"),
    "no-size": Rule("note", "an entry states no width or height; they were read from the image itself", "write them, to save the time", "written"),
    # entries
    "malformed-image": Rule("error", "an image entry lacks a whole-number id or a file name", "complete the entry", "left out"),
    "malformed-annotation": Rule("error", "an annotation lacks its image, its category or a box of four numbers", "complete the annotation", "left out"),
    "malformed-category": Rule("error", "a category lacks a whole-number id or a name", "complete the category", "left out"),
    "malformed-label": Rule("error", "a label file does not hold what its format says", "correct the file; docs/data.md has the formats", "what cannot be read is left out"),
    "duplicate-image-id": Rule("error", "two different images have one id, so nobody can tell whose the annotations are", "give each image an id of its own, and its annotations too", "both left out"),
    "duplicate-file": Rule("error", "one image is listed twice; objects annotated in one entry are taught as background in the other", "merge the entries", "merged"),
    "duplicate-annotation-id": Rule("warning", "annotation ids repeat; pycocotools keeps only the last of them", "number annotations from 1", "numbered anew"),
    "annotation-id-zero": Rule("warning", "an annotation has the id 0, which pycocotools takes for 'no match' and counts as a miss", "number annotations from 1", "numbered anew"),
    "unknown-image": Rule("error", "an annotation names an image id that is not in the list of images", "take it out, or add the image", "left out"),
    "unknown-category": Rule("error", "an annotation names a category that is not in the list; with other tools this ends in a CUDA assert", "correct the id, or add the category", "left out"),
    # classes
    "duplicate-category-id": Rule("error", "two categories have one id", "give each an id of its own", "the first name stays"),
    "duplicate-class-name": Rule("error", "two categories have one name", "merge them, or rename one", "merged into the first"),
    "ids-from-zero": Rule("note", "category ids begin at 0, not at COCO's 1; kept as they are, and no class is lost here, but tools that take 0 for background lose one", "nothing to do here"),
    "ids-with-gaps": Rule("note", "category ids are not 1, 2, 3 ...; kept as they are in results, and counted from 0 inside", "nothing to do here; use nas data show for the numbers inside"),
    "category-order": Rule("note", "categories are not listed in the order of their ids; classes are counted in the order of ids here, and by tools that go by the list in another", "sort the list, if other tools read it too", "sorted"),
    "parent-category": Rule("warning", "a category is only the parent of the others and has no objects (Roboflow writes one as id 0); it would be trained as a class that never occurs", "take it out", "left out"),
    "classes-differ": Rule("error", "the splits do not have the same classes in the same order", "give all splits the same list of categories", "one list for all, by name"),
    "class-ids-differ": Rule("warning", "a class has different ids in different splits; results carry those of the split they were made on", "give all splits the same list of categories", "one list for all, by name"),
    "unused-class": Rule("warning", "a class has no object in this split", "collect examples, or take the class out"),
    "rare-class": Rule("warning", "a class has few objects to learn from", "collect more examples"),
    "imbalance": Rule("warning", "some classes are far more frequent than others", "collect more of the rare ones; AP per class tells what it costs"),
    # boxes
    "not-finite": Rule("error", "a box has numbers that are not finite or beyond any picture", "correct the box", "left out"),
    "normalised": Rule("error", "boxes are shares of the picture (0 to 1) where pixels are due; every object would shrink into the top left pixel", "multiply x and width by the picture's width, y and height by its height", "multiplied"),
    "corners": Rule("error", "boxes seem to be x1, y1, x2, y2 where COCO has x, y, width, height: read as such many leave the picture, read as corners none does", "write x, y, width, height", "read as corners"),
    "pixels": Rule("error", "a YOLO label has numbers far above 1, where shares of the picture are due", "divide x and width by the picture's width, y and height by its height", "divided where most of the split is so, otherwise left out"),
    "outside": Rule("warning", "a box reaches out of the picture; it is clipped", "nothing, if a few; many of one kind tell of a fault in the conversion", "clipped"),
    "degenerate": Rule("warning", "a box has no area inside the picture; it is dropped", "correct or remove it", "left out"),
    "duplicate-box": Rule("warning", "the same box of the same class twice on one picture; evaluation would miss one of them for ever", "remove one", "one is kept"),
    "two-classes": Rule("warning", "the same box with two classes on one picture", "keep the right one"),
    "tiny": Rule("warning", "objects smaller than 8 pixels at the input size, less than one cell of the finest grid", "train at a larger --input, or cut the pictures into tiles"),
    "crowd": Rule("note", "regions marked as crowds (VOC: difficult); they are neither taught nor counted as background", "nothing to do"),
    "empty-image": Rule("note", "pictures without objects; they train as background", "make sure that they are empty and not forgotten"),
    "from-zero": Rule("note", "VOC boxes count pixels from 1, but these have zeros, so all of this data set are read as counted from 0", "nothing to do"),
    # splits
    "one-split": Rule("warning", "there is only one split; training needs another to measure on", "add the split val; docs/data.md shows the layouts"),
    "empty-split": Rule("error", "a split has no picture", "add pictures, or take the split out", "left out"),
    "no-objects": Rule("warning", "a split has no object at all", "check that the annotations belong to these images"),
    "leak": Rule("error", "an image is in two splits, byte for byte; what is measured on it is known by heart", "remove it from one of them", "left out of the split it is trained on"),
    "near-leak": Rule("warning", "an image of one split looks almost the same as one of another; frames of one film do, and so do copies", "split by film, place or day, not by picture"),
    "same-image": Rule("warning", "the same image, byte for byte, under two names in one split", "keep one, with the objects of both"),
}  # fmt: skip
"""Everything that can be found, by its code."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How often one rule was broken in one split, with the first examples."""

    code: str
    split: str
    """Empty where a finding concerns the splits together."""
    count: int
    examples: tuple[str, ...]

    @property
    def rule(self) -> Rule:
        """What the code means."""
        return RULES[self.code]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        rule = self.rule
        return {
            "code": self.code, "severity": rule.severity, "split": self.split or None, "count": self.count, "what": rule.what,
            "examples": list(self.examples), "mend": rule.mend, "fix": rule.fix or None,
        }  # fmt: skip


class FindingLog:
    """Collects findings of one split while it is read; keeps counts and the first examples, however many there are."""

    def __init__(self, split: str) -> None:
        self.split = split
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}

    def add(self, code: str, example: str, count: int = 1) -> None:
        """One more of ``code``; an unknown code is a fault of ours and raises ``KeyError``."""
        RULES[code]
        self._counts[code] = self._counts.get(code, 0) + count
        examples = self._examples.setdefault(code, [])
        if len(examples) < EXAMPLES:
            examples.append(shortened(example))

    def all(self, code: str, where: np.ndarray, example: Any) -> None:
        """One of ``code`` for every true entry of ``where``; ``example`` makes the text from its position."""
        found = np.flatnonzero(where)
        for at in found[:EXAMPLES].tolist():
            self.add(code, example(at))
        if len(found) > EXAMPLES:
            self._counts[code] += len(found) - EXAMPLES

    def findings(self) -> tuple[Finding, ...]:
        """What was collected, in the order of ``RULES``."""
        return tuple(Finding(code, self.split, self._counts[code], tuple(self._examples[code])) for code in RULES if code in self._counts)


def shortened(text: str, most: int = 160) -> str:
    """``text`` cut to so many characters, since names from outside may be of any length."""
    return text if len(text) <= most else text[: most - 1] + "…"


def quoted(value: object, most: int = 80) -> str:
    """``repr`` of something from outside: one line, escaped, and short."""
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    return shortened(repr(value), most)


@dataclass(frozen=True, slots=True)
class Source:
    """Where one split stands: its form (``coco``, ``yolo``, ``voc``), name, files and the folder that no path may leave."""

    form: str
    name: str
    root: Path
    """Resolved: no symbolic links."""
    file: Path
    """The annotation file, or what lists the split."""
    images: tuple[Path, ...] = ()
    """Folders in which images are looked for, in this order."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What the form needs beside."""


@dataclass(frozen=True, slots=True)
class Category:
    """A category as the data has it."""

    id: int
    name: str
    parent: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class RawAnnotations:
    """One split as its files have it, in columns: m images, n annotations."""

    source: Source
    categories: tuple[Category, ...]
    ids: np.ndarray
    """int64 ``[m]``, the data's own image ids."""
    files: tuple[Path | None, ...]
    """Absolute and inside the root; None where there is no such file or it may not be used."""
    labels_from: tuple[str, ...]
    """How the data calls each image, for examples."""
    sizes: np.ndarray
    """int64 ``[m, 2]``, width and height in pixels; 0 where nobody knows them."""
    boxes: np.ndarray
    """float64 ``[n, 4]``, x1, y1, x2, y2 in pixels, as stated: not clipped, possibly not finite."""
    image: np.ndarray
    """int64 ``[n]``, position of the image, -1 where there is none."""
    category: np.ndarray
    """int64 ``[n]``, the data's own category ids."""
    crowd: np.ndarray
    """bool ``[n]``."""
    areas: np.ndarray
    """float64 ``[n]``, square pixels; NaN where the data states none."""
    annotation_ids: np.ndarray
    """int64 ``[n]``, -1 where the data has none."""
    findings: tuple[Finding, ...]
    """What the reader stumbled over."""

    def __len__(self) -> int:
        return len(self.ids)


def columns(boxes: Iterable[Any], image: Iterable[int], category: Iterable[int], crowd: Iterable[bool], areas: Iterable[float], ids: Iterable[int]) -> dict[str, np.ndarray]:
    """The annotation columns of ``RawAnnotations`` from lists or arrays; ``boxes`` is flat or ``[n, 4]``."""
    return {
        "boxes": np.asarray(boxes, dtype=np.float64).reshape(-1, 4),
        "image": np.asarray(image, dtype=np.int64),
        "category": np.asarray(category, dtype=np.int64),
        "crowd": np.asarray(crowd, dtype=bool),
        "areas": np.asarray(areas, dtype=np.float64),
        "annotation_ids": np.asarray(ids, dtype=np.int64),
    }
