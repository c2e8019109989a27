"""Everything that can be wrong with a data set: how severe it is, how to mend it, and what ``--fix`` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""The most severe first. Training refuses errors in annotations; warnings and notes are handled by rule."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that can be wrong."""

    severity: Severity
    what: str
    """What is wrong, and what it does to training."""
    mend: str
    """How a person mends it."""
    fix: str = ""
    """What ``--fix`` does; empty where it does nothing."""


RULES: dict[str, Rule] = {
    # files and paths
    "path-outside": Rule(
        "error",
        "the path of an image or a label leaves the folder of the data set, by .. or an absolute path or a "
        "symbolic link",
        "put the file itself into the folder and write its path relative to it",
        "left out",
    ),
    "missing-image": Rule(
        "error",
        "an image is listed, but there is no such regular file",
        "add the file or take the entry out; the letters' case counts",
        "left out with its objects",
    ),
    "unlisted-image": Rule(
        "note",
        "an image lies in the folder of a split, but no entry names it; it is not used",
        "annotate it, or take it out",
    ),
    "stray-label": Rule("warning", "a label file has no image", "add the image or remove the label file", "left out"),
    "unreadable": Rule(
        "error",
        "an image cannot be decoded: broken, cut short, or of no kind that Pillow reads",
        "replace the file",
        "left out with its objects",
    ),
    "bomb": Rule(
        "error",
        "an image claims more pixels than are ever decoded",
        "make it smaller",
        "left out with its objects",
    ),
    "wrong-size": Rule(
        "error",
        "width and height of the entry are not those of the image; boxes are taken as pixels of the real image, so "
        "they may be elsewhere",
        "correct width and height, and the boxes if they were drawn at another size",
        "boxes scaled with the image if only its scale differs, otherwise the image is left out",
    ),
    "turned": Rule(
        "error",
        "width and height are those before the camera's EXIF rotation; images are read turned, so boxes fall "
        "beside their objects",
        "annotate the turned image, or rotate the file itself and drop its EXIF",
        "boxes and size turned along",
    ),
    "exif": Rule(
        "note",
        "an image carries an EXIF rotation; it is read turned, and its boxes are taken as pixels of the turned image",
        "look at one with nas data show; where boxes are beside their objects, rotate the files themselves",
    ),
    "wrong-suffix": Rule(
        "warning",
        "the name's suffix says another kind of image than the content is; other programs may refuse it",
        "rename the file",
        "renamed",
    ),
    "no-size": Rule(
        "note",
        "an entry states no width or height; they were read from the image itself",
        "write them, to save the time",
        "written",
    ),
    # entries
    "malformed-image": Rule(
        "error",
        "an image entry lacks a whole-number id or a file name",
        "complete the entry",
        "left out",
    ),
    "malformed-annotation": Rule(
        "error",
        "an annotation lacks its image, its category or a box of four numbers",
        "complete the annotation",
        "left out",
    ),
    "malformed-category": Rule(
        "error",
        "a category lacks a whole-number id or a name",
        "complete the category",
        "left out",
    ),
    "malformed-label": Rule(
        "error",
        "a label file does not hold what its format says",
        "correct the file; docs/data.md has the formats",
        "what cannot be read is left out",
    ),
    "duplicate-image-id": Rule(
        "error",
        "two different images have one id, so nobody can tell whose the annotations are",
        "give each image an id of its own, and its annotations too",
        "both left out",
    ),
    "duplicate-file": Rule(
        "error",
        "one image is listed twice; objects annotated in one entry are taught as background in the other",
        "merge the entries",
        "merged",
    ),
    "duplicate-annotation-id": Rule(
        "warning",
        "annotation ids repeat; pycocotools keeps only the last of them",
        "number annotations from 1",
        "numbered anew",
    ),
    "annotation-id-zero": Rule(
        "warning",
        "an annotation has the id 0, which pycocotools takes for 'no match' and counts as a miss",
        "number annotations from 1",
        "numbered anew",
    ),
    "unknown-image": Rule(
        "error",
        "an annotation names an image id that is not in the list of images",
        "take it out, or add the image",
        "left out",
    ),
    "unknown-category": Rule(
        "error",
        "an annotation names a category that is not in the list; with other tools this ends in a CUDA assert",
        "correct the id, or add the category",
        "left out",
    ),
    # classes
    "duplicate-category-id": Rule(
        "error",
        "two categories have one id",
        "give each an id of its own",
        "the first name stays",
    ),
    "duplicate-class-name": Rule(
        "error",
        "two categories have one name",
        "merge them, or rename one",
        "merged into the first",
    ),
    "ids-from-zero": Rule(
        "note",
        "category ids begin at 0, not at COCO's 1; kept as they are, and no class is lost here, but tools that "
        "take 0 for background lose one",
        "nothing to do here",
    ),
    "ids-with-gaps": Rule(
        "note",
        "category ids are not 1, 2, 3 ...; kept as they are in results, and counted from 0 inside",
        "nothing to do here; use nas data show for the numbers inside",
    ),
    "category-order": Rule(
        "note",
        "categories are not listed in the order of their ids; classes are counted in the order of ids here, and by "
        "tools that go by the list in another",
        "sort the list, if other tools read it too",
        "sorted",
    ),
    "parent-category": Rule(
        "warning",
        "a category is only the parent of the others and has no objects (Roboflow writes one as id 0); it would be "
        "trained as a class that never occurs",
        "take it out",
        "left out",
    ),
    "classes-differ": Rule(
        "error",
        "the splits do not have the same classes in the same order",
        "give all splits the same list of categories",
        "one list for all, by name",
    ),
    "class-ids-differ": Rule(
        "warning",
        "a class has different ids in different splits; results carry those of the split they were made on",
        "give all splits the same list of categories",
        "one list for all, by name",
    ),
    "unused-class": Rule("warning", "a class has no object in this split", "collect examples, or take the class out"),
    "rare-class": Rule("warning", "a class has few objects to learn from", "collect more examples"),
    "imbalance": Rule(
        "warning",
        "some classes are far more frequent than others",
        "collect more of the rare ones; AP per class tells what it costs",
    ),
    "mirrored": Rule(
        "note",
        "the classes look like digits, letters or signs, which a mirrored image shows wrong",
        "train without mirroring: --set flip=0",
    ),
    # boxes
    "not-finite": Rule(
        "error",
        "a box has numbers that are not finite or beyond any picture",
        "correct the box",
        "left out",
    ),
    "normalised": Rule(
        "error",
        "boxes are shares of the picture (0 to 1) where pixels are due; every object would shrink into the top "
        "left pixel",
        "multiply x and width by the picture's width, y and height by its height",
        "multiplied",
    ),
    "corners": Rule(
        "error",
        "boxes seem to be x1, y1, x2, y2 where COCO has x, y, width, height: read as such many leave the picture, "
        "read as corners none does",
        "write x, y, width, height",
        "read as corners",
    ),
    "pixels": Rule(
        "error",
        "a YOLO label has numbers far above 1, where shares of the picture are due",
        "divide x and width by the picture's width, y and height by its height",
        "divided where most of the split is so, otherwise left out",
    ),
    "outside": Rule(
        "warning",
        "a box reaches out of the picture; it is clipped",
        "nothing, if a few; many of one kind tell of a fault in the conversion",
        "clipped",
    ),
    "degenerate": Rule(
        "warning",
        "a box has no area inside the picture; it is dropped",
        "correct or remove it",
        "left out",
    ),
    "duplicate-box": Rule(
        "warning",
        "the same box of the same class twice on one picture; evaluation would miss one of them for ever",
        "remove one",
        "one is kept",
    ),
    "two-classes": Rule("warning", "the same box with two classes on one picture", "keep the right one"),
    "tiny": Rule(
        "warning",
        "objects smaller than 8 pixels at the input size, less than one cell of the finest grid",
        "train at a larger --input, or cut the pictures into tiles; nas data levels compares input sides",
    ),
    "crowd": Rule(
        "note",
        "regions marked as crowds (VOC: difficult); they are neither taught nor counted as background",
        "nothing to do",
    ),
    "empty-image": Rule(
        "note",
        "pictures without objects; they train as background",
        "make sure that they are empty and not forgotten",
    ),
    "from-zero": Rule(
        "note",
        "VOC boxes count pixels from 1, but these have zeros, so all of this data set are read as counted from 0",
        "nothing to do",
    ),
    # splits
    "one-split": Rule(
        "warning",
        "there is only one split; training needs another to measure on",
        "add the split val; docs/data.md shows the layouts",
    ),
    "empty-split": Rule("error", "a split has no picture", "add pictures, or take the split out", "left out"),
    "no-objects": Rule("warning", "a split has no object at all", "check that the annotations belong to these images"),
    "leak": Rule(
        "error",
        "an image is in two splits, byte for byte; what is measured on it is known by heart",
        "remove it from one of them",
        "left out of the split it is trained on",
    ),
    "near-leak": Rule(
        "warning",
        "an image of one split looks almost the same as one of another; frames of one film do, and so do copies",
        "split by film, place or day, not by picture",
    ),
    "same-image": Rule(
        "warning",
        "the same image, byte for byte, under two names in one split",
        "keep one, with the objects of both",
    ),
}
"""By the code of the finding."""
