"""Regular files only, and no more bytes than allowed."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from pathlib import Path

import pytest

from workbench.doors.bytes import check_regular, read_bytes, read_lines, read_text, unpack
from workbench.errors import BadInput


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbfone\n\n two\n")
    assert read_text(file) == "one\n\n two\n" and check_regular(file) == 13
    assert list(read_lines(file)) == [(1, "one"), (3, " two")]


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "circle").symlink_to("circle")
    for name, rule in (
        ("pipe", "a pipe, a device"),
        ("zero", "a pipe, a device"),
        (".", "a folder"),
        ("none", "No such"),
    ):
        with pytest.raises(BadInput, match=rule):
            read_bytes(tmp_path / name, "space")
    for name in ("circle", "x" * 300, "nul\0"):
        with pytest.raises(BadInput, match="cannot read"):
            read_bytes(tmp_path / name)


def test_sizes_are_limited_packed_and_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "a.gz"
    file.write_bytes(gzip.compress(bytes(50_000_000)))
    tracemalloc.start()
    with pytest.raises(BadInput, match="unpacks to more than 1,000,000 bytes"):
        read_bytes(file, most_bytes=1_000_000)
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()
    (tmp_path / "a.txt").write_bytes(b"x" * 11)
    with pytest.raises(BadInput, match="11 bytes, and at most 10 are read"):
        read_bytes(tmp_path / "a.txt", most_bytes=10)
    with pytest.raises(BadInput, match="line 1 has 11 bytes"):
        list(read_lines(tmp_path / "a.txt", most_line=10))


@pytest.mark.parametrize("data", [b"", b"x" * 10, os.urandom(3_000_000), bytes(5_000_000)], ids=len)
def test_gzip_comes_back_whole_or_not_at_all(data: bytes) -> None:
    packed = gzip.compress(data)
    for joined, whole in ((packed, data), (packed + packed, data + data), (packed + bytes(9), data)):
        assert unpack(joined, "f", 1 << 24) == whole
    for broken in (
        packed[:-1],
        packed[: len(packed) // 2],
        packed[:-8] + bytes(8) if data else b"\x1f\x8b\x09",
        packed + b"x",
    ):
        with pytest.raises(BadInput, match=r"ends early|no gzip data"):
            unpack(broken, "f", 1 << 24)
