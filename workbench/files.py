"""Atomic writes, where a crash leaves the old file or the new one, never a partial one; and hashes of files."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.errors import BadInput

SEAL = b"nas-sha256"
"""What stands before the checksum at the end of a sealed file."""


def write_atomic(path: str | Path, data: str | bytes) -> None:
    """Write ``data`` to ``path`` through a temporary file in the same folder and a rename."""
    with replacing(path) as temporary:
        temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path with the same suffix, which replaces ``path`` if the block succeeds."""
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
    except OSError as error:
        raise BadInput(f"cannot write {str(target)!r}: {error.strerror or error}") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, target)
    except OSError as error:
        reason = f"{error.strerror or error}; what stood there before is unchanged"
        raise BadInput(f"cannot write {str(target)!r}: {reason}") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder beside ``out`` that becomes ``out`` if the block succeeds, and is removed otherwise."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise BadInput(f"{out}: cannot be written ({error.strerror or error})") from error
    try:
        yield folder
        folder.chmod(0o777 & ~_umask())
        os.replace(folder, out)
    except OSError as error:
        raise BadInput(f"{out}: cannot be written ({error.strerror or error}); nothing is left behind") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    umask = os.umask(0)
    os.umask(umask)
    return umask


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def seal(path: str | Path) -> None:
    """Append the SHA-256 of what a file holds, so that ``check_seal`` notices any change."""
    digest = bytes.fromhex(file_sha256(path))
    with Path(path).open("ab") as file:
        file.write(SEAL + digest)


def check_seal(path: str | Path) -> None:
    """Refuse a file that ``seal`` did not end, or that was changed since."""
    size = len(SEAL) + hashlib.sha256().digest_size
    found = hashlib.sha256()
    with Path(path).open("rb") as file:
        left = file.seek(0, os.SEEK_END) - size
        file.seek(0)
        while left > 0 and (block := file.read(min(left, 1 << 20))):
            found.update(block)
            left -= len(block)
        end = file.read()
    if end[: len(SEAL)] != SEAL:
        raise BadInput("it does not end in its checksum: it was cut short, or another version wrote it")
    if end[len(SEAL) :] != found.digest():
        raise BadInput("its checksum does not match: it was damaged or changed")
