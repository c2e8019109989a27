"""The exact search over whole detectors against brute force: kinds, neck, head, levels and input sides in play."""

from __future__ import annotations

import numpy as np
import pytest

from nas.devices.profile import load_device
from nas.scores import get_score
from nas.scores.rows import SCORE_TICK
from nas.strategies.exact.search import solve
from nas.variant_costs import space_costs
from tests.nas.strategies.test_exact import brute_force, random_limits
from tests.nas.strategies.whole_spaces import all_rows, random_whole_space

FAST = 16
"""Problems of the fast suite; the others take two minutes more."""


@pytest.mark.parametrize(
    "seed", [*range(FAST), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(FAST, 60))]
)
def test_exact_is_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    space = random_whole_space(rng, 12_000)
    devices = [load_device(name) for name in (("t4", "raspberry-pi-4") if seed % 3 == 0 else ("t4",))]
    score = get_score("maxent" if seed % 4 == 0 else "calibrated")
    costs = space_costs(space, devices, 128, "backbone" if seed % 8 == 0 else "detector")
    if score.unfit(costs):
        score = get_score("maxent")
    row_score = score.over_rows(costs)
    rows = all_rows(space)
    assert len(rows) == space.size() == len(np.unique(rows, axis=0))
    assert space.contains_rows(rows).all()
    total, all_costs = row_score.total(rows), costs.costs(rows)
    limits = random_limits(rng, all_costs)
    front, values = brute_force(rows, total, all_costs, limits)
    found = solve(row_score, limits)
    assert found.certificate.proved
    assert found.certificate.options == space.size()
    assert found.certificate.score == values[-1] * SCORE_TICK
    best = costs.costs(found.rows[-1:])
    assert row_score.total(found.rows[-1:])[0] == values[-1]
    for limit in limits:  # of equals, the one with the least budgeted costs in order
        assert best[limit.name][0] == costs.costs(front[-1:])[limit.name][0]
    if found.certificate.front == "complete":
        own = costs.costs(found.rows)
        again, reached = brute_force(found.rows, row_score.total(found.rows), own, limits)
        assert reached.tolist() == values.tolist()
        cost = limits[0].name
        assert costs.costs(again)[cost].tolist() == costs.costs(front)[cost].tolist()


@pytest.mark.parametrize("seed", range(8))
def test_sampled_mutated_and_crossed_rows_stay_in_the_space(seed: int) -> None:
    rng = np.random.default_rng(seed)
    space = random_whole_space(rng, 10**9)
    rows = space.sample(400, rng)
    assert space.contains_rows(rows).all()
    mutated = space.mutate(rows, rng)
    crossed = space.cross(rows, mutated, rng)
    assert space.contains_rows(mutated).all() and space.contains_rows(crossed).all()
    assert (mutated != rows).any(axis=1).mean() > 0.2


@pytest.mark.parametrize("seed", range(6))
def test_samples_reach_the_whole_space(seed: int) -> None:
    rng = np.random.default_rng(seed)
    space = random_whole_space(rng, 4000)
    reached = {tuple(row) for row in space.sample(10 * space.size(), rng).tolist()}
    every = {tuple(row) for row in all_rows(space).tolist()}
    assert reached <= every and len(reached) > 0.9 * len(every)


@pytest.mark.parametrize("seed", range(8))
def test_rows_and_architectures_agree_in_genes_costs_and_score(seed: int) -> None:
    from nas.costs import architecture_costs
    from zoo.resolve import ResolvedModel

    rng = np.random.default_rng(seed)
    space, device = random_whole_space(rng, 10**9), load_device("t4")
    costs = space_costs(space, device, 128)
    rows = space.sample(12, rng)
    by_row = costs.costs(rows)
    for place, row in enumerate(rows):
        arch = space.decode(row)
        assert space.why_not(arch) == ""
        assert space.encode(arch).tolist() == row.tolist()
        alone = architecture_costs(arch, arch.input_px or 128, device)
        for name, value in alone.costs.items():
            assert by_row[name][place] * costs.unit(name) == pytest.approx(value, rel=1e-9)
    for name in ("maxent", "calibrated"):
        score = get_score(name)
        if score.unfit(costs):
            continue
        totals = score.over_rows(costs).total(rows) * SCORE_TICK
        for place, row in enumerate(rows):
            arch = space.decode(row)
            graph, px = ResolvedModel("", arch).score_graph(arch.input_px or 128, score.deployed)
            assert totals[place] == pytest.approx(score(graph, px).value, abs=1e-7)


def test_a_neck_never_narrows_towards_coarser_levels() -> None:
    rng = np.random.default_rng(0)
    space = random_whole_space(rng, 10**9)
    for row in space.sample(100, rng):
        neck = space.decode(row).neck
        assert neck is not None and list(neck.out) == sorted(neck.out)
