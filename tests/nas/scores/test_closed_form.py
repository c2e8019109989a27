"""Closed-form scores against TinyNAS's own numbers, by hand, and against the population ruler."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nas.costs import SpaceCosts
from nas.scores import get_score
from nas.scores.deepmad import effectiveness
from nas.scores.entropy import levels
from nas.scores.rows import SCORE_TICK
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from search_spaces.lowering import lower, skeleton
from search_spaces.published import PUBLISHED
from search_spaces.space_file import load_space, space_names
from search_spaces.tinynas_text import parse_structure
from workbench.errors import BadInput

OFFICIAL = json.loads((Path(__file__).parents[2] / "data" / "tinynas_scores.json").read_text())


@pytest.mark.parametrize("item", OFFICIAL, ids=lambda item: item["name"])
def test_parity_with_tinynas(item: dict) -> None:
    graph = skeleton(parse_structure(item["structure"]))
    weights = tuple(item["multi_block_ratio"])
    ours = get_score("maxent")(graph, item["image_size"], weights=weights)
    assert ours.value == pytest.approx(item["madnas"], rel=1e-9)
    assert ours.per_stage == pytest.approx(item["madnas_per_stage"], rel=1e-9)
    assert [level.channels for level in levels(graph, item["image_size"])] == item["stage_channels"]
    if item["deepmad"] is not None:
        assert get_score("deepmad")(graph, item["image_size"], weights=weights).value == pytest.approx(
            item["deepmad"], rel=1e-9
        )


def test_by_hand() -> None:
    # 3 -> 8 channels, 3x3, stride 2: fan-in 27. Then 8 -> 16, 1x1 (fan-in 8) beside nothing. Level ends in 16 channels.
    g = GraphBuilder(3)
    x = g.conv(-1, 8, k=3, s=2, act="relu")
    g.conv(x, 16)
    graph = g.finish()
    want = 0.5 * math.log(27) + 0.5 * math.log(8) + math.log(16)
    assert get_score("maxent")(graph, 64, weights=(2.0,)).value == pytest.approx(2 * want, rel=1e-12)
    side = math.log(16) + math.log(32**2)
    assert get_score("deepmad")(graph, 64, weights=(1.0,)).value == pytest.approx(
        side * (want - math.log(16)), rel=1e-12
    )
    assert effectiveness(graph, 64) == pytest.approx(2 * math.exp(-math.log(27 * 8) / 2), rel=1e-12)


def test_entropy_of_the_whole_detector_goes_down_and_up_again() -> None:
    """Two levels and a neck that comes up: the finer level's path leads over the coarser one."""
    g = GraphBuilder(3)
    fine = g.conv(-1, 8, k=3, s=2, act="relu")
    coarse = g.conv(fine, 16, k=3, s=2, act="relu")
    g.part = "neck"
    joined = g.join("concat", fine, g.single("upsample", coarse, scale=2))
    out = g.conv(joined, 4, k=1)
    g.part = "head"
    g.conv(out, 100, k=5)
    graph = g.finish()
    steps = [0.5 * math.log(fan_in) for fan_in in (27, 72, 24)]
    want = 2.0 * (sum(steps) + math.log(4)) + 3.0 * (sum(steps[:2]) + math.log(16))
    found = get_score("maxent_detector")(graph, 64, weights=(2.0, 3.0))
    assert found.value == pytest.approx(want, rel=1e-12) and found.notes["strides"] == [2, 4]
    backbone = 2.0 * (steps[0] + math.log(8)) + 3.0 * (sum(steps[:2]) + math.log(16))
    assert get_score("maxent")(graph, 64, weights=(2.0, 3.0)).value == pytest.approx(backbone, rel=1e-12)
    assert not get_score("maxent_detector").additive


def test_the_largest_path_counts_and_upsampling_ends_the_descent() -> None:
    g = GraphBuilder(4)
    a = g.conv(-1, 4, k=3)
    b = g.conv(-1, 4, k=1)
    joined = g.join("concat", a, b)
    down = g.conv(joined, 8, k=3, s=2)
    up = g.single("upsample", down, scale=2)
    g.conv(up, 64, k=7)
    found = levels(g.finish(), 32)
    assert [level.stride for level in found] == [1, 2]
    assert found[0].entropy == pytest.approx(0.5 * math.log(36))
    assert found[1].entropy == pytest.approx(0.5 * math.log(36) + 0.5 * math.log(72))


@pytest.mark.parametrize("name", space_names())
def test_population_score_is_the_graph_score(name: str) -> None:
    space = load_space(name)
    for weights in ((0, 0, 1, 1, 16), (1, 1, 1, 1, 8), (0, 0.5, 0, 2, 1)):
        row_score = get_score("maxent").over_rows(SpaceCosts(space, None), weights=weights)
        rows = space.sample(8, np.random.default_rng(1))
        ticks = row_score.total(rows)
        for row, tick in zip(rows, ticks, strict=True):
            value = get_score("maxent")(skeleton(space.decode(row)), 320, weights=weights).value
            assert tick * SCORE_TICK == pytest.approx(value, rel=1e-10)


def test_whole_detectors_are_scored_on_their_backbone() -> None:
    arch = PUBLISHED["damo-yolo-s"]
    whole = get_score("maxent")(lower(arch), 640).value
    assert whole == pytest.approx(get_score("maxent")(lower(arch, "backbone"), 640).value)


def test_unknown_and_empty() -> None:
    with pytest.raises(BadInput, match="did you mean maxent"):
        get_score("maxnet")
    with pytest.raises(BadInput, match="no ops"):
        get_score("maxent")(Graph([]), 64)
    g = GraphBuilder(3)
    g.single("maxpool", -1, k=(2, 2), s=(2, 2), p=(0, 0))
    with pytest.raises(BadInput, match="nothing to score"):
        get_score("maxent")(g.finish(), 64)


def test_closed_forms_load_no_torch() -> None:
    code = (
        "import sys\nfrom nas.scores import get_score\nfrom search_spaces.lowering import skeleton\n"
        "from search_spaces.published import PUBLISHED\n"
        "[get_score(n)(skeleton(PUBLISHED['damo-yolo-t']), 320) for n in ('maxent', 'deepmad')]\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
