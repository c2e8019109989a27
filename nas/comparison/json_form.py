"""A comparison as plain data: what ``--json`` prints and what the page's plot reads."""

from __future__ import annotations

import dataclasses
from typing import Any

from nas.comparison.fronts import front_sentences, fronts
from nas.comparison.rows import Comparison, ComparisonRow, Reading

FORMAT = "nas-compare-1"


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """JSON-ready, with stable keys."""
    return {
        "format": FORMAT,
        "verdicts": front_sentences(comparison),
        "notes": list(comparison.notes),
        "axes": [dataclasses.asdict(axis) for axis in comparison.axes],
        "series": [dataclasses.asdict(series) for series in comparison.series],
        "fronts": [dataclasses.asdict(front) for front in fronts(comparison)],
        "rows": [row_dict(row) for row in comparison.rows],
    }


def row_dict(row: ComparisonRow) -> dict[str, Any]:
    """One row; facts as pairs, readings as value and interval."""
    accuracy = row.accuracy
    return {
        "name": row.name, "kind": row.kind, "family": row.family, "input_px": row.input_px, "params": row.params, "flops": row.flops,
        "nms": row.nms, "licence": row.licence, "source": row.source, "digest": row.digest or None,
        "ap": None if accuracy is None else accuracy.ap, "series": None if accuracy is None else accuracy.series,
        "ap_source": None if accuracy is None else accuracy.source, "ap_note": None if accuracy is None else accuracy.note,
        "budget": None if accuracy is None or accuracy.budget is None else dataclasses.asdict(accuracy.budget),
        "values": {key: _reading(reading) for key, reading in row.values.items()},
        "facts": [list(fact) for fact in row.facts],
    }  # fmt: skip


def _reading(reading: Reading) -> dict[str, Any]:
    return {"value": reading.value, "interval": None if reading.low is None else [reading.low, reading.high]}
