"""One process at a time in a folder: its lock is a file there, and goes with the process, however that ends."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import IO

from workbench.errors import BadInput

NAME = ".lock"


class InUse(BadInput):
    """Another process is at work there."""


def lock_folder(folder: Path, what: str, option: str, place: str = "", whole_process: bool = False) -> IO[str]:
    """Make ``folder`` and keep others out until the file that is returned is closed.

    ``what`` the folder is and the ``option`` that names another stand in errors, and ``place`` where other options put it elsewhere. Children of the process keep its hold
    while they live; with ``whole_process`` they do not, and only other processes are kept out.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / NAME).open("w")
    except OSError as error:
        raise BadInput(f"cannot write {what} {str(folder)!r}: {error.strerror or error}; choose another with {place or option}") from error
    try:
        import fcntl
    except ModuleNotFoundError:
        return lock  # Windows has no such locks: there nobody is kept out
    try:
        (fcntl.lockf if whole_process else fcntl.flock)(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise InUse(f"{what} {str(folder)!r} is in use by another run: wait for it, or choose another {option}") from error
        raise BadInput(f"cannot lock {what} {str(folder)!r}: {error.strerror or error}; choose a folder of this machine with {place or option}") from error
    return lock
