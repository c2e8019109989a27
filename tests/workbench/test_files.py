"""Atomic writing."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.errors import BadInput
from workbench.files import check_seal, replacing, seal, write_atomic


def test_writes_and_replaces(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a" / "b.txt", "one")
    write_atomic(tmp_path / "a" / "b.txt", b"two")
    assert (tmp_path / "a" / "b.txt").read_text() == "two"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    write_atomic(tmp_path / "b.txt", "old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "b.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert (tmp_path / "b.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadInput, match="folder"):
        write_atomic(tmp_path / "folder", "x")
    with pytest.raises(BadInput, match="cannot write"):
        write_atomic("/proc/nope/x", "x")


def test_a_sealed_file_shows_every_change(tmp_path: Path) -> None:
    file = tmp_path / "state.bin"
    for size in (0, 1, 3_000_000):
        file.write_bytes(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
        with pytest.raises(BadInput, match="cut short"):
            check_seal(file)
        seal(file)
        check_seal(file)
        whole = file.read_bytes()
        for place in {0, len(whole) // 2, len(whole) - 1}:
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(BadInput):
                check_seal(file)
        file.write_bytes(whole[:-1])
        with pytest.raises(BadInput):
            check_seal(file)
