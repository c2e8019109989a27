"""The list of entries: order, columns, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json

import pytest

from nas.detectors.atlas import Atlas
from nas.detectors.listing import listed
from workbench.errors import BadInput


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("ap", [40.0, 35.0, 32.0, 30.0]),
        ("params", [32.0, 30.0, 40.0, 35.0]),
        ("activations", [32.0, 30.0, 40.0, 35.0]),
        ("board_fp32", [32.0, 30.0, 40.0, 35.0]),
        ("t4", [32.0, 30.0, 40.0, 35.0]),
        ("family", [40.0, 32.0, 30.0, 35.0]),
        ("recipe", [35.0, 40.0, 30.0, 32.0]),
        ("px", [40.0, 32.0, 30.0, 35.0]),
    ],
)
def test_order(atlas: Atlas, sort: str, order: list[float]) -> None:
    listing = listed(atlas, sort, ["board_fp32", "t4"])
    header, rows = listing.to_table()
    assert [row[header.index("AP")] for row in rows] == order


def test_columns_and_text(atlas: Atlas) -> None:
    listing = listed(atlas, "ap", ["board_int8"], top=2, notes=["how to add more"])
    records = listing.to_records()
    assert records[0]["ms, board_int8"] is None and records[0]["Mparams"] == 0.024528
    assert records[1] == records[1] | {"network": "beta-s", "size": "larger image", "licence": "not known"}
    lines = str(listing).splitlines()
    assert lines[-2:] == ["2 entries, 2 networks, 2 families", "how to add more"]


def test_an_unknown_column_is_refused(atlas: Atlas) -> None:
    with pytest.raises(BadInput, match="unknown column to sort by 'speed'"):
        listed(atlas, "speed", [])
    with pytest.raises(BadInput, match="unknown cost, latency column or device 'bord': did you mean board_"):
        listed(atlas, "ap", ["bord"])
    with pytest.raises(BadInput, match="could be board_fp32_ms, board_int8_ms"):
        listed(atlas, "ap", ["board"])


def test_csv_and_json_hold_what_the_table_shortens(atlas: Atlas) -> None:
    listing = listed(atlas, "ap", ["board_fp32"])
    rows = list(csv.DictReader(io.StringIO(listing.to_csv())))
    assert [float(row["ap"]) for row in rows] == [0.4, 0.35, 0.32, 0.3]
    assert rows[2]["traits"] == "scratch teacher" and rows[1]["fit_for_use"] == "False"
    assert rows[1]["board_fp32_ms"] == "" and rows[0]["board_fp32_ms"] == "6.5"
    told = json.loads(json.dumps(listing.to_dict(), allow_nan=False))
    assert told["entries"][1]["size"]["mark"] == "larger image" and told["entries"][1]["recipe"]["objects365"]
    assert told["entries"][0]["costs"]["board_fp32_ms"] == 6.5
