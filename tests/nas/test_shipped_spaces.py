"""Rows of every shipped space against their architectures: genes, costs and additive scores."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nas.costs import architecture_costs
from nas.devices.profile import load_device
from nas.scores import SCORES, get_score
from nas.scores.rows import SCORE_TICK
from nas.variant_costs import space_costs
from search_spaces.space_file import load_space, space_names
from zoo.resolve import ResolvedModel

FEW, MANY = 2, 20
"""Detectors a space in the fast suite, and in the slow one."""
COUNTS = [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.slow)]
ADDITIVE = [name for name, score in SCORES.items() if score.additive]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", space_names())
def test_rows_are_their_architectures(name: str, count: int) -> None:
    space = load_space(name)
    rows = space.sample(count, np.random.default_rng(22))
    for row in rows:
        arch = space.decode(row)
        assert space.why_not(arch) == ""
        assert space.encode(arch).tolist() == row.tolist()
        assert len(space.described(row)) == space.genes
    assert "is not among" in space.why_not(dataclasses.replace(arch, stem=dataclasses.replace(arch.stem, out=5)))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", space_names())
def test_costs_of_rows_are_those_of_their_architectures(name: str, count: int) -> None:
    space, devices = load_space(name), [load_device("t4"), load_device("raspberry-pi-5")]
    costs = space_costs(space, devices)
    rows = space.sample(count, np.random.default_rng(22))
    by_row = costs.costs(rows)
    for place, row in enumerate(rows):
        arch = space.decode(row)
        alone = architecture_costs(arch, arch.input_px or 640, devices).costs
        assert set(alone) == set(by_row)
        for cost, value in alone.items():
            assert by_row[cost][place] * costs.unit(cost) == pytest.approx(value, rel=1e-9), cost


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("score", ADDITIVE)
@pytest.mark.parametrize("name", space_names())
def test_scores_of_rows_are_those_of_their_graphs(name: str, score: str, count: int) -> None:
    space, found = load_space(name), get_score(score)
    costs = space_costs(space, None)
    assert found.unfit(costs) == ""
    rows = space.sample(count, np.random.default_rng(22))
    totals = found.over_rows(costs).total(rows) * SCORE_TICK
    for place, row in enumerate(rows):
        arch = space.decode(row)
        graph, px = ResolvedModel("", arch).score_graph(arch.input_px or 640, found.deployed)
        assert totals[place] == pytest.approx(found(graph, px).value, rel=1e-9, abs=1e-7)
