"""Scores of rows are those of the candidates that a search reports."""

from __future__ import annotations

import numpy as np
import pytest

from nas.budgets import parse_budgets
from nas.scores import SCORES
from nas.searcher.candidate import cost_candidate
from nas.searcher.evaluator import Evaluator, whole_limits
from nas.variant_costs import space_costs
from search_spaces.space_file import load_space


@pytest.mark.parametrize("name", [name for name, score in SCORES.items() if not score.needs_torch])
@pytest.mark.parametrize("space", ["res", "damo"])
def test_a_row_scores_as_its_candidate(space: str, name: str) -> None:
    """A score of the whole detector is not computed on the backbone."""
    costs = space_costs(load_space(space), None, None)
    evaluator = Evaluator(costs, whole_limits(costs, parse_budgets(["1000GFLOPs"])), name)
    rows = costs.space.sample(3, np.random.default_rng(0))
    scores = evaluator.evaluate(rows).score
    for row, score in zip(rows, scores, strict=True):
        if np.isnan(score):  # rejected by the score's filter
            continue
        assert score == pytest.approx(cost_candidate(evaluator, costs.space.decode(row), "one").score, rel=1e-9)
