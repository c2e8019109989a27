"""The fit of ``forecast``: known slopes and recipe effects come back, families do not masquerade, the data agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from nas.detectors.recipes import parse_recipe
from nas.evidence.forecast.evidence import COCO, Evidence, read_evidence
from nas.evidence.forecast.judge import ALL_RECIPES, COCO_ONLY, signs_of, truth_tables
from nas.evidence.forecast.left_out import leave_groups_out, nested
from nas.evidence.forecast.mixed import Design, Whitened
from nas.evidence.forecast.recipe_terms import RECIPE_TERMS, recipe_row
from nas.scores.forecast import FILE
from nas.scores.forecast_terms import TERMS
from workbench.errors import BadInput

SHARED = Path(__file__).parents[5] / "shared"
DATA = pytest.mark.skipif(not (SHARED / "atlas" / "graphs.jsonl.gz").is_file(), reason="needs ../shared/atlas")
EFFECTS = dict(zip(RECIPE_TERMS, (0.05, 0.0, 0.03, 0.04, 0.0, 0.03, 0.0), strict=True))
SLOPES = np.array([0.2, 0.1, 0.08, 0.002, 0.01])


def made_up(family_sd: float, seed: int = 0) -> Evidence:
    """Twelve families of eight networks under two recipes, and the same networks with another scale elsewhere."""
    rng = np.random.default_rng(seed)
    rows = []
    for family in range(12):
        remainder = family_sd * rng.standard_normal()
        for network in range(8):
            terms = rng.uniform((-0.5, 3, 4, 5, 0), (0.5, 5.5, 6, 40, 20))
            own = 0.01 * rng.standard_normal()
            for recipe in (np.zeros(7), (rng.random(7) < 0.4).astype(float)):
                y = -0.6 + terms @ SLOPES + recipe @ list(EFFECTS.values()) + remainder + own
                rows.append((COCO, family, network, terms, recipe, y + 0.003 * rng.standard_normal()))
            y = -0.2 + 1.5 * (terms @ SLOPES) + 0.02 * rng.standard_normal()
            rows.append(("other/task", family, network, terms, np.zeros(7), y))
    source, family_of, network_of, terms, recipes, y = zip(*rows, strict=True)
    families = np.array([f"family {f}" for f in family_of])
    evidence = Evidence(
        atlas=None, entries=(None,) * len(rows), source=np.array(source), family=families, group=families,  # type: ignore[arg-type]
        name=np.array([f"{f}-{n}" for f, n in zip(family_of, network_of, strict=True)]),
        input_px=np.full(len(rows), 640), ap=1 - np.exp(-np.array(y)), columns=np.ones(len(rows)),
        recipes=np.array(recipes),
    )  # fmt: skip
    evidence._terms[Design().form] = np.array(terms)
    return evidence


def test_known_slopes_scales_and_recipe_effects_come_back() -> None:
    evidence = made_up(0.05)
    fit = Whitened(evidence, Design()).fit(set(evidence.group.tolist()))
    assert fit.slopes == pytest.approx(SLOPES, rel=0.15)
    assert fit.recipes == pytest.approx(list(EFFECTS.values()), abs=0.004)
    assert fit.scale["other/task"] == pytest.approx(1.5, rel=0.1)
    assert fit.by_term()["depth"] == fit.slopes[3]


def test_a_recipe_that_only_one_family_has_stays_mostly_with_the_family() -> None:
    evidence = made_up(0.05)
    recipes = evidence.recipes.copy()
    recipes[:, 1] = (evidence.family == "family 3") & (evidence.source == COCO)
    shifted = np.where(recipes[:, 1] > 0, evidence.y + 0.2, evidence.y)
    odd = Evidence(**{**vars(evidence), "recipes": recipes, "ap": 1 - np.exp(-shifted)})
    fit = Whitened(odd, Design()).fit(set(odd.group.tolist()))
    assert fit.recipes[1] < 0.1, "half of it at most: a family may be better for any reason"
    assert fit.slopes == pytest.approx(SLOPES, rel=0.2)


def test_left_out_predictions_have_not_seen_the_group() -> None:
    evidence = made_up(0.0)
    problem = Whitened(evidence, Design())
    found = leave_groups_out(problem)
    out = evidence.group == "family 5"
    changed = Evidence(**{**vars(evidence), "ap": np.where(out, 0.3, evidence.ap)})
    again = leave_groups_out(Whitened(changed, Design()))
    assert again.score[out] == pytest.approx(found.score[out])
    assert not np.allclose(again.score[~out], found.score[~out])
    low, high = found.interval(evidence, np.ones(len(evidence), dtype=bool))
    assert -0.05 < low < 0 < high < 0.05
    rows = np.flatnonzero(evidence.source == COCO)
    signs = found.signs(evidence, rows, recipes=True)
    assert (signs == -signs.T).all()
    assert (signs * signs_of(evidence.y[rows])).mean() > 0.8


def test_the_choice_does_not_see_the_judged_group() -> None:
    evidence = made_up(0.02)
    problems = {
        name: Whitened(evidence, Design(groups=groups))
        for name, groups in {
            "all": Design().groups, "input alone": (("size",),),
        }.items()
    }  # fmt: skip

    def merit(found, part: np.ndarray) -> float:  # type: ignore[no-untyped-def]
        assert not np.isnan(found.own[part]).any() and np.isnan(found.own[~part]).all()
        return -float(np.mean((found.own - evidence.y)[part] ** 2))

    chosen = nested(problems, merit)
    assert set(chosen.chosen.values()) == {"all"}
    assert 0.75 < np.nanmean(chosen.covered) <= 1.0


def test_recipes_as_rows() -> None:
    names = list(RECIPE_TERMS)
    assert not any(recipe_row(parse_recipe("scratch 300e")))
    row = dict(zip(names, recipe_row(parse_recipe("Objects365 pretrain, then COCO 24e")), strict=True))
    assert row["objects365"] == 1 and row["epochs"] == 0
    row = dict(zip(names, recipe_row(parse_recipe("ImageNet backbone 36e")), strict=True))
    assert row["epochs"] == pytest.approx(np.log(0.5))


def test_data_without_coco_are_refused(tmp_path: Path) -> None:
    own = Path(__file__).parents[4] / "docs" / "benchmarks" / "own-truth"
    with pytest.raises(BadInput, match=COCO):
        read_evidence([str(own)])


@DATA
def test_the_shipped_numbers_are_those_of_the_data() -> None:
    """A fit to the atlas alone lies near the shipped one, and beats activation volume with groups left out."""
    evidence = read_evidence([str(SHARED / "atlas")])
    problem = Whitened(evidence, Design())
    fit = problem.fit(set(evidence.group.tolist()))
    stored = yaml.safe_load(FILE.read_text())
    for name in ("size", "widths", "heads"):
        assert fit.by_term()[name] == pytest.approx(stored["coefficients"][name], rel=0.5), name
    assert list(stored["recipes"]) == list(RECIPE_TERMS) and list(stored["ranges"]) == list(TERMS)
    found = leave_groups_out(problem)
    tables = {item.name: item for item in truth_tables(evidence, {"atlas": ("jetson_orin_trt_fp16_total_ms",)})}
    for name, least in ((COCO_ONLY, 0.6), (ALL_RECIPES, 0.5)):
        item = tables[name]
        taus = item.taus(found.signs(evidence, item.rows, recipes=name == ALL_RECIPES))
        assert taus["jetson_orin_trt_fp16_total_ms"] > least
