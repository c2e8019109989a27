"""The exact search against brute force: the same winner, ties included, and the same front."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nas.budgets import LATENCY, LAYERS
from nas.costs import SpaceCosts
from nas.devices.profile import load_device
from nas.scores.maxent import MAXENT
from nas.scores.rows import SCORE_TICK, RowScore
from nas.searcher.evaluator import Limit
from nas.strategies.exact.search import solve
from search_spaces.architecture import Head, Neck
from search_spaces.space import Rules, Space, StageChoices, with_grid
from search_spaces.space_file import load_space
from workbench.errors import BadInput

KINDS = {"res": "k1kx", "csp": "kxkx", "mob": "k1dwk1", "bottleneck": "k1kxk1"}


def random_space(rng: np.random.Generator, most: int) -> Space:
    """A small space of a random style, with ranges, rules and ties; at most ``most`` architectures."""
    while True:
        style = str(rng.choice(list(KINDS)))
        stages = []
        ladder = np.array([16, 32, 48, 64, 80, 96, 128, 160])
        for stride in (2, 2, 2, 1, 2):
            outs = np.sort(rng.choice(ladder, rng.integers(1, 4), replace=False))
            by_ratio = style == "mob" and rng.random() < 0.5
            pool = np.array([0.5, 1.0, 2.0, 4.0]) if by_ratio else ladder
            btns = np.sort(rng.choice(pool, rng.integers(1, 4), replace=False))
            depths = np.sort(rng.choice(np.arange(1, 5), rng.integers(1, 4), replace=False))
            ks = (3,) if rng.random() < 0.7 else (3, 5)
            stages.append(
                StageChoices(
                    KINDS[style],
                    stride,
                    tuple(outs.tolist()),
                    tuple(btns.tolist()),
                    ks,
                    tuple(depths.tolist()),
                    by_ratio,
                )
            )
        rules = Rules(
            out_grows=bool(rng.random() < 0.7),
            out_growth_max=float(rng.choice([2.0, 4.0, np.inf])),
            btn_to_out=(0.1, float(rng.choice([1.0, 2.0, np.inf]))),
        )
        stem = tuple(np.sort(rng.choice([8, 16, 24, 32], rng.integers(1, 3), replace=False)).tolist())
        focus = bool(rng.random() < 0.5)
        neck, head = Neck((32, 32, 64), 0.5, 0.75, "relu"), Head(4, 7, 1)
        space = Space(
            "random", style, "relu", bool(rng.random() < 0.5), stem, 3, focus, 2, tuple(stages), rules, neck, head
        )
        if 30 <= space.size() <= most:
            return space


def all_rows(space: Space) -> np.ndarray:
    """Every row of a space, in lexicographic order."""
    parts = [[(v,) for v in space.stem_outs]]
    for i, stage in enumerate(space.stages):
        parts.append(
            [(o, b, k, d) for o in stage.outs for b in space.btn_values(i, o) for k in stage.ks for d in stage.depths]
        )
    rows = np.array([sum(p, ()) for p in itertools.product(*parts)], dtype=np.int64)
    return rows[space.contains_rows(rows)]


def random_limits(rng: np.random.Generator, costs: dict[str, np.ndarray]) -> tuple[Limit, ...]:
    """One to four budgets that something satisfies; some are ranges."""
    names = list(costs)
    chosen = rng.choice(names, int(rng.integers(1, 5)), replace=False)
    anchor = int(rng.integers(len(costs[LAYERS])))
    limits = []
    for name in sorted(chosen, key=names.index):
        value = int(costs[name][anchor])
        high = int(value * rng.uniform(1.0, 1.2))
        low = int(value * rng.uniform(0.6, 1.0)) if rng.random() < 0.25 else 0
        limits.append(Limit(str(name), low, high, f"{name} {low}..{high}"))
    return tuple(limits)


def brute_force(
    rows: np.ndarray, score: np.ndarray, costs: dict[str, np.ndarray], limits: tuple[Limit, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The front's rows (best last), each the first of its equals by budgeted costs, then genes."""
    good = np.all([(costs[m.name] >= m.low) & (costs[m.name] <= m.high) for m in limits], axis=0)
    rows, score = rows[good], score[good]
    columns = [costs[m.name][good] for m in limits]
    order = np.lexsort((*rows.T[::-1], *columns[:0:-1], -score, columns[0]))
    reached = np.maximum.accumulate(score[order])
    front = order[np.r_[True, reached[1:] > reached[:-1]]]
    return rows[front], score[front]


def assert_is_brute_force(row_score: RowScore, rows: np.ndarray, rng: np.random.Generator) -> None:
    """Under random budgets the exact search finds what looking at every one of the space's ``rows`` finds."""
    costs, score = row_score.costs.costs(rows), row_score.total(rows)
    limits = random_limits(rng, costs)
    front, values = brute_force(rows, score, costs, limits)
    found = solve(row_score, limits)
    assert found.certificate.proved
    assert found.certificate.score == values[-1] * SCORE_TICK
    assert found.rows[-1].tolist() == front[-1].tolist()
    if found.certificate.front == "complete":
        assert found.rows.tolist() == front.tolist()
    else:
        got = row_score.total(found.rows)
        cost = row_score.costs.costs(found.rows)[limits[0].name]
        front_cost = row_score.costs.costs(front)[limits[0].name]
        best_under = [values[front_cost <= c].max() for c in cost]
        assert got.tolist() == best_under


@pytest.mark.parametrize(
    ("seed", "devices"),
    [*((seed, ("t4",)) for seed in range(60)), *((seed, ("t4", "raspberry-pi-4")) for seed in range(100, 120))],
)
def test_exact_is_brute_force(seed: int, devices: tuple[str, ...]) -> None:
    rng = np.random.default_rng(seed)
    space = random_space(rng, 1_000_000 if seed < 2 else 60_000)
    scope = "backbone" if rng.random() < 0.3 else "detector"
    weights = ((0, 0, 1, 1, 16), (1, 1, 1, 1, 1), (0, 0, 0, 0, 1))[int(rng.integers(3))]
    costs = SpaceCosts(space, [load_device(name) for name in devices], 320, scope)
    row_score = MAXENT.over_rows(costs, weights=weights)
    rows = all_rows(space)
    assert len(rows) == space.size()
    assert_is_brute_force(row_score, rows, rng)


def test_ties_go_to_the_cheaper_then_to_smaller_genes() -> None:
    # Stages 1 and 2 weigh the same, so exchanging their inner widths leaves the score alone.
    stage = StageChoices("k1kx", 2, (64,), (32, 64), (3,), (1,))
    fixed = [StageChoices("k1kx", stride, (64,), (32,), (3,), (1,)) for stride in (1, 2)]
    space = Space(
        "ties", "res", "relu", False, (16,), 3, True, 2,
        (stage, stage, stage, *fixed),
        Rules(), Neck((32, 32, 64)), Head(4),
    )  # fmt: skip
    row_score = MAXENT.over_rows(SpaceCosts(space, None, 320))
    rows = all_rows(space)
    score = row_score.total(rows)
    assert len(np.unique(score)) < len(rows)
    params = row_score.costs.costs(rows)["params"]
    limit = Limit("params", 0, int(np.sort(params)[-2]), "params")
    front, _ = brute_force(rows, score, row_score.costs.costs(rows), (limit,))
    assert solve(row_score, (limit,)).rows[-1].tolist() == front[-1].tolist()


def test_nothing_fits_names_the_closest_reachable_value() -> None:
    row_score = MAXENT.over_rows(SpaceCosts(with_grid(load_space("res"), 32), load_device("t4")))
    with pytest.raises(BadInput, match=r"least reachable is [0-9.]+ ms"):
        solve(row_score, (Limit(LATENCY, 0, 9000, "0.9ms"),))
    with pytest.raises(BadInput, match=r"most reachable is [0-9]+ layers"):
        solve(row_score, (Limit(LAYERS, 900, 999, "900..999layers"),))
    with pytest.raises(BadInput, match="together"):
        solve(row_score, (Limit(LATENCY, 0, 22_000, "2.2ms"), Limit("flops", 40_000_000_000, 10**12, "40..1000GFLOPs")))


def test_time_limit_gives_an_honest_bound() -> None:
    row_score = MAXENT.over_rows(SpaceCosts(with_grid(load_space("res"), 16), load_device("t4")))
    limits = (
        Limit(LATENCY, 0, 30_000, "3ms"),
        Limit("params", 0, 10_000_000, "10Mparams"),
        Limit("flops", 0, 20 * 10**9, "20GFLOPs"),
    )
    found = solve(row_score, limits, time_limit_s=0.0).certificate
    assert found.bound >= found.score
    assert found.proved == (found.bound <= found.score)


def test_labels_and_tables_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    row_score = MAXENT.over_rows(SpaceCosts(with_grid(load_space("res"), 32), load_device("t4")))
    limits = (Limit(LATENCY, 0, 30_000, "3ms"), Limit(LAYERS, 0, 25, "25layers"))
    by_table = solve(row_score, limits)
    monkeypatch.setattr("nas.strategies.exact.search.TABLE_BYTES", 1_000_000)
    by_labels = solve(row_score, limits)
    assert (by_table.certificate.method, by_labels.certificate.method) == ("tables", "labels")
    assert by_labels.certificate.proved
    assert by_labels.rows[-1].tolist() == by_table.rows[-1].tolist()
