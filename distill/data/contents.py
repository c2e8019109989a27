"""The content of a run's images: their hashes are kept beside the run, so that a changed image is seen on resuming."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from distill.data.dataset import DataSet
from distill.data.formats.image_headers import map_in_threads
from workbench.doors.json import read_json
from workbench.errors import BadInput
from workbench.files import file_sha256, write_atomic

FILE = "data-contents.json"
FORMAT = "nas-data-contents-1"
SHOWN = 3
"""Names of changed images in an error."""

Entry = tuple[int, int, str]
"""Size in bytes, time of the last change in ns, and SHA-256; a missing file is ``MISSING``."""
MISSING: Entry = (-1, -1, "")

_HASHED: dict[tuple[str, int, int], str] = {}
"""Hashes of this process by path, size and time: the trials of a study read the same images."""


def contents_of(data: Sequence[DataSet], known: dict[str, Entry] | None = None) -> dict[str, Entry]:
    """The entry of every image of ``data`` by its path; those whose size and time are in ``known`` are not read."""
    files = sorted({str(picture.file) for part in data for picture in part.pictures})
    before = known or {}
    entries = map_in_threads(lambda file: _entry(file, before.get(file)), files)
    return dict(zip(files, entries, strict=True))


def contents_digest(data: DataSet) -> str:
    """SHA-256 of names and content of the images of ``data``, in their order."""
    found, digest = contents_of([data]), hashlib.sha256()
    for picture in data.pictures:
        digest.update(f"{picture.file.name}:{found[str(picture.file)][2]}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def check_contents(folder: Path, data: Sequence[DataSet], accept: bool, log: Callable[[str], None]) -> None:
    """Keep the hashes of all images in the run's ``folder``, and refuse images that changed since.

    Args:
        accept: go on with changed images, which are named and kept.
    """
    file = folder / FILE
    known = _read(file, accept) if file.exists() else {}
    found = contents_of(data, known)
    found = {path: entry for path, entry in found.items() if entry != MISSING or path in known}
    changed = [path for path, entry in found.items() if path in known and known[path][2] != entry[2]]
    if changed:
        names = ", ".join(changed[:SHOWN]) + (f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else "")
        if not accept:
            raise BadInput(
                f"{len(changed)} of {len(found)} images changed since this run began: {names}; restore them, go on "
                "with --accept-changed-data, or start over with --fresh"
            )
        log(f"{len(changed)} of {len(found)} images changed since this run began, and are accepted: {names}")
    if found != known:
        write_atomic(file, json.dumps({"format": FORMAT, "sum": _checksum(found), "files": found}))


def _entry(path: str, known: Entry | None) -> Entry:
    try:
        state = Path(path).stat()
        key = (path, state.st_size, state.st_mtime_ns)
        if known is not None and known[:2] == key[1:]:
            _HASHED[key] = known[2]
        if key not in _HASHED:
            _HASHED[key] = file_sha256(path)
    except OSError:
        return MISSING  # the loader reports it
    return (*key[1:], _HASHED[key])


def _read(file: Path, accept: bool) -> dict[str, Entry]:
    """The entries in a file; a damaged one is refused, or left unread where changes are accepted."""
    try:
        data: Any = read_json(file)
    except BadInput:
        if accept:
            return {}
        raise
    files = data.get("files") if isinstance(data, dict) and data.get("format") == FORMAT else None
    if isinstance(files, dict) and data.get("sum") == _checksum(files):
        return {path: tuple(entry) for path, entry in files.items()}
    if accept:
        return {}
    raise BadInput(
        f"{str(file)!r} was changed or damaged, so changed images cannot be told: restore it, go on with "
        "--accept-changed-data, or start over with --fresh"
    )


def _checksum(files: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
