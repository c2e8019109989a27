"""What a data set holds, as text, as a table and as a sheet of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("PIL")

from distill.data.check.doctor import examine
from distill.data.overview import overview, sample_sheet
from tests.distill.data import made


def test_an_overview_prints_and_turns_into_a_table(tmp_path: Path) -> None:
    shown = overview(made.clean(tmp_path / "data"))
    assert list(shown.splits) == ["train", "val"]
    rows = {row["class"]: row for row in shown.to_table()}
    assert rows["bolt"]["number"] == 2 and rows["bolt"]["id"] == 90 and rows["bolt"]["objects in val"] == 1
    assert all(name in str(shown) for name in ("train", "val", *rows))
    assert shown.to_dict()["splits"]["train"]["images"] == 3


def test_a_sheet_follows_from_its_seed(tmp_path: Path) -> None:
    data = overview(made.clean(tmp_path / "data")).splits["train"]
    sheet = sample_sheet(data, 1)
    assert sheet.size == (3 * 320, 320)
    assert np.array_equal(np.asarray(sheet), np.asarray(sample_sheet(data, 1)))


def test_a_report_prints_its_findings(tmp_path: Path) -> None:
    report = examine(made.clean(tmp_path / "data"))
    text = str(report)
    assert report.summary() in text and all(finding.code in text for finding in report.findings)
    assert [row["code"] for row in report.to_table()] == [finding.code for finding in report.findings]
