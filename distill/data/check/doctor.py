"""The doctor: everything that hurts in a data set, told with examples and the way out.

``examine`` reads the annotations of every split, then looks at every image: its header against the annotation, whether
it decodes, what its content is. Images are looked at in threads, and findings come in the same order every time.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from distill.data.check.faults import AnnotationFaults, find_faults, findings
from distill.data.formats import readers
from distill.data.formats.image_headers import Header, in_threads, read_header
from distill.data.formats.paths import Places
from distill.data.formats.raw import RULES, SEVERITIES, Finding, FindingLog, RawAnnotations, quoted
from zoo.images import READ_ERRORS, SUFFIXES

FORMAT = "nas-doctor-1"
TINY_PX = 8
"""Side of a cell of the finest grid that detectors look at."""
TINY_SHARE = 0.01
FEW_OBJECTS = 10
IMBALANCE = 100
"""How many times more frequent than the rarest a class may be."""

HASH_SIDE = 16
"""A picture is shrunk to 17 x 16 greys; each of the 256 neighbours brighter or not is a bit."""
NEAR_BITS = 20
NEAR_GREY = 6.0
"""Pictures are almost the same if so many bits differ at most, and so much grey on average."""
FLAT_GREY = 4.0
"""A picture with less spread than this has no shape that could be told from another's."""
BLOCK = 64
"""Pictures compared with all others at a time."""
MOST_FILE_BYTES = 2**30

KINDS = {
    ".jpg": ("JPEG", "MPO"), ".jpeg": ("JPEG", "MPO"), ".png": ("PNG",), ".bmp": ("BMP", "DIB"), ".webp": ("WEBP",), ".tif": ("TIFF",), ".tiff": ("TIFF",),
}  # fmt: skip
"""What an image with the suffix should be; MPO is a JPEG with more pictures behind it."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What one image turned out to be."""

    header: Header
    digest: bytes = b""
    """SHA-256 of the file."""
    grey: np.ndarray | None = None
    """uint8 ``[16, 17]``: the picture shrunk; None if it was not decoded."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """One split as the doctor saw it."""

    claims: RawAnnotations
    verdict: AnnotationFaults
    looks: tuple[Look | None, ...]
    """None where there is no file."""

    @property
    def name(self) -> str:
        """Of the split; ``all`` where nothing tells."""
        return self.claims.source.name or "all"


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """All that was found, the worst first."""

    path: Path
    input_px: int
    quick: bool
    splits: tuple[Split, ...]
    findings: tuple[Finding, ...]

    def count(self, severity: str) -> int:
        """Kinds of finding of this severity."""
        return sum(one.rule.severity == severity for one in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {
            "format": FORMAT, "path": str(self.path), "form": self.splits[0].claims.source.form, "input_px": self.input_px, "images_decoded": not self.quick,
            "splits": {
                one.name: {"images": len(one.claims), "annotations": len(one.claims.boxes), "usable": int(one.verdict.usable.sum())} for one in self.splits
            },
            "errors": self.count("error"), "warnings": self.count("warning"), "notes": self.count("note"),
            "findings": [one.to_dict() for one in self.findings],
        }  # fmt: skip


def examine(path: str | Path, input_px: int = 640, quick: bool = False, log: Callable[[str], None] = readers.silent) -> Report:
    """Look at the data set at ``path``; tiny objects are judged at an input of ``input_px``. ``quick`` reads headers only."""
    splits = []
    for source in readers.find_sources(path):
        claims = readers.read_claims(source, log)
        splits.append(Split(claims, find_faults(claims), _looks(claims, quick, log)))
    found: list[Finding] = []
    for split in splits:
        notes = FindingLog(split.name)
        found += [replace(one, split=split.name) for one in findings(split.claims, split.verdict)]
        _images(split, notes)
        _counts(split, notes)
        _tiny(split, input_px, notes)
        _unlisted(split, [other.claims for other in splits], notes)
        found += notes.findings()
    together = FindingLog("")
    _across(splits, together, log)
    found += together.findings()
    return Report(Path(path), input_px, quick, tuple(splits), _merged(found))


def _merged(found: list[Finding]) -> tuple[Finding, ...]:
    """Findings with the same code and split as one, the worst first, then in the order of ``RULES``."""
    by_key: dict[tuple[str, str], Finding] = {}
    for one in found:
        before = by_key.get((one.code, one.split))
        by_key[one.code, one.split] = one if before is None else Finding(one.code, one.split, before.count + one.count, before.examples + one.examples)
    order = list(RULES)
    return tuple(sorted(by_key.values(), key=lambda one: (SEVERITIES.index(one.rule.severity), order.index(one.code))))


def _looks(claims: RawAnnotations, quick: bool, log: Callable[[str], None]) -> tuple[Look | None, ...]:
    files = [(at, file) for at, file in enumerate(claims.files) if file is not None]
    name = claims.source.name or "all"

    def look_at(file: Path) -> Look:
        return Look(read_header(file)) if quick else look(file)

    looks: list[Look | None] = [None] * len(claims)
    found = in_threads(look_at, [file for _, file in files], lambda n: log(f"{name}: {n:,} of {len(files):,} images looked at"))
    for (at, _), one in zip(files, found, strict=True):
        looks[at] = one
    return tuple(looks)


def look(file: Path) -> Look:
    """Read one image whole: its header, whether it decodes, its content in short."""
    from PIL import Image

    header = read_header(file)
    if header.fault:
        return Look(header)
    try:
        if file.stat().st_size > MOST_FILE_BYTES:
            return Look(replace(header, fault="unreadable", why=f"more than {MOST_FILE_BYTES:,} bytes"))
        data = file.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            if image.mode == "F":
                return Look(replace(header, fault="unreadable", why="floating-point pixels have no known range"))
            # a JPEG decodes at an eighth of its size for a fraction of the time, and is still read to its end
            image.draft("L", (8 * HASH_SIDE, 8 * HASH_SIDE))
            image.load()
            grey = image.convert("RGB").convert("L") if image.mode in ("P", "PA") else image.convert("L")
            small = grey.resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX)
            return Look(header, hashlib.sha256(data).digest(), np.asarray(small))
    except READ_ERRORS as error:
        return Look(replace(header, fault="unreadable", why=str(error) or type(error).__name__))


def sizes_agree(stated: tuple[int, int], header: Header) -> str:
    """The finding that a stated width and height deserve: ``wrong-size``, ``turned``, or nothing."""
    if 0 in stated or stated == header.size:
        return ""
    return "turned" if header.orientation >= 5 and stated == (header.width, header.height) else "wrong-size"


def right_suffix(file: Path, header: Header) -> bool:
    """Whether the name's suffix fits the content."""
    return header.kind in KINDS.get(file.suffix.lower(), (header.kind,))


def _images(split: Split, notes: FindingLog) -> None:
    """Headers and contents against what is claimed of them."""
    claims = split.claims
    contents: dict[bytes, int] = {}
    for at, one in enumerate(split.looks):
        file = claims.files[at]
        if one is None or file is None:
            continue
        header, shown = one.header, quoted(claims.labels_from[at])
        if header.fault:
            # a size that had to be read from a broken header is noted by the reader already
            if claims.sizes[at].all() or not any(found.code == header.fault for found in claims.findings):
                notes.add(header.fault, f"{shown}: {header.why}")
            continue
        width, height = claims.sizes[at].tolist()
        disagree = sizes_agree((width, height), header)
        if disagree:
            notes.add(disagree, f"{shown}: stated {width} x {height}, is {header.size[0]} x {header.size[1]}")
        elif header.orientation != 1:
            notes.add("exif", f"{shown}: orientation {header.orientation}")
        if not right_suffix(file, header):
            notes.add("wrong-suffix", f"{shown} is {header.kind}")
        if one.digest:
            first = contents.setdefault(one.digest, at)
            if first != at and claims.files[first] != file:
                notes.add("same-image", f"{shown} and {quoted(claims.labels_from[first])}")


def objects_a_class(split: Split) -> dict[int, int]:
    """Usable objects, crowds not counted, by original category id."""
    claims = split.claims
    ids, counts = np.unique(claims.category[split.verdict.usable & ~claims.crowd], return_counts=True)
    found = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    return {one.id: found.get(one.id, 0) for one in claims.categories}


def _counts(split: Split, notes: FindingLog) -> None:
    """Classes without objects, with few, and how far apart they are."""
    counts = objects_a_class(split)
    names = {one.id: one.name for one in split.claims.categories}
    if not any(counts.values()):
        return
    for number, count in counts.items():
        if count == 0:
            notes.add("unused-class", quoted(names[number]))
        elif count < FEW_OBJECTS and split.name == "train":
            notes.add("rare-class", f"{quoted(names[number])}: {count} object{'s' * (count > 1)}")
    most = max(counts, key=lambda number: counts[number])
    if split.name == "train":
        for number, count in counts.items():
            if 0 < count * IMBALANCE <= counts[most]:
                notes.add("imbalance", f"{quoted(names[most])} {counts[most]:,} times, {quoted(names[number])} {count:,} times")


def _tiny(split: Split, input_px: int, notes: FindingLog) -> None:
    """Objects whose side at the network's input is below one cell."""
    claims, usable = split.claims, split.verdict.usable & ~split.claims.crowd
    boxes = split.verdict.clipped[usable].astype(np.float64)
    if not len(boxes):
        return
    scale = input_px / claims.sizes[claims.image[usable]].max(1).clip(1)
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1)) * scale
    tiny = sides < TINY_PX
    if tiny.mean() < TINY_SHARE:
        return
    needed = input_px * TINY_PX / np.quantile(sides[tiny], 0.5)
    notes.add("tiny", f"{tiny.mean():.0%} of {len(sides):,} objects at {input_px} px; half of them would reach {TINY_PX} px at {needed:,.0f} px", int(tiny.sum()))
    for at in np.flatnonzero(tiny)[:2].tolist():
        image = claims.image[usable][at]
        notes.add("tiny", f"{quoted(claims.labels_from[image])}: {sides[at]:.1f} px", 0)


def _unlisted(split: Split, everywhere: list[RawAnnotations], notes: FindingLog) -> None:
    """Images in the folders of a split that no split names; where all splits share a folder, the first one tells."""
    claims = split.claims
    if claims.source.form == "yolo":
        return  # there the folder is the list
    places = Places(claims.source.root)
    own = {file.parent for file in claims.files if file is not None}
    named = {file for one in everywhere for file in one.files}
    earlier = {file.parent for one in everywhere[: everywhere.index(claims)] for file in one.files if file is not None}
    for folder in sorted(own - earlier):
        for name in places.files(folder, SUFFIXES):
            if places.find(folder, name) not in named:
                notes.add("unlisted-image", str(folder / name))


def _across(splits: list[Split], notes: FindingLog, log: Callable[[str], None]) -> None:
    """What only shows when splits are put side by side: classes, leaks, a missing split."""
    if len(splits) == 1:
        notes.add("one-split", splits[0].name)
    first = splits[0]
    order = [one.name for one in sorted(first.claims.categories, key=lambda one: one.id)]
    ids = {one.name: one.id for one in first.claims.categories}
    for split in splits[1:]:
        theirs = {one.name: one.id for one in split.claims.categories}
        lacking = [(name, split.name, first.name) for name in ids if name not in theirs] + [(name, first.name, split.name) for name in theirs if name not in ids]
        for name, where, other in lacking:
            notes.add("classes-differ", f"{quoted(name)} is in {other}, not in {where}")
        if not lacking:
            their_order = [one.name for one in sorted(split.claims.categories, key=lambda one: one.id)]
            for at, (our_name, their_name) in enumerate(zip(order, their_order, strict=False)):
                if our_name != their_name:
                    notes.add("classes-differ", f"number {at} is {quoted(our_name)} in {first.name} and {quoted(their_name)} in {split.name}")
            for name in ids:
                if ids[name] != theirs[name]:
                    notes.add("class-ids-differ", f"{quoted(name)}: {ids[name]} in {first.name}, {theirs[name]} in {split.name}")
    for at, split in enumerate(splits):
        for later in splits[at + 1 :]:
            log(f"comparing {split.name} with {later.name}")
            _leaks(split, later, notes)


def same_files(split: Split, other: Split) -> list[tuple[int, int]]:
    """Positions of images with the same content, or the same file, in both."""
    by_content: dict[object, int] = {}
    for at, one in enumerate(other.looks):
        if one is not None:
            by_content.setdefault(one.digest or other.claims.files[at], at)
    pairs = []
    for at, one in enumerate(split.looks):
        if one is not None:
            found = by_content.get(one.digest or split.claims.files[at])
            if found is not None:
                pairs.append((at, found))
    return pairs


def _leaks(split: Split, other: Split, notes: FindingLog) -> None:
    same = same_files(split, other)

    def told(ours: int, theirs: int) -> str:
        return f"{quoted(split.claims.labels_from[ours])} of {split.name} and {quoted(other.claims.labels_from[theirs])} of {other.name}"

    for ours, theirs in same:
        notes.add("leak", told(ours, theirs))
    leaked = {theirs for _, theirs in same}
    for ours, theirs in near_pairs(split.looks, other.looks):
        if theirs not in leaked:
            notes.add("near-leak", told(ours, theirs))


def near_pairs(looks: tuple[Look | None, ...], others: tuple[Look | None, ...]) -> list[tuple[int, int]]:
    """For every picture of ``others`` the first of ``looks`` that is almost the same: positions in both."""
    ours, theirs = _shapes(looks), _shapes(others)
    if ours is None or theirs is None:
        return []
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(theirs[0]), BLOCK):
        part = slice(start, start + BLOCK)
        differ = np.zeros((len(theirs[1][part]), len(ours[1])), dtype=np.uint16)
        for word in range(ours[1].shape[1]):
            differ += np.bitwise_count(theirs[1][part, word, None] ^ ours[1][None, :, word])
        for row, column in np.argwhere(differ <= NEAR_BITS).tolist():
            their, our = int(theirs[0][start + row]), int(ours[0][column])
            if pairs and pairs[-1][1] == their:
                continue
            if np.abs(theirs[2][start + row] - ours[2][column]).mean() <= NEAR_GREY:
                pairs.append((our, their))
    return pairs


def _shapes(looks: tuple[Look | None, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Of the decoded pictures with any shape: position ``[k]``, bits as uint64 ``[k, 4]``, greys float32 ``[k, 16, 17]``."""
    at = [i for i, one in enumerate(looks) if one is not None and one.grey is not None and one.grey.std() > FLAT_GREY]
    if not at:
        return None
    greys = np.stack([np.asarray(looks[i].grey, dtype=np.float32) for i in at])  # type: ignore[union-attr]  # at holds those that are there
    bits = np.packbits((greys[:, :, 1:] > greys[:, :, :-1]).reshape(len(at), -1), axis=1)
    return np.asarray(at), np.ascontiguousarray(bits).view(np.uint64), greys
