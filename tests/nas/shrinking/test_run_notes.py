"""Notes of a shrinking: a parent whose loss falls without its blocks is told apart from one that fits the data."""

from __future__ import annotations

import numpy as np

from distill.importance.scores import ImportanceScores
from nas.shrinking.run import unfit_parent


def scores(blocks: list[float], images: int = 8) -> ImportanceScores:
    """Importance of blocks alone."""
    named = {f"block{i}": value for i, value in enumerate(blocks)}
    return ImportanceScores({"group": np.ones(2)}, named, {}, "taylor", images, 1.0 if images else None)


def test_most_blocks_free_is_told() -> None:
    (note,) = unfit_parent(scores([0.0, 0.0, 0.5]))
    assert "2 of 3 blocks" in note and "train it on the data first" in note


def test_a_fitting_parent_has_no_note() -> None:
    assert unfit_parent(scores([0.1, 0.0, 0.5])) == []
    assert unfit_parent(scores([])) == []


def test_without_data_there_is_no_loss_to_fall() -> None:
    assert unfit_parent(scores([0.0, 0.0], images=0)) == []
