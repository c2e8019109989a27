"""Changed images: named and refused on resuming, unless they are accepted."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from distill.data import contents
from distill.data.classes import ClassMap
from distill.data.contents import FILE, check_contents, contents_digest
from distill.data.dataset import DataSet, Picture
from workbench.errors import BadInput


def quiet(text: str) -> None:
    """No log."""


def data_of(folder: Path, count: int = 5) -> DataSet:
    """A data set of files that are read as bytes alone."""
    none = np.zeros(0)
    pictures = []
    for number in range(count):
        file = folder / f"{number}.png"
        file.write_bytes(bytes([number]) * 100)
        pictures.append(Picture(number, file, 8, 8, np.zeros((0, 4)), none, none, none))
    return DataSet(folder, "train", ClassMap(("thing",), (1,)), tuple(pictures))


def repaint(file: Path, value: int) -> None:
    """Other pixels of the same number of bytes."""
    file.write_bytes(bytes([value]) * 100)
    os.utime(file, ns=(1, file.stat().st_mtime_ns + 1000 + value))


def test_changed_images_are_named_and_refused_until_they_are_accepted(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    data = data_of(tmp_path)
    check_contents(run, [data], False, quiet)
    check_contents(run, [data], False, quiet)
    for number in (1, 3):
        repaint(data.pictures[number].file, 90 + number)
    with pytest.raises(BadInput, match=r"2 of 5 images changed since this run began: .*1\.png, .*3\.png.*--accept-"):
        check_contents(run, [data], False, quiet)
    said: list[str] = []
    check_contents(run, [data], True, said.append)
    assert "2 of 5 images changed" in said[0] and "1.png" in said[0]
    check_contents(run, [data], False, quiet)


def test_a_touched_or_missing_file_is_told_from_a_changed_one(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    data = data_of(tmp_path)
    check_contents(run, [data], False, quiet)
    os.utime(data.pictures[0].file, ns=(5, 5))
    check_contents(run, [data], False, quiet)
    data.pictures[2].file.unlink()
    with pytest.raises(BadInput, match=r"1 of 5 images changed .*2\.png"):
        check_contents(run, [data], False, quiet)


def test_any_flipped_byte_of_the_hashes_is_refused_or_harmless(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    data = data_of(tmp_path)
    check_contents(run, [data], False, quiet)
    whole = (run / FILE).read_bytes()
    for at in range(0, len(whole), 7):
        (run / FILE).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(BadInput):  # by its sum, or as no JSON; which byte it is depends on the folder's name
            check_contents(run, [data], False, quiet)
    for damaged in (b"{", whole.replace(b'"sum"', b'"sun"')):
        (run / FILE).write_bytes(damaged)
        check_contents(run, [data], True, quiet)
        assert (run / FILE).read_bytes() == whole


def test_an_image_that_was_missing_at_first_may_come_later(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    data = data_of(tmp_path)
    victim = data.pictures[2].file
    whole = victim.read_bytes()
    victim.unlink()
    check_contents(run, [data], False, quiet)
    victim.write_bytes(whole)
    check_contents(run, [data], False, quiet)
    victim.unlink()
    with pytest.raises(BadInput, match=victim.name):
        check_contents(run, [data], False, quiet)


def test_unchanged_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    run.mkdir()
    data = data_of(tmp_path)
    check_contents(run, [data], False, quiet)
    monkeypatch.setattr(contents, "_HASHED", {})
    monkeypatch.setattr(contents, "file_sha256", lambda path: pytest.fail(f"{path} is read again"))
    check_contents(run, [data], False, quiet)


def test_the_digest_depends_on_pixels(tmp_path: Path) -> None:
    data = data_of(tmp_path)
    before = contents_digest(data)
    assert contents_digest(data) == before
    repaint(data.pictures[4].file, 77)
    assert contents_digest(data) != before
