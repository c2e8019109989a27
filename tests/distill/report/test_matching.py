"""Hits, misses and false detections: hand-worked cases."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pycocotools")

from distill.report.matching import FALSE, HIT, IGNORED, match, picture_counts, threshold_curves
from tests.distill.train.test_evaluate import DATA, PERFECT, row


def test_perfect_detections_hit() -> None:
    matches = match(DATA, PERFECT)
    assert matches.kind.tolist() == [HIT, HIT, HIT]
    assert sorted(matches.found_score.tolist()) == [0.7, 0.8, 0.9]
    assert len(matches.true_label) == 3, "the crowd region is no object"


def test_a_second_box_on_an_object_is_false_and_one_in_a_crowd_is_ignored() -> None:
    twice = row(11, 7, [11, 11, 40, 40], 0.5)
    crowd = row(42, 13, [5, 5, 90, 70], 0.6)
    wrong_class = row(11, 90, [10, 10, 40, 40], 0.4)
    matches = match(DATA, [*PERFECT, twice, crowd, wrong_class])
    kinds = dict(zip(matches.score.tolist(), matches.kind.tolist(), strict=True))
    assert (kinds[0.5], kinds[0.6], kinds[0.4]) == (FALSE, IGNORED, FALSE)


def test_curves_over_the_threshold() -> None:
    curves = threshold_curves(match(DATA, [*PERFECT, row(11, 7, [60, 50, 20, 20], 0.6)]))
    nut = {round(at, 2): index for index, at in enumerate(np.linspace(0, 1, 101))}
    low, middle, high = nut[0.5], nut[0.65], nut[0.8]
    assert curves.precision[0, [low, middle, high]].tolist() == pytest.approx([2 / 3, 1.0, 1.0])
    assert curves.recall[0, [low, middle, high]].tolist() == pytest.approx([1.0, 1.0, 0.5])
    assert curves.f1[0, [low, middle, high]].tolist() == pytest.approx([0.8, 1.0, 2 / 3])
    assert np.isnan(curves.f1[2]).all() and np.isnan(curves.precision[0, nut[0.95]])
    assert 0.6 < curves.best_threshold <= 0.7


def test_nothing_found_leaves_the_usual_threshold() -> None:
    curves = threshold_curves(match(DATA, []))
    assert curves.best_threshold == 0.25 and curves.mean_f1.max() == 0


def test_counts_of_pictures() -> None:
    matches = match(DATA, [*PERFECT, row(5, 7, [0, 0, 9, 9], 0.9)])
    found, missed, false = picture_counts(matches, 3, 0.75)
    assert (found.tolist(), missed.tolist(), false.tolist()) == ([2, 0, 0], [0, 0, 1], [0, 1, 0])
