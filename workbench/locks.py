"""A lock that lets one process at a time use a folder. The operating system releases it when the process ends."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from workbench.errors import BadInput

NAME = ".lock"


class InUse(BadInput):
    """Another process holds the lock."""


def lock_folder(folder: Path, what: str, option: str, place: str = "", whole_process: bool = False) -> IO[str]:
    """Create ``folder`` and lock it until the returned file is closed.

    Child processes inherit the lock and hold it while they live. With ``whole_process`` they do not, and only other
    processes are excluded.

    Args:
        what: name of the kind of folder, for errors.
        option: the option that chooses another folder, for errors.
        place: options that put the folder elsewhere, if not ``option``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / NAME).open("w")
    except OSError as error:
        reason = f"{error.strerror or error}; choose another with {place or option}"
        raise BadInput(f"cannot write {what} {str(folder)!r}: {reason}") from error
    try:
        take_lock(lock, folder, what, option, place, whole_process)
    except BaseException:
        lock.close()
        raise
    return lock


def take_lock(
    file: IO[Any], folder: Path, what: str, option: str, place: str = "", whole_process: bool = False
) -> None:
    """Lock an open ``file`` of ``folder`` until it is closed; the other arguments are those of ``lock_folder``."""
    try:
        import fcntl
    except ModuleNotFoundError:
        return  # Windows has no such locks: nothing is excluded there
    try:
        (fcntl.lockf if whole_process else fcntl.flock)(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            wait = f"wait for it, or choose another {option}"
            raise InUse(f"{what} {str(folder)!r} is in use by another run: {wait}") from error
        reason = f"{error.strerror or error}; choose a folder of this machine with {place or option}"
        raise BadInput(f"cannot lock {what} {str(folder)!r}: {reason}") from error


@contextmanager
def file_turn(file: Path) -> Iterator[None]:
    """Wait for other processes that change files of the same folder this way, so that no change is lost."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"cannot write {str(file)!r}: {error.strerror or error}") from error
    try:
        import fcntl
    except ModuleNotFoundError:
        yield  # Windows has no such locks
        return
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
