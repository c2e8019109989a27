"""The journal of a calibration resumes, and drops what it cannot read."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.devices.calibration.journal import Journal, Visit


def test_journal_goes_on_and_cuts_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    first = Journal(path, {"seed": 1, "models": ("a", "b")})
    first.add(Visit("x", 1, 2.5, 9, 1.25), 1.0)
    first.fail("y", "cannot be run", 2.0)
    first.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"task": "z", "pa')
    again = Journal(path, {"seed": 1, "models": ("a", "b")})
    assert (
        again.resumed
        and again.visits == [Visit("x", 1, 2.5, 9, 1.25)]
        and again.failed == {"y": "cannot be run"}
        and again.spent_s == 2.0
    )
    again.close()
    assert path.read_bytes() == whole
    other = Journal(path, {"seed": 2, "models": ("a", "b")})
    assert not other.resumed and not other.visits
    other.close()


def test_a_journal_that_holds_nonsense_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for text in (
        b"\xff\xfe\n",
        b'{"seed": 1}\n{"task": "x"}\n',
        b'{"seed": 1}\n[1]\n',
        b'{"seed": 1}\n{"task": "x", "pass": 1, "ms": -3, "runs": 2, "reference_ms": 1, "spent_s": 1}\n',
        b'{"seed": 1}\n{"task": "x", "pass": 1, "ms": 3, "runs": 2, "spent_s": 1}\n',
    ):
        path.write_bytes(text)
        journal = Journal(path, {"seed": 1})
        journal.close()
        assert not journal.visits and not journal.resumed, text


def test_a_machine_that_changes_its_speed_is_divided_out(tmp_path: Path) -> None:
    """Speeds of 1, 0.5 and 0.8 pass by pass: the times are those at the speed in the middle, without noise."""
    journal = Journal(tmp_path / "journal.jsonl", {})
    for number, speed in enumerate((1.0, 0.5, 0.8), start=1):
        for name, ms in (("small", 2.0), ("large", 30.0)):
            journal.add(Visit(name, number, ms / speed, 5, 1.2 / speed), 0.0)
    assert journal.reference_ms == pytest.approx(1.5)
    assert journal.times_ms() == pytest.approx({"small": 2.5, "large": 37.5})
    assert journal.rounds_ms("large") == pytest.approx((37.5,) * 3)
    assert journal.noise_percent() == pytest.approx(0.0, abs=1e-9)
    assert journal.drift_percent() == pytest.approx(79, abs=1)  # factors of 2 and 1.6: exp of their mean logarithm
    journal.close()
