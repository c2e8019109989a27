"""The result of a study as text and table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cv2")
from nas.tuning.ranges import Range
from nas.tuning.result import TuningResult


def trial(number: int, state: str, ap: float | None, reason: str = "") -> dict[str, Any]:
    return {"number": number, "state": state, "ap": ap, "settings": {"lr": 0.01 * (number + 1)}, "reason": reason}


TRIALS = [trial(0, "complete", 0.2), trial(1, "complete", 0.3), trial(2, "pruned", None), trial(3, "fail", None, "NaN")]
RESULT = TuningResult(Path("runs/t"), TRIALS[1], TRIALS, (Range("lr", 0.01, 0.1, log=True),), "nas train tiny.yaml")


def test_the_table_ranks_completed_trials() -> None:
    assert RESULT.to_table() == (["trial", "AP", "lr"], [[2, 0.3, 0.02], [1, 0.2, 0.01]])
    assert RESULT.counts == {"complete": 2, "pruned": 1, "fail": 1, "running": 0}


def test_the_text_counts_trials_and_names_the_next_command() -> None:
    text = str(RESULT)
    assert "4 trials: 2 completed, 1 ended early, 1 failed" in text and "trial 4 failed: NaN" in text
    assert text.endswith("next: nas train tiny.yaml")
