"""Records of one view on disk, and their checksums.

A view has two files: the records, image after image, and one mark each, which is written after its record and contains
its CRC-32. A torn or damaged record does not match its mark and counts as missing.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from distill.train.parallel.group import group
from workbench.errors import BadInput

PRESENT = 1 << 32
"""A mark is this plus the record's CRC-32; 0 where there is no record."""


class ViewFile:
    """Records of the first images whose records fit into ``budget`` bytes.

    Args:
        path: of both files, without a suffix.
        sizes: bytes of each image's record, int64 ``[images]``.
    """

    def __init__(self, path: Path, sizes: np.ndarray, budget: int) -> None:
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self.capacity = int(np.searchsorted(self._starts, max(budget, 0), side="right")) - 1
        """Number of images whose records fit."""
        self.capacity_bytes = int(self._starts[self.capacity])
        self.damaged = 0
        """Records whose checksum did not match, since it was last reset."""
        self._path = path
        self._handles: list[int] = []
        self._dirty = False
        self._marks = np.zeros(self.capacity, np.uint64)
        self._verified = np.zeros(self.capacity, bool)
        if not self.capacity:
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            self._handles = [os.open(path.with_suffix(suffix), flags, 0o666) for suffix in (".records", ".marks")]
            written = os.pread(self._handles[1], 8 * self.capacity, 0)
        except OSError as error:
            raise disk_error(path, error) from error
        marks = np.frombuffer(written[: len(written) // 8 * 8], "<u8")
        self._marks[: len(marks)] = marks

    @property
    def present(self) -> int:
        """Number of records on disk."""
        return int(np.count_nonzero(self._marks))

    @property
    def present_bytes(self) -> int:
        """Their size."""
        sizes = self._starts[1 : self.capacity + 1] - self._starts[: self.capacity]
        return int(sizes[self._marks != 0].sum())

    def read(self, indices: Sequence[int], rows: np.ndarray) -> list[bool]:
        """Read records into ``rows`` uint8 ``[records, bytes]``; which of them are present and intact."""
        return [self._read(index, row) for index, row in zip(indices, rows, strict=True)]

    def _read(self, index: int, row: np.ndarray) -> bool:
        mark = int(self._marks[index]) or self._mark_of_other_process(index)
        if not mark:
            return False
        try:
            count = os.preadv(self._handles[0], [row.data], int(self._starts[index]))
        except OSError as error:
            raise disk_error(self._path, error) from error
        if count < row.size or (not self._verified[index] and mark != PRESENT | zlib.crc32(row.data)):
            self.damaged += 1
            self._marks[index] = 0
            return False
        self._verified[index] = True
        return True

    def _mark_of_other_process(self, index: int) -> int:
        """The mark of a record that another process of the run has written; 0 where there is none."""
        if group().world == 1:
            return 0
        try:
            written = os.pread(self._handles[1], 8, 8 * index)
        except OSError as error:
            raise disk_error(self._path, error) from error
        self._marks[index] = int.from_bytes(written, "little") if len(written) == 8 else 0
        return int(self._marks[index])

    def write(self, index: int, record: np.ndarray) -> None:
        """Write a record, then its mark."""
        mark = PRESENT | zlib.crc32(record.data)
        try:
            _write_all(self._handles[0], record, int(self._starts[index]))
            _write_all(self._handles[1], np.array([mark], "<u8"), 8 * index)
        except OSError as error:
            raise disk_error(self._path, error) from error
        self._marks[index], self._verified[index], self._dirty = mark, True, True

    def flush(self) -> None:
        """Wait until all records are on disk."""
        if self._dirty:
            try:
                for handle in self._handles:
                    os.fsync(handle)
            except OSError as error:
                raise disk_error(self._path, error) from error
            self._dirty = False

    def close(self) -> None:
        """Close the files. May be called again."""
        while self._handles:
            os.close(self._handles.pop())


def _write_all(handle: int, data: np.ndarray, offset: int) -> None:
    rest = memoryview(data.data).cast("B")
    while rest:
        count = os.pwrite(handle, rest, offset)
        rest, offset = rest[count:], offset + count


def disk_error(path: Path, error: OSError) -> BadInput:
    """The error of a file below a cache folder, with the way out."""
    return BadInput(
        f"teacher cache {str(path.parent)!r}: {error.strerror or error}; free some disk space, or give the cache less "
        "with --cache-gb or another folder with --cache; the run resumes from its last state"
    )
