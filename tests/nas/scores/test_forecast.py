"""``forecast``: rows agree with Graphs, exact search with brute force, absurd shapes lose, files of fits serve."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nas.budgets import parse_budgets
from nas.cli import main
from nas.costs import SpaceCosts, architecture_costs
from nas.devices.profile import load_device
from nas.scores import get_score
from nas.scores.forecast import FILE, FORECAST, ForecastFit, as_ap, sentence, shipped
from nas.scores.forecast_terms import ENTRIES, HEADS, TERMS, Form, attention_layers, level_shares, terms_of
from nas.searcher.evaluator import whole_limits
from nas.strategies.exact.search import solve
from search_spaces.architecture import Architecture
from search_spaces.graph_builder import GraphBuilder
from search_spaces.lowering import lower
from search_spaces.published import PUBLISHED
from search_spaces.space import with_grid
from search_spaces.space_file import load_space
from tests.nas.scores.test_calibrated import ABSURD, absurd
from tests.nas.scores.test_fitted_scores import winner
from workbench.errors import BadInput


def value(arch: Architecture, input_px: int = 640) -> float:
    return get_score("forecast")(lower(arch), input_px).value


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_shapes_lose_clearly_at_their_own_latency(name: str) -> None:
    arch, device = absurd(name), load_device("t4")
    cost_ms = architecture_costs(arch, 640, device).costs["latency_ms"]
    costs = SpaceCosts(with_grid(load_space("res"), 32), device)
    limits = whole_limits(costs, parse_budgets([f"{cost_ms:.4f}ms"]))
    found = solve(FORECAST.over_rows(costs), limits).certificate
    assert as_ap(found.score) > as_ap(value(arch)) + 0.02, "two AP points"


@pytest.mark.parametrize("budget", ["2.5ms", "3ms", "4ms", "20GFLOPs", "40GFLOPs", "10Mparams"])
def test_winners_are_balanced(budget: str) -> None:
    arch, macs = winner("forecast", budget)
    assert max(macs) < 0.7 * sum(macs), "no giant stage"
    assert macs[4] < 0.5 * sum(macs), "stride 32 has its share and no more"
    outs = [stage.out for stage in arch.stages]
    assert outs[4] >= 2 * outs[0], "channels grow as the map shrinks"
    assert min(outs) >= 32, "no thread anywhere"


def test_a_thread_is_seen_and_a_fat_level_is_not_paid() -> None:
    form = Form()
    assert form.useful(100_000, 8) < 128 * 8
    gains = [math.log(form.useful(2 * c, 8) / form.useful(c, 8)) for c in (32, 512, 4096)]
    assert gains == sorted(gains, reverse=True) and gains[0] > 4 * gains[2]
    g = GraphBuilder(3)
    x = g.conv(-1, 8, k=3, s=2)
    x = g.conv(g.conv(x, 128, k=1), 128, k=3, s=2)
    g.conv(x, 64, k=3, s=2)
    # 8 channels reach the first layer of 128: it can use 48. The second has 64 of 128, at stride 8.
    terms = terms_of(g.finish(), 64, form)
    expected = 0.1 * math.log(form.useful(48, 4)) + 0.9 * math.log(form.useful(64, 8))
    assert terms["widths"] == pytest.approx(expected)


def test_a_depthwise_layer_counts_with_its_channels() -> None:
    def depth(groups: int) -> float:
        g = GraphBuilder(3)
        x = g.conv(-1, 64, k=3, s=2)
        g.conv(g.join("add", g.conv(x, 64, k=3, g=groups), x), 64, k=3)
        return terms_of(g.finish(), 64, Form())["depth"]

    assert depth(64) == depth(1) == pytest.approx(0.5), "a layer of 64 channels counts half; the last has no bypass"


def test_attention_is_not_every_softmax() -> None:
    g = GraphBuilder(3)
    x = g.conv(-1, 64, k=3, s=2)
    weights = g.single("softmax", x, "attention", shape=[64, 8, 8])
    g.join("mul", weights, x)
    g.single("softmax", x, "class scores", shape=[64, 8, 8])
    assert attention_layers(g.finish()) == 1


def test_missing_levels_give_their_share_to_the_nearest() -> None:
    assert sum(ENTRIES.values()) == pytest.approx(1) == pytest.approx(sum(HEADS.values()))
    assert level_shares({8, 16}, ENTRIES) == pytest.approx({8: 0.4, 16: 0.6})
    assert level_shares({16}, ENTRIES) == pytest.approx({16: 1.0})


def test_value_ap_interval_and_recipe_belong_together() -> None:
    result = get_score("forecast")(lower(PUBLISHED["damo-yolo-t"]), 640)
    assert result.notes["ap"] == pytest.approx(1 - math.exp(-result.value))
    assert result.notes["ap_low"] < result.notes["ap"] < result.notes["ap_high"]
    assert result.notes["outside"] == []
    assert get_score("forecast")(lower(PUBLISHED["damo-yolo-t"]), 128).notes["outside"] == ["size"]
    fitted = shipped()
    assert all(fitted.coefficients[name] >= 0 for name in TERMS) and all(v >= 0 for v in fitted.recipes.values())
    assert min(fitted.coefficients[name] for name in ("size", "widths", "heads", "depth")) > 0
    plain, taught = fitted.to_dict(result), fitted.to_dict(result, "objects365,teacher")
    effect = fitted.recipes["objects365"] + fitted.recipes["teacher"]
    assert -math.log1p(-taught["ap"]) == pytest.approx(-math.log1p(-plain["ap"]) + effect)
    assert fitted.to_dict(result, "epochs=72")["ap"] < plain["ap"] == fitted.to_dict(result, "epochs=600")["ap"]
    assert "objects365,teacher" in sentence(fitted, result, "objects365,teacher")


@pytest.mark.parametrize("recipe", ["objects", "epochs", "epochs=0", "epochs=x", "teacher=2"])
def test_unknown_recipes_are_refused(recipe: str) -> None:
    with pytest.raises(BadInput, match="recipe trait"):
        shipped().recipe_effect(recipe)


@pytest.mark.parametrize("text", ["format: else\n", "format: nas-forecast-1\n", "[", "format: nas-forecast-1\nform: 3"])
def test_files_that_are_no_fit_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(text)
    with pytest.raises(BadInput, match=r"other\.yaml"):
        ForecastFit.load(tmp_path / "other.yaml")
    with pytest.raises(BadInput, match="cannot read"):
        get_score(str(tmp_path / "missing.yaml"))


def test_a_file_of_ones_own_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "damo-yolo-s", "--score", "forecast"]) == 0
    assert "forecast of COCO AP 4" in capsys.readouterr().out
    data = yaml.safe_load(FILE.read_text())
    data["coefficients"]["intercept"] -= 0.1
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump(data))
    assert main(["score", "damo-yolo-s", "--score", str(mine), "--json"]) == 0
    lower_value = json.loads(capsys.readouterr().out)[0]["value"]
    assert lower_value == pytest.approx(value(PUBLISHED["damo-yolo-s"]) - 0.1)
    args = ["search", "--budget", "3ms", "--device", "t4", "--grid", "32", "--score", str(mine), "--forecast-recipe",
            "teacher", "--runs", str(tmp_path), "--quiet", "--no-pictures"]  # fmt: skip
    assert main(args) == 0
    out = capsys.readouterr().out
    assert "certificate: proved best" in out and "forecast of COCO AP" in out and "(teacher;" in out
    assert main([*args[:-1], "--forecast-recipe", "nonsense"]) == 2
    assert "recipe trait 'nonsense'" in capsys.readouterr().err


def test_it_loads_no_torch() -> None:
    code = (
        "import sys\nfrom nas.scores import get_score\nfrom search_spaces.lowering import lower\n"
        "from search_spaces.published import PUBLISHED\nget_score('forecast')(lower(PUBLISHED['damo-yolo-t']), 320)\n"
        "assert 'torch' not in sys.modules and 'scipy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
