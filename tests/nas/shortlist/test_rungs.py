"""Successive halving over accuracy and cost: who goes on, at which epochs, and what it saves."""

from __future__ import annotations

import pytest

from nas.shortlist.rungs import Point, pareto, promoted, rung_plan, spent_epochs, spread
from workbench.errors import BadInput


def test_rungs_halve_candidates_and_double_epochs() -> None:
    assert rung_plan(32, 5, range(1, 33)) == [(8, 5), (16, 3), (32, 2)]
    assert rung_plan(32, 8, range(1, 33)) == [(8, 8), (16, 4), (32, 2)]
    assert rung_plan(32, 2, range(1, 33)) == [(32, 2)] and rung_plan(32, 1, range(1, 33)) == [(32, 1)]


def test_rungs_lie_where_the_run_is_evaluated() -> None:
    assert rung_plan(60, 5, range(3, 61, 3)) == [(15, 5), (30, 3), (60, 2)]
    assert rung_plan(50, 5, [10, 20, 30, 40, 50]) == [(10, 5), (20, 3), (50, 2)]


def test_too_few_epochs_leave_rungs_out_and_nobody_behind() -> None:
    assert rung_plan(2, 5, [1, 2]) == [(1, 5), (2, 2)]
    assert rung_plan(1, 5, [1]) == [(1, 5)]
    with pytest.raises(BadInput):
        rung_plan(0, 5, [])


def test_halving_saves_epochs() -> None:
    assert spent_epochs(rung_plan(32, 5, range(1, 33))) == 5 * 8 + 3 * 8 + 2 * 16
    assert spent_epochs([(10, 3)]) == 30


POINTS = {
    "dear": Point(0.40, 4.0),
    "good": Point(0.38, 2.0),
    "poor": Point(0.30, 3.0),
    "cheap": Point(0.20, 1.0),
    "worst": Point(0.10, 4.0),
}


def test_the_front_goes_on_before_who_is_beaten() -> None:
    assert pareto(POINTS) == ["dear", "good", "cheap"]
    assert promoted(POINTS, 3) == ["dear", "good", "cheap"]
    assert promoted(POINTS, 4) == ["dear", "good", "poor", "cheap"]
    assert promoted(POINTS, 9) == list(POINTS)


def test_of_a_front_the_most_accurate_and_the_farthest_go_on() -> None:
    front = [(name, POINTS[name]) for name in ("dear", "good", "cheap")]
    assert (
        spread(front, 1) == ["dear"]
        and spread(front, 2) == ["dear", "cheap"]
        and spread(front, 3) == ["dear", "cheap", "good"]
    )
    assert spread([("a", Point(0.1, 1.0)), ("b", Point(0.1, 1.0))], 5) == ["a", "b"] and spread([], 2) == []


def test_equals_beat_nobody() -> None:
    assert (
        not Point(0.3, 1.0).dominates(Point(0.3, 1.0))
        and Point(0.3, 1.0).dominates(Point(0.3, 1.1))
        and not Point(0.3, 1.2).dominates(Point(0.2, 1.1))
    )
