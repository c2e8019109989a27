"""What every fitted score promises: rows agree with Graphs, exact search with brute force, more is never worse."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nas.budgets import parse_budgets
from nas.costs import SpaceCosts
from nas.devices.profile import load_device
from nas.scores import get_score
from nas.scores.rows import SCORE_TICK, RowScore
from nas.searcher.evaluator import whole_limits
from nas.strategies.exact.search import solve
from search_spaces.architecture import Architecture
from search_spaces.lowering import lower
from search_spaces.published import PUBLISHED
from search_spaces.space import with_grid
from search_spaces.space_file import load_space, space_names
from tests.nas.strategies.test_exact import all_rows, assert_is_brute_force, random_space

FITTED = ("calibrated", "forecast")
SEEDS = [("calibrated", seed) for seed in range(1000, 1050)] + [("forecast", seed) for seed in range(2000, 2030)]


def value(score: str, arch: Architecture, input_px: int = 640) -> float:
    return get_score(score)(lower(arch), input_px).value


def over_rows(score: str, costs: SpaceCosts) -> RowScore:
    rows = get_score(score).over_rows
    assert rows is not None
    return rows(costs)


def winner(score: str, budget: str) -> tuple[Architecture, list[float]]:
    """The proved best of ``res`` on a grid of 16, and the multiply-accumulates of its five stages at 640 px."""
    space = with_grid(load_space("res"), 16)
    costs = SpaceCosts(space, load_device("t4"))
    found = solve(over_rows(score, costs), whole_limits(costs, parse_budgets([budget])))
    arch = space.decode(found.rows[-1])
    table = lower(arch, "backbone").table(640)
    macs = [
        float(sum(m for m, name in zip(table.macs, table.names, strict=True) if name.startswith(f"stage{i}.")))
        for i in range(1, 6)
    ]
    return arch, macs


@pytest.mark.parametrize("score", FITTED)
@pytest.mark.parametrize("name", space_names())
def test_population_score_is_the_graph_score(name: str, score: str) -> None:
    space = load_space(name)
    for scope in ("detector", "backbone"):
        row_score = over_rows(score, SpaceCosts(space, None, 640, scope))
        rows = space.sample(24, np.random.default_rng(3))
        for row, ticks in zip(rows, row_score.total(rows), strict=True):
            assert ticks * SCORE_TICK == pytest.approx(value(score, space.decode(row)), abs=1e-7)


@pytest.mark.parametrize(("score", "seed"), SEEDS)
def test_exact_is_brute_force(score: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    space = random_space(rng, 6_000)
    scope = "backbone" if rng.random() < 0.3 else "detector"
    row_score = over_rows(score, SpaceCosts(space, load_device("t4"), 320, scope))
    rows = all_rows(space)
    for row in rows[rng.choice(len(rows), 3)]:
        ticks = row_score.total(row[None])[0]
        assert ticks * SCORE_TICK == pytest.approx(value(score, space.decode(row), 320), abs=1e-7)
    assert_is_brute_force(row_score, rows, rng)


@pytest.mark.parametrize("score", FITTED)
def test_more_is_never_worse(score: str) -> None:
    arch = PUBLISHED["damo-yolo-s"]
    base = value(score, arch)
    assert value(score, arch, 672) > base
    for i, stage in enumerate(arch.stages):
        for change in ({"out": 2 * stage.out}, {"btn": 2 * stage.btn}, {"depth": stage.depth + 1}):
            stages = [*arch.stages[:i], dataclasses.replace(stage, **change), *arch.stages[i + 1 :]]
            assert value(score, dataclasses.replace(arch, stages=tuple(stages))) >= base - 1e-12, (i, change)
    assert arch.neck is not None
    wider = dataclasses.replace(arch, neck=dataclasses.replace(arch.neck, out=(192, 256, 512)))
    assert value(score, wider) > base


@pytest.mark.parametrize("score", FITTED)
def test_published_sizes_are_in_order(score: str) -> None:
    for sizes in ("tsml", ("ns", "nm", "nl")):
        values = [value(score, PUBLISHED[f"damo-yolo-{size}"]) for size in sizes]
        assert values == sorted(values)
