"""Successive halving over accuracy and cost: who goes on, at which epochs, and what it saves."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.shortlist.result import ShortlistEntry, ShortlistResult
from nas.shortlist.rungs import Point, pareto, promoted, rungs, spent_epochs, spread
from workbench.errors import BadInput


def test_rungs_halve_candidates_and_double_epochs() -> None:
    assert rungs(32, 5, range(1, 33)) == [(8, 5), (16, 3), (32, 2)]
    assert rungs(32, 8, range(1, 33)) == [(8, 8), (16, 4), (32, 2)]
    assert rungs(32, 2, range(1, 33)) == [(32, 2)] and rungs(32, 1, range(1, 33)) == [(32, 1)]


def test_rungs_lie_where_the_run_is_evaluated() -> None:
    assert rungs(60, 5, range(3, 61, 3)) == [(15, 5), (30, 3), (60, 2)]
    assert rungs(50, 5, [10, 20, 30, 40, 50]) == [(10, 5), (20, 3), (50, 2)]


def test_too_few_epochs_leave_rungs_out_and_nobody_behind() -> None:
    assert rungs(2, 5, [1, 2]) == [(1, 5), (2, 2)]
    assert rungs(1, 5, [1]) == [(1, 5)]
    with pytest.raises(BadInput):
        rungs(0, 5, [])


def test_halving_saves_epochs() -> None:
    assert spent_epochs(rungs(32, 5, range(1, 33))) == 5 * 8 + 3 * 8 + 2 * 16
    assert spent_epochs([(10, 3)]) == 30


POINTS = {"dear": Point(0.40, 4.0), "good": Point(0.38, 2.0), "poor": Point(0.30, 3.0), "cheap": Point(0.20, 1.0), "worst": Point(0.10, 4.0)}


def test_the_front_goes_on_before_who_is_beaten() -> None:
    assert pareto(POINTS) == ["dear", "good", "cheap"]
    assert promoted(POINTS, 3) == ["dear", "good", "cheap"]
    assert promoted(POINTS, 4) == ["dear", "good", "poor", "cheap"]
    assert promoted(POINTS, 9) == list(POINTS)


def test_of_a_front_the_most_accurate_and_the_farthest_go_on() -> None:
    front = [(name, POINTS[name]) for name in ("dear", "good", "cheap")]
    assert spread(front, 1) == ["dear"] and spread(front, 2) == ["dear", "cheap"] and spread(front, 3) == ["dear", "cheap", "good"]
    assert spread([("a", Point(0.1, 1.0)), ("b", Point(0.1, 1.0))], 5) == ["a", "b"] and spread([], 2) == []


def test_equals_beat_nobody() -> None:
    assert not Point(0.3, 1.0).beats(Point(0.3, 1.0)) and Point(0.3, 1.0).beats(Point(0.3, 1.1)) and not Point(0.3, 1.2).beats(Point(0.2, 1.1))


def row(name: str, stock: bool, ap: float, cost: float) -> ShortlistEntry:
    return ShortlistEntry(name, stock, ap, cost, 10, 1.0, None, f"runs/{name}/best.safetensors")


def result(*rows: ShortlistEntry) -> ShortlistResult:
    return ShortlistResult(Path("r/trained"), "latency_ms", 10, ((10, 2),), rows, (), ())


def test_a_search_that_did_not_beat_a_stock_model_says_so() -> None:
    found = result(row("found-1", False, 0.30, 2.0), row("found-2", False, 0.25, 1.0), row("yolox-s", True, 0.31, 1.9), row("yolo11n", True, 0.2, 1.5))
    assert found.verdicts() == [("yolox-s", None), ("yolo11n", "found-2")]
    assert found.front == ["found-2", "yolox-s"]
    assert "SEARCH DID NOT BEAT yolox-s" in found.text() and "found-2 beats yolo11n" in found.text() and "a stock model beats found-1" in found.text()
    assert found.to_dict()["against"] == [{"stock": "yolox-s", "beaten_by": None}, {"stock": "yolo11n", "beaten_by": "found-2"}]


def test_a_search_that_beat_them_all_does_not_shout() -> None:
    assert "NOT" not in result(row("found-1", False, 0.4, 1.0), row("yolox-s", True, 0.3, 1.9)).says()
    assert "nothing says what the search was worth" in result(row("found-1", False, 0.4, 1.0)).says()
