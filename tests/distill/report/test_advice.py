"""What the figures suggest."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("pycocotools")

from distill.report.advice import advice
from distill.train.evaluate import evaluate_detections
from tests.distill.train.test_evaluate import DATA, PERFECT


def history(*aps: float) -> list[dict[str, Any]]:
    return [{"epoch": number, "ap": ap, "losses": {}} for number, ap in enumerate(aps, start=1)]


def test_more_epochs_while_ap_rises_and_fewer_where_it_fell() -> None:
    result = evaluate_detections(DATA, PERFECT)
    assert "more epochs" in advice(history(0.1, 0.2, 0.3, 0.4), 4, result)[0]
    assert "The best epoch is 1 of 4" in advice(history(0.5, 0.4, 0.4, 0.4), 1, result)[0]
    assert "epoch" not in " ".join(advice(history(0.4, 0.5, 0.5, 0.501), 4, result))
    assert "nearly 0" in advice(history(0.0, 0.001), 2, result)[0]


def test_classes_with_few_objects_or_none_are_named() -> None:
    text = " ".join(advice(history(0.5, 0.5, 0.5), 1, evaluate_detections(DATA, PERFECT)))
    assert "nut, bolt: fewer than 20" in text and "washer: no validation object" in text


def test_the_pair_that_is_confused_most_is_named() -> None:
    wrong = [{**row, "category_id": 90} for row in PERFECT]
    assert "'nut' is taken for 'bolt' most often: 2 of 2" in " ".join(
        advice(history(0.5), 1, evaluate_detections(DATA, wrong))
    )
