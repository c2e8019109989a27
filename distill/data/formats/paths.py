"""Paths and the description of a data set, which may be hostile.

A path is followed only if its target, symbolic links resolved, is inside one of the roots and a regular file. Roots are
what the user named: the data's folder, and folders that the file they gave names. Folders are listed once and cached,
so that checking a hundred thousand paths costs a few listings.
"""

from __future__ import annotations

import os
from pathlib import Path, PureWindowsPath
from typing import Any

from workbench.doors.yaml import read_yaml
from workbench.errors import BadInput

MAX_YAML_BYTES = 2**20

OUTSIDE = "outside"
MISSING = "missing"


class DataFiles:
    """The files below ``roots``, by paths relative to any folder in them."""

    def __init__(self, *roots: Path) -> None:
        self._roots = tuple(dict.fromkeys(os.path.realpath(root) for root in roots))
        self._prefixes = tuple(root.rstrip(os.sep) + os.sep for root in self._roots)
        self._listed: dict[str, tuple[str, dict[str, bool]] | str] = {}

    def is_inside(self, path: str | Path) -> bool:
        """Whether ``path``, links resolved, is a root or below one."""
        real = os.path.realpath(path)
        return real in self._roots or real.startswith(self._prefixes)

    def find(self, folder: Path, name: str) -> Path | str:
        """The regular file ``name`` below ``folder`` (or an absolute one), or ``OUTSIDE``, or ``MISSING``."""
        if "\0" in name or not name:
            return MISSING
        if "\\" in name:
            name = PureWindowsPath(name).as_posix()
        parent, base = os.path.split(os.path.join(str(folder), name))
        listing = self._list(parent)
        if isinstance(listing, str):
            return listing
        real, names = listing
        kind = names.get(base)
        if kind is None:
            return MISSING if self.is_inside(os.path.join(real, base)) else OUTSIDE
        if kind:
            return Path(real + os.sep + base)
        # a link, or no regular file
        target = os.path.realpath(os.path.join(real, base))
        if not self.is_inside(target):
            return OUTSIDE
        return Path(target) if os.path.isfile(target) else MISSING

    def files(self, folder: Path, suffixes: tuple[str, ...]) -> list[str]:
        """Names of regular files and links in ``folder`` itself with one of ``suffixes``, sorted; no hidden ones."""
        listing = self._list(str(folder))
        if isinstance(listing, str):
            return []
        return sorted(n for n in listing[1] if n.lower().endswith(suffixes) and not n.startswith("."))

    def _list(self, folder: str) -> tuple[str, dict[str, bool]] | str:
        """Resolved path of ``folder``, and its entries: true for regular files, false for links and others."""
        known = self._listed.get(folder)
        if known is None:
            known = self._listed[folder] = self._read(folder)
        return known

    def _read(self, folder: str) -> tuple[str, dict[str, bool]] | str:
        try:
            if not self.is_inside(folder):
                return OUTSIDE
            real = os.path.realpath(folder)
            with os.scandir(real) as entries:
                others = (entry for entry in entries if not entry.is_dir(follow_symlinks=False))
                return real, {entry.name: entry.is_file(follow_symlinks=False) for entry in others}
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return MISSING
        except OSError as error:
            if len(folder) > 1000:
                return MISSING  # a name too long for any file system
            raise BadInput(f"{folder}: cannot be listed ({error.strerror or error})") from error


def read_description(file: Path) -> dict[str, Any]:
    """The mapping of a YAML file that describes a data set."""
    data = read_yaml(file, most_bytes=MAX_YAML_BYTES)
    if not isinstance(data, dict):
        raise BadInput(f"{file}: must be a mapping with train, val and names, and is a {type(data).__name__}")
    return data
