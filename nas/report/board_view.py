"""What TensorBoard is shown: a folder of links with one entry a run.

TensorBoard makes an entry of every folder with event files, and beyond 40 of them it ticks none. A search has one more
for each finalist; they are left out unless they are asked for, or are all that there is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

EVENTS, FINALISTS = "events", "top"
EVENT_FILE = "events.out.tfevents."
NOT_LOOKED_AT = ("teacher-cache", "ray", "report")
"""Folders of a run that hold no events, but many files."""


def link_runs(folders: Sequence[Path], view: Path, finalists: bool) -> int:
    """Link what is new below ``folders`` into ``view``, and return the number of entries. May be called again."""
    entries = set()
    for name, folder in zip(unique_names(folders), folders, strict=True):
        # a folder that is a run itself, or one of several, has its own name before what is inside
        own_name = [name] if len(folders) > 1 or (folder / EVENTS).is_dir() else []
        for found in event_folders(folder, finalists):
            parts = [part for part in found.relative_to(folder).parts if part != EVENTS]
            entry = view.joinpath(*own_name, *parts) if own_name or parts else view / name
            entry.mkdir(parents=True, exist_ok=True)
            entries.add(entry)
            for file in found.iterdir():
                if file.is_file() and not (entry / file.name).is_symlink():
                    (entry / file.name).symlink_to(file.resolve())
    return len(entries)


def event_folders(folder: Path, finalists: bool) -> Iterator[Path]:
    """Folders with event files in or below ``folder``."""
    for place, below, files in os.walk(folder, followlinks=False):
        below[:] = sorted(
            name for name in below
            if name not in NOT_LOOKED_AT and (finalists or not (name == FINALISTS and Path(place).name == EVENTS))
        )  # fmt: skip
        if any(EVENT_FILE in name for name in files):
            yield Path(place)


def unique_names(folders: Sequence[Path]) -> list[str]:
    """The name of every folder, numbered where one comes again: ``a``, ``a-2``."""
    names: list[str] = []
    for folder in folders:
        base = folder.resolve().name or "root"
        name, again = base, 1
        while name in names:
            again += 1
            name = f"{base}-{again}"
        names.append(name)
    return names
