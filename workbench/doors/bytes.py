"""The bytes and the text of foreign files: regular files only, plain or gzipped, up to a stated size."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

from workbench.errors import BadInput

MOST_TEXT_BYTES = 64 * 2**20
"""Largest text file, unless a format says otherwise."""
MOST_LINE = 32 * 2**20
"""Longest line, in bytes."""
BLOCK = 1 << 20
"""Bytes that are unpacked at a time."""


def check_regular(path: str | Path, what: str = "", most_bytes: int | None = None) -> int:
    """The size in bytes of a regular file, or the error for anything else: a folder, a pipe, a device.

    Args:
        what: the kind of file, for errors: ``space``.
        most_bytes: the largest size that is read.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise _unreadable(path, what, error) from error
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, a device or a socket"
        raise BadInput(f"{_cannot_read(path, what)}: it is {kind}: give a regular file")
    if most_bytes is not None and found.st_size > most_bytes:
        raise BadInput(
            f"{_cannot_read(path, what)}: it has {found.st_size:,} bytes, and at most {most_bytes:,} are read; "
            "is it the right file?"
        )
    return found.st_size


def read_bytes(path: str | Path, what: str = "", most_bytes: int = MOST_TEXT_BYTES) -> bytes:
    """The content of a regular file, unpacked if its name ends in ``.gz``, of at most ``most_bytes``."""
    check_regular(path, what, most_bytes)
    try:
        with Path(path).open("rb") as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise _unreadable(path, what, error) from error
    if Path(path).suffix == ".gz":
        return unpack(data, path, most_bytes)
    if len(data) > most_bytes:
        raise BadInput(f"{_cannot_read(path, what)}: more than {most_bytes:,} bytes: is it the right file?")
    return data


def read_text(path: str | Path, what: str = "", most_bytes: int = MOST_TEXT_BYTES) -> str:
    """The text of a regular file in UTF-8, without a byte order mark; see ``read_bytes``."""
    return decode(read_bytes(path, what, most_bytes), path)


def read_lines(
    path: str | Path, what: str = "", most_bytes: int = MOST_TEXT_BYTES, most_line: int = MOST_LINE
) -> Iterator[tuple[int, str]]:
    """Numbers, from 1 on, and texts of the lines that are not blank; see ``read_bytes``."""
    for number, line in enumerate(read_bytes(path, what, most_bytes).split(b"\n"), start=1):
        if len(line) > most_line:
            raise BadInput(f"{str(path)!r}, line {number} has {len(line):,} bytes: {most_line:,} at most")
        if line.strip():
            yield number, decode(line, f"{path}, line {number}")


def decode(data: bytes, where: str | Path) -> str:
    """UTF-8 bytes as text, without a byte order mark."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{str(where)!r} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error


def unpack(data: bytes, where: str | Path, most_bytes: int) -> bytes:
    """The content of gzipped ``data``, of at most ``most_bytes``; nothing beyond that is unpacked."""
    return b"".join(unpacked_blocks(data, where, most_bytes))


def unpacked_blocks(data: bytes, where: str | Path, most_bytes: int) -> Iterator[bytes]:
    """``unpack`` a block of at most a mebibyte at a time."""
    view, at, total, left = memoryview(data), 0, 0, b""
    member = None
    try:
        while left or at < len(view) or member is not None:
            if not left:
                left, at = bytes(view[at : at + BLOCK]), at + BLOCK
            if member is None:
                left = left.lstrip(b"\0")  # the padding that tape archives have between members
                member = zlib.decompressobj(wbits=31) if left else None
                continue
            ended = not left
            block = member.decompress(left, BLOCK)
            left, total = member.unconsumed_tail, total + len(block)
            if total > most_bytes:
                most = f"{most_bytes:,} bytes"
                raise BadInput(f"{_cannot_read(where)}: it unpacks to more than {most}; is it the right file?")
            if ended and not block and not member.eof:
                raise BadInput(f"{_cannot_read(where)}: its gzip data ends early; get the file anew")
            yield block
            if member.eof:
                left, member = member.unused_data, None
    except zlib.error as error:
        raise BadInput(f"{_cannot_read(where)}: no gzip data, or damaged ({error}): get the file anew") from error


def _cannot_read(path: str | Path, what: str = "") -> str:
    return f"cannot read {what} {str(path)!r}" if what else f"cannot read {str(path)!r}"


def _unreadable(path: str | Path, what: str, error: Exception) -> BadInput:
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    return BadInput(f"{_cannot_read(path, what)}: {reason}")
