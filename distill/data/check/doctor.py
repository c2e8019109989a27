"""The doctor: ``examine`` finds everything that is wrong with a data set.

It reads the annotations of every split, then every image: its header against the annotation, whether it decodes, its
content. Images are read in threads; the order of the findings is always the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from distill.data.check.faults import find_faults, findings
from distill.data.check.image_check import ImageCheck, check_header, check_image, has_right_suffix, size_fault
from distill.data.check.mirrored import mirrored_classes
from distill.data.check.report import Report, Split
from distill.data.check.splits_check import check_splits
from distill.data.formats import readers
from distill.data.formats.findings import Finding, FindingLog, quoted
from distill.data.formats.image_headers import map_in_threads
from distill.data.formats.raw import RawAnnotations
from distill.data.formats.rules import RULES, SEVERITIES
from zoo.images import SUFFIXES

TINY_PX = 8
"""Side of a cell of the finest grid that detectors use."""
TINY_SHARE = 0.01
FEW_OBJECTS = 10
IMBALANCE = 100
"""Ratio of the most to the least frequent class from which it is reported."""


def examine(
    path: str | Path, input_px: int = 640, quick: bool = False, log: Callable[[str], None] = readers.silent
) -> Report:
    """Find everything that is wrong with the data set at ``path``.

    Args:
        input_px: Side of the network's input at which objects count as tiny.
        quick: Read only the headers of images.
        log: Takes lines of progress.
    """
    splits = []
    for source in readers.find_sources(path):
        raw = readers.read_raw(source, log)
        splits.append(Split(raw, find_faults(raw), _check_images(raw, quick, log)))
    everything: list[Finding] = []
    for split in splits:
        notes = FindingLog(split.name)
        everything += [replace(finding, split=split.name) for finding in findings(split.raw, split.faults)]
        _image_findings(split, notes)
        _class_counts(split, notes)
        _tiny_objects(split, input_px, notes)
        _unlisted_images(split, [other.raw for other in splits], notes)
        everything += notes.findings()
    together = FindingLog("")
    check_splits(splits, together, log)
    everything += together.findings()
    return Report(Path(path), input_px, quick, tuple(splits), _merged(everything))


def _merged(everything: Sequence[Finding]) -> tuple[Finding, ...]:
    """One finding a code and split; the most severe first, then in the order of ``RULES``."""
    by_key: dict[tuple[str, str], Finding] = {}
    for finding in everything:
        key = finding.code, finding.split
        if key in by_key:
            before = by_key[key]
            finding = replace(before, count=before.count + finding.count, examples=before.examples + finding.examples)
        by_key[key] = finding
    order = list(RULES)
    return tuple(sorted(by_key.values(), key=lambda f: (SEVERITIES.index(f.rule.severity), order.index(f.code))))


def _check_images(raw: RawAnnotations, quick: bool, log: Callable[[str], None]) -> tuple[ImageCheck | None, ...]:
    files = [(index, file) for index, file in enumerate(raw.files) if file is not None]
    name = raw.source.name or "all"
    check = check_header if quick else check_image
    results = map_in_threads(
        check, [file for _, file in files], lambda count: log(f"{name}: {count:,} of {len(files):,} images read")
    )
    checks: list[ImageCheck | None] = [None] * len(raw)
    for (index, _), result in zip(files, results, strict=True):
        checks[index] = result
    return tuple(checks)


def _image_findings(split: Split, notes: FindingLog) -> None:
    """Headers and contents against what the annotations say."""
    raw = split.raw
    contents: dict[bytes, int] = {}
    for index, (check, file) in enumerate(zip(split.images, raw.files, strict=True)):
        if check is None or file is None:
            continue
        header, name = check.header, quoted(raw.image_names[index])
        if header.fault:
            # the reader has noted a broken header already where it needed the size
            if raw.sizes[index].all() or not any(finding.code == header.fault for finding in raw.findings):
                notes.add(header.fault, f"{name}: {header.why}")
            continue
        width, height = raw.sizes[index].tolist()
        fault = size_fault((width, height), header)
        if fault:
            notes.add(fault, f"{name}: stated {width} x {height}, is {header.size[0]} x {header.size[1]}")
        elif header.orientation != 1:
            notes.add("exif", f"{name}: orientation {header.orientation}")
        if not has_right_suffix(file, header):
            notes.add("wrong-suffix", f"{name} is {header.kind}")
        if check.digest:
            first = contents.setdefault(check.digest, index)
            if first != index and raw.files[first] != file:
                notes.add("same-image", f"{name} and {quoted(raw.image_names[first])}")


def objects_per_class(split: Split) -> dict[int, int]:
    """Usable objects without crowds, by original category id."""
    raw = split.raw
    ids, counts = np.unique(raw.category[split.faults.usable & ~raw.crowd], return_counts=True)
    by_id = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    return {category.id: by_id.get(category.id, 0) for category in raw.categories}


def _class_counts(split: Split, notes: FindingLog) -> None:
    """Classes without objects, with few, and the imbalance between them."""
    counts = objects_per_class(split)
    names = {category.id: category.name for category in split.raw.categories}
    if not any(counts.values()):
        return
    for number, count in counts.items():
        if count == 0:
            notes.add("unused-class", quoted(names[number]))
        elif count < FEW_OBJECTS and split.name == "train":
            notes.add("rare-class", f"{quoted(names[number])}: {count} object{'s' * (count > 1)}")
    most = max(counts, key=lambda number: counts[number])
    if split.name == "train":
        for name in mirrored_classes([names[number] for number in counts]):
            notes.add("mirrored", quoted(name))
        for number, count in counts.items():
            if 0 < count * IMBALANCE <= counts[most]:
                text = f"{quoted(names[most])} {counts[most]:,} times, {quoted(names[number])} {count:,} times"
                notes.add("imbalance", text)


def _tiny_objects(split: Split, input_px: int, notes: FindingLog) -> None:
    """Objects whose side at the network's input is below one cell."""
    raw, usable = split.raw, split.faults.usable & ~split.raw.crowd
    boxes = split.faults.clipped[usable].astype(np.float64)
    if not len(boxes):
        return
    scale = input_px / raw.sizes[raw.image[usable]].max(1).clip(1)
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1)) * scale
    tiny = sides < TINY_PX
    if tiny.mean() < TINY_SHARE:
        return
    needed = input_px * TINY_PX / np.quantile(sides[tiny], 0.5)
    notes.add(
        "tiny", f"{tiny.mean():.0%} of {len(sides):,} objects at {input_px} px; "
        f"half of them would reach {TINY_PX} px at {needed:,.0f} px", int(tiny.sum()),
    )  # fmt: skip
    for row in np.flatnonzero(tiny)[:2].tolist():
        image = raw.image[usable][row]
        notes.add("tiny", f"{quoted(raw.image_names[image])}: {sides[row]:.1f} px", 0)


def _unlisted_images(split: Split, everywhere: list[RawAnnotations], notes: FindingLog) -> None:
    """Images in the folders of a split that no split lists; a folder of several splits is reported by the first."""
    raw = split.raw
    if raw.source.form == "yolo":
        return  # there the folder is the list
    data_files = raw.source.data_files()
    folders = {file.parent for file in raw.files if file is not None}
    listed = {file for other in everywhere for file in other.files}
    earlier = everywhere[: everywhere.index(raw)]
    done = {file.parent for other in earlier for file in other.files if file is not None}
    for folder in sorted(folders - done):
        for name in data_files.files(folder, SUFFIXES):
            if data_files.find(folder, name) not in listed:
                notes.add("unlisted-image", str(folder / name))
