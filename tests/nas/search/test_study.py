"""The run folder: journal, crash, lock, settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.search.study import Study
from search_spaces.errors import BadInput

SETTINGS = {"budget": ["3ms"], "seed": 0}
VERSIONS = {"nas": "0"}


def open_study(folder: Path, **changes: object) -> Study:
    return Study.open(folder, {**SETTINGS, **changes}, VERSIONS)


def test_records_come_back(tmp_path: Path) -> None:
    study = open_study(tmp_path / "run")
    study.append("checkpoint", {"seen": 1})
    study.append("checkpoint", {"seen": 2})
    study.append("other", {"x": [1.5, None, "ä"]})
    study.close()
    again = open_study(tmp_path / "run")
    assert again.latest("checkpoint") == {"seen": 2}
    assert again.latest("other") == {"x": [1.5, None, "ä"]}
    assert again.result is None
    again.append("done", {"ok": True})
    again.close()
    last = open_study(tmp_path / "run")
    assert last.result == {"ok": True}
    last.close()


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_last_line_is_dropped(tmp_path: Path, cut: int) -> None:
    study = open_study(tmp_path)
    study.append("checkpoint", {"seen": 1})
    study.append("checkpoint", {"seen": 2})
    study.close()
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-cut])
    again = open_study(tmp_path)
    assert again.latest("checkpoint") == {"seen": 1}
    assert "torn" in again.notes[0]
    again.append("checkpoint", {"seen": 3})
    again.close()
    last = open_study(tmp_path)
    assert last.latest("checkpoint") == {"seen": 3}
    last.close()


@pytest.mark.parametrize("line", [0, 1])
def test_damage_is_refused_with_its_line(tmp_path: Path, line: int) -> None:
    study = open_study(tmp_path)
    study.append("checkpoint", {"seen": 1})
    study.append("checkpoint", {"seen": 2})
    study.close()
    journal = tmp_path / "journal.jsonl"
    lines = journal.read_text().splitlines()
    lines[line] = lines[line].replace("seen", "sean")
    journal.write_text("\n".join(lines) + "\n")
    with pytest.raises(BadInput, match=f"line {line + 1} does not match its checksum"):
        open_study(tmp_path)


def test_garbage_is_refused(tmp_path: Path) -> None:
    open_study(tmp_path).close()
    (tmp_path / "journal.jsonl").write_bytes(b"\x00\xff not json\nmore\n")
    with pytest.raises(BadInput, match="line 1 is not a journal record"):
        open_study(tmp_path)


def test_other_settings_are_named(tmp_path: Path) -> None:
    open_study(tmp_path).close()
    with pytest.raises(BadInput, match="seed=0, not 1"):
        open_study(tmp_path, seed=1)
    Study.open(tmp_path, {**SETTINGS, "seed": 1}, VERSIONS, fresh=True).close()


def test_one_search_at_a_time(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    with pytest.raises(BadInput, match="in use by another search"):
        open_study(tmp_path)
    study.close()
    open_study(tmp_path).close()


def test_unwritable_and_unreadable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="cannot write run folder"):
        open_study(tmp_path / "file")
    with pytest.raises(BadInput, match="cannot write run folder"):
        open_study(Path("/proc/nope/run"))
    open_study(tmp_path / "run").close()
    (tmp_path / "run" / "settings.yaml").write_text("[")
    with pytest.raises(BadInput, match="start over with --fresh"):
        open_study(tmp_path / "run")


def test_fresh_keeps_what_is_not_ours(tmp_path: Path) -> None:
    open_study(tmp_path).close()
    (tmp_path / "mine.txt").write_text("keep")
    Study.open(tmp_path, SETTINGS, VERSIONS, fresh=True).close()
    assert (tmp_path / "mine.txt").read_text() == "keep"
