"""``calibrated``: rows agree with Graphs, exact search with brute force, absurd shapes lose, the evidence holds."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nas.budgets import parse_budgets
from nas.cli import main
from nas.costs import SpaceCosts, architecture_costs
from nas.devices.profile import load_device
from nas.scores import get_score
from nas.scores.anatomy import Anatomy, skippable, spatial
from nas.scores.calibrated import CALIBRATED, Calibration, Form, as_map, shipped, terms_of
from nas.searcher.evaluator import whole_limits
from nas.strategies.exact.search import solve
from search_spaces.architecture import Architecture
from search_spaces.graph_builder import GraphBuilder
from search_spaces.lowering import lower
from search_spaces.published import PUBLISHED
from search_spaces.space import with_grid
from search_spaces.space_file import load_space
from tests.benchmarks.scripts import load_script
from tests.nas.scores.test_fitted_scores import winner
from workbench.errors import BadInput

YOLOBENCH = Path(__file__).parents[4] / "shared" / "yolobench"
DATA = pytest.mark.skipif(not (YOLOBENCH / "graphs.jsonl.gz").is_file(), reason="needs ../shared/yolobench")


def value(arch: Architecture, input_px: int = 640) -> float:
    return get_score("calibrated")(lower(arch), input_px).value


# Backbones of DAMO-YOLO-S's own kind that nobody would train: (stem, stages as out, btn, depth).
ABSURD = {
    "very deep and narrow": (8, [(8, 8, 2), (64, 8, 5), (64, 8, 5), (128, 16, 5), (256, 32, 5)]),
    "one giant stage, fine": (8, [(8, 8, 2), (128, 128, 5), (128, 16, 1), (128, 16, 1), (256, 32, 1)]),
    "one giant stage, middle": (8, [(8, 8, 1), (64, 8, 1), (64, 8, 1), (256, 256, 5), (256, 32, 1)]),
    "all channels at stride 32": (8, [(8, 8, 1), (64, 8, 1), (64, 8, 1), (128, 16, 1), (512, 512, 5)]),
    "a thread before the body": (8, [(8, 8, 1), (128, 16, 1), (128, 128, 5), (256, 64, 5), (512, 64, 5)]),
}


def absurd(name: str) -> Architecture:
    """One of ``ABSURD`` with DAMO-YOLO-S's neck and head; it lies in the shipped space."""
    stem, numbers = ABSURD[name]
    row = [stem, *(v for out, btn, depth in numbers for v in (out, btn, 3, depth))]
    space = load_space("res")
    assert space.contains_rows(np.array([row])).all(), name
    return space.decode(row, name)


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_shapes_lose_clearly_at_their_own_latency(name: str) -> None:
    arch, device = absurd(name), load_device("t4")
    cost_ms = architecture_costs(arch, 640, device).costs["latency_ms"]
    costs = SpaceCosts(with_grid(load_space("res"), 32), device)
    limits = whole_limits(costs, parse_budgets([f"{cost_ms:.4f}ms"]))
    found = solve(CALIBRATED.over_rows(costs), limits).certificate
    # 0.01 is a little more than one more point of VOC mAP at this level for every three.
    assert found.score > value(arch) + 0.01


@pytest.mark.parametrize("budget", ["2.5ms", "3ms", "4ms", "20GFLOPs", "40GFLOPs", "10Mparams"])
def test_winners_are_balanced(budget: str) -> None:
    arch, macs = winner("calibrated", budget)
    assert max(macs) < 0.7 * sum(macs)  # no giant stage
    assert macs[4] < 0.5 * sum(macs)  # stride 32 has its share and no more
    assert min(Anatomy.of(lower(arch), 640).passages) >= 32  # no thread anywhere
    deep = [stage for stage in arch.stages if stage.depth >= 3]
    assert all(stage.btn >= 64 for stage in deep)  # depth is not bought with narrow layers


def test_tiny_maps_lose_even_with_more_flops() -> None:
    # 128 px end in maps of 4 px a side: whatever the channels, the image is spent on too few places.
    wide = PUBLISHED["damo-yolo-l"]
    assert wide.neck is not None
    wide = dataclasses.replace(
        wide, stages=tuple(dataclasses.replace(s, out=3 * s.out, btn=3 * s.btn) for s in wide.stages),
        neck=dataclasses.replace(wide.neck, out=tuple(3 * c for c in wide.neck.out)),
    )  # fmt: skip
    small = PUBLISHED["damo-yolo-t"]
    flops = [architecture_costs(arch, px).costs["flops"] for arch, px in ((wide, 128), (small, 640))]
    assert flops[0] > flops[1]
    assert value(small, 640) > value(wide, 128)


def test_parts_found_with_and_without_marks() -> None:
    arch = PUBLISHED["damo-yolo-s"]
    marked = Anatomy.of(lower(arch), 640)
    assert marked.backbone_channels == (128, 256, 512)
    assert marked.head_channels == (128, 256, 512)
    assert marked.passages == (24, 88, 128, 144)
    bare = Anatomy.of(lower(arch, "backbone"), 640)
    assert (bare.backbone_channels, bare.passages, bare.head_channels) == (
        marked.backbone_channels,
        marked.passages,
        (),
    )


def test_a_layer_that_can_be_stepped_over_by_hand() -> None:
    g = GraphBuilder(3)
    x = g.conv(-1, 64, k=3, s=2)  # on every way
    y = g.conv(g.conv(x, 64, k=3), 64, k=3)  # a residual branch
    x = g.join("add", y, x)
    a = g.conv(g.conv(x, 64, k=1), 64, k=3)  # the longer branch of two
    b = g.conv(x, 64, k=1)
    x = g.join("concat", a, b)
    g.conv(x, 64, k=3)  # on every way again
    graph = g.finish()
    convs = [op.kind == "conv" for op in graph.ops]
    assert skippable(graph)[convs].tolist() == [False, True, True, True, True, False, False]
    assert spatial(graph)[convs].tolist() == [True, True, True, False, True, False, True]
    # Three 3x3 layers of 64 channels, each a half.
    assert terms_of(graph, 64, Form()).depth == pytest.approx(1.5)


def test_value_map_and_interval_belong_together() -> None:
    result = get_score("calibrated")(lower(PUBLISHED["damo-yolo-t"]), 416)
    assert result.notes["map"] == pytest.approx(1 - math.exp(-result.value))
    assert result.notes["map_low"] < result.notes["map"] < result.notes["map_high"]
    assert result.notes["outside"] == []
    assert get_score("calibrated")(lower(PUBLISHED["damo-yolo-t"]), 640).notes["outside"] == ["size"]
    assert as_map(-1.0) == 0.0
    fitted = shipped()
    assert min(fitted.size, fitted.width, fitted.depth) > 0
    assert sum((*fitted.form.passages, *fitted.form.backbone, *fitted.form.heads)) == pytest.approx(1, abs=1e-5)


def test_what_it_cannot_read_is_refused(tmp_path: Path) -> None:
    space = load_space("res")
    finer = dataclasses.replace(space, stages=(dataclasses.replace(space.stages[0], stride=1), *space.stages[1:]))
    with pytest.raises(BadInput, match="strides 8, 16 and 32"):
        CALIBRATED.over_rows(SpaceCosts(finer, None, 640, "backbone"))
    (tmp_path / "other.yaml").write_text("format: else\n")
    with pytest.raises(BadInput, match="nas-calibrated-1"):
        Calibration.load(tmp_path / "other.yaml")


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "damo-yolo-s", "--score", "calibrated"]) == 0
    assert "mAP on VOC, trained from nothing, 6" in capsys.readouterr().out
    args = [
        "search",
        "--budget",
        "3ms",
        "--device",
        "t4",
        "--grid",
        "32",
        "--score",
        "calibrated",
        "--runs",
        str(tmp_path),
        "--quiet",
        "--no-pictures",
    ]
    assert main(args) == 0
    assert "certificate: proved best" in capsys.readouterr().out


def test_it_loads_no_torch() -> None:
    code = (
        "import sys\nfrom nas.scores import get_score\nfrom search_spaces.lowering import lower\n"
        "from search_spaces.published import PUBLISHED\nget_score('calibrated')(lower(PUBLISHED['damo-yolo-t']), 320)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@DATA
def test_the_evidence() -> None:
    """The shipped file is what the fit gives, and what it says about left-out families is what the issue asks for."""
    import yaml

    from nas.scores.calibrated import FILE

    module = load_script(Path(__file__).parents[3], "fit_calibrated")
    evidence = module.Evidence.read(str(YOLOBENCH))
    terms = evidence.terms(Form())
    stored = yaml.safe_load(FILE.read_text())
    numbers = module.fit(terms, evidence.others)
    assert list(stored["coefficients"].values()) == pytest.approx(numbers.tolist(), rel=1e-5)
    for name, least in (("family", 0.70), ("merged", 0.70), ("architecture", 0.70)):
        judged = evidence.judge(module.left_out(terms, evidence.others, evidence.groups[name]))
        assert judged["mean"] == pytest.approx(stored["errors"][name]["mean"], abs=1e-5)
        assert judged["mean"] >= least and judged["regret"] <= 1 and judged["all"] >= 0.85
    # What ships gives the same through the public door, one point at a time.
    trained = evidence.trained
    for i in range(0, len(trained), 37):
        got = get_score("calibrated")(trained.graphs[trained.arch[i]], int(trained.input_px[i])).value
        assert got == pytest.approx(numbers[0] + terms[i] @ numbers[1:], abs=1e-4)
