"""Fitted scores refitted without a family."""

from __future__ import annotations

import numpy as np
import pytest

from nas.evidence.refit import fitted_scores, leave_family_out
from nas.evidence.trained import TARGET, TrainedDetectors, read_trained
from tests.nas.evidence.trained import folder
from workbench.errors import BadInput


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> TrainedDetectors:
    return read_trained(folder(tmp_path_factory.mktemp("trained")))


def test_a_fitted_score_is_judged_on_families_that_it_has_not_seen(points: TrainedDetectors) -> None:
    truth = points.target(TARGET)
    for name in fitted_scores():
        column = leave_family_out(points, name, truth)
        assert np.isfinite(column.values).all()
        # What the judged family's own accuracies say must not matter to its values.
        lie = np.where(points.family == "beta2", truth[::-1], truth)
        again = leave_family_out(points, name, lie)
        own = points.family == "beta2"
        assert np.allclose(again.values[own], column.values[own]) and not np.allclose(
            again.values[~own], column.values[~own]
        )
    one_family = points.part(points.family == "beta2")
    with pytest.raises(BadInput, match="1 family"):
        leave_family_out(one_family, fitted_scores()[0], one_family.target(TARGET))
