"""A comparison as text, table and plain data."""

from __future__ import annotations

import json

from nas.comparison.comparison import FORMAT, Comparison
from nas.comparison.rows import PREDICTED, PUBLISHED, SEARCHED, ZOO, Accuracy, Axis, ComparisonRow, Reading, Series


def row(name: str, kind: str, ms: float, ap: float | None) -> ComparisonRow:
    accuracy = None if ap is None else Accuracy(ap, PUBLISHED, "source")
    values = {"t4": Reading(ms, 0.9 * ms, 1.1 * ms)}
    return ComparisonRow(name, kind, kind, 640, 10**6, 10**9, "needed", "yours", values, accuracy)


COMPARISON = Comparison(
    rows=(row("slow", ZOO, 3.0, 40.0), row("fast", ZOO, 1.0, 45.0), row("mine", SEARCHED, 2.0, None)),
    axes=(Axis("t4", PREDICTED, "t4", "ms"),),
    series=(Series(PUBLISHED, "published AP"),),
    notes=("something was left out",),
)


def test_the_table_has_own_rows_first_and_marks_the_front() -> None:
    header, rows = COMPARISON.to_table()
    assert header == [
        "network", "family", "px", "published AP", "own AP", "predicted ms, t4", "GFLOPs", "Mparams", "NMS", "weights",
    ]  # fmt: skip
    assert [cells[0] for cells in rows] == ["mine", "slow", "fast"]
    assert rows[0][3:6] == ["–", "–", "2.00 (1.80–2.20)"] and rows[2][3:6] == ["45.0", "–", "1.00* (0.900–1.10)"]


def test_it_prints_its_sentences_and_notes() -> None:
    lines = str(COMPARISON).splitlines()
    assert lines[:-1] == COMPARISON.sentences() and lines[-1] == "note: something was left out"


def test_plain_data_is_json() -> None:
    data = json.loads(json.dumps(COMPARISON.to_dict(), allow_nan=False))
    assert data["format"] == FORMAT and data["verdicts"] == COMPARISON.sentences()
    assert data["fronts"] == [{"axis": "t4", "series": PUBLISHED, "members": ["fast"], "open": [], "of": 2}]
    assert data["rows"][1]["values"] == {"t4": {"value": 1.0, "interval": [0.9, 1.1]}}
