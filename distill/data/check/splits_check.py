"""Findings that concern several splits: classes that differ, the same images, a missing split."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distill.data.check.report import Split
from distill.data.check.same_images import near_pairs, same_files
from distill.data.formats.findings import FindingLog, quoted


def check_splits(splits: Sequence[Split], notes: FindingLog, log: Callable[[str], None]) -> None:
    """Compare the splits with one another."""
    if len(splits) == 1:
        notes.add("one-split", splits[0].name)
    for split in splits[1:]:
        _compare_classes(splits[0], split, notes)
    for number, split in enumerate(splits):
        for later in splits[number + 1 :]:
            log(f"comparing {split.name} with {later.name}")
            _find_leaks(split, later, notes)


def _compare_classes(first: Split, other: Split, notes: FindingLog) -> None:
    ids, other_ids = ({category.name: category.id for category in split.raw.categories} for split in (first, other))
    missing = [(name, other.name, first.name) for name in ids if name not in other_ids]
    missing += [(name, first.name, other.name) for name in other_ids if name not in ids]
    for name, without, having in missing:
        notes.add("classes-differ", f"{quoted(name)} is in {having}, not in {without}")
    if missing:
        return
    for number, (name, other_name) in enumerate(zip(_in_order(first), _in_order(other), strict=False)):
        if name != other_name:
            text = f"number {number} is {quoted(name)} in {first.name} and {quoted(other_name)} in {other.name}"
            notes.add("classes-differ", text)
    for name in ids:
        if ids[name] != other_ids[name]:
            text = f"{quoted(name)}: {ids[name]} in {first.name}, {other_ids[name]} in {other.name}"
            notes.add("class-ids-differ", text)


def _in_order(split: Split) -> list[str]:
    """Class names in the order of their ids."""
    return [category.name for category in sorted(split.raw.categories, key=lambda category: category.id)]


def _find_leaks(split: Split, other: Split, notes: FindingLog) -> None:
    def text(index: int, other_index: int) -> str:
        name, other_name = quoted(split.raw.image_names[index]), quoted(other.raw.image_names[other_index])
        return f"{name} of {split.name} and {other_name} of {other.name}"

    pairs = same_files(split, other)
    for index, other_index in pairs:
        notes.add("leak", text(index, other_index))
    leaked = {other_index for _, other_index in pairs}
    for index, other_index in near_pairs(split.images, other.images):
        if other_index not in leaked:
            notes.add("near-leak", text(index, other_index))
