"""Drawings fit the terminal, name every stage, and their numbers add up to the whole."""

from __future__ import annotations

import pytest

from nas.costs import architecture_costs
from nas.devices.profile import load_device
from nas.report.architecture_text import WIDTH, architecture_text, graph_text, piece_costs
from search_spaces.architecture import Architecture, Head, Neck, Stage, Stem
from search_spaces.lowering import lower
from search_spaces.neck import level_name
from search_spaces.necks import NECK_KINDS
from search_spaces.published import PUBLISHED
from tests.search_spaces.necks.cases import HEADS, LEVELS, NECKS, detector
from workbench.errors import BadInput

HUGE = Architecture(
    "mob", Stem(1024, 31), tuple(Stage("k1dwsek1", 4096, 24576, 31, s, 20) for s in (2, 2, 2, 1, 2)), "silu",
    neck=Neck((4096, 4096, 4096), 10.0, 0.123456, "silu", True), head=Head(10000, 99, 31), name="n" * 200,
)  # fmt: skip
"""Far wider numbers than any detector has: 180 thousand million parameters."""


@pytest.mark.parametrize("arch", [*PUBLISHED.values(), HUGE], ids=lambda a: a.name[:20])
@pytest.mark.parametrize("ascii", [False, True])
def test_fits_and_names_all(arch: Architecture, ascii: bool) -> None:
    text = architecture_text(arch, 1280, load_device("t4"), ascii)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.isascii() is ascii
    table, tree = text.split("\n\n")
    for name in ("stem", *(f"stage{i + 1}" for i in range(len(arch.stages))), "neck", "head"):
        assert f"\n{name} " in table
        assert f" {name}" in tree
    for name in ("merge_3", "merge_4", "merge_5", "merge_6", "merge_7", "P3:", "P4:", "P5:", "SPP"):
        assert name in tree


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_real_detector_fits_100_columns(name: str) -> None:
    text = architecture_text(PUBLISHED[name], 1280, load_device("t4"))
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("name", PUBLISHED)
def test_pieces_add_up(name: str) -> None:
    profile, arch = load_device("t4"), PUBLISHED[name]
    pieces = piece_costs(arch, 640, profile)
    whole = architecture_costs(arch, 640, profile).costs
    assert list(pieces) == ["stem", *(f"stage{i + 1}" for i in range(len(arch.stages))), "neck", "head"]
    assert sum(p["params"] for p in pieces.values()) == whole["params"]
    assert sum(p["flops"] for p in pieces.values()) == whole["flops"]
    fixed = profile.fixed_ticks * profile.tick_ms
    assert sum(p["ms"] for p in pieces.values()) + fixed == pytest.approx(whole["latency_ms"], rel=1e-9)
    assert f"{whole['params']:,.0f}" in architecture_text(arch)


def test_without_a_device_there_are_no_milliseconds() -> None:
    header = architecture_text(PUBLISHED["damo-yolo-s"]).splitlines()[0]
    assert header.split()[-1] == "GFLOPs"
    assert "ms" not in piece_costs(PUBLISHED["damo-yolo-s"], 640)["neck"]


def test_csp_blocks_are_drawn_as_deployed() -> None:
    text = architecture_text(PUBLISHED["damo-yolo-l"], ascii=True)
    stage3 = text.split("stage3 (1/16)")[1].split("stage4 (1/16)")[0]
    assert "down 3x3: 128 -> 256, stride 2" in stage3 and "4 blocks: 128 -> 384 -> 128" in stage3
    assert "fuse" not in stage3, "the wrapping stays open for stage 4"


@pytest.mark.parametrize("strides", LEVELS, ids=str)
@pytest.mark.parametrize("neck", NECKS)
@pytest.mark.parametrize("head", HEADS)
def test_every_neck_and_head_is_told(neck: str, strides: tuple[int, ...], head: str) -> None:
    arch = detector(NECKS[neck], strides, HEADS[head])
    text = architecture_text(arch, 4 * strides[-1], load_device("t4"))
    assert max(map(len, text.splitlines())) <= 100
    nodes = NECK_KINDS[arch.neck.kind].nodes(strides) if arch.neck else ()
    for name in (*(node.name for node in nodes), *(level_name(stride).upper() + ":" for stride in strides)):
        assert f" {name}" in text
    assert ("4 distances" in text) == (HEADS[head].reg_max == 0)
    assert f"{architecture_costs(arch, 4 * strides[-1]).costs['params']:,.0f}" in text


def test_the_input_must_fit_the_coarsest_level() -> None:
    arch = detector(NECKS["pan"], (8, 16), HEADS["zero"])
    assert architecture_text(arch, 80)
    with pytest.raises(BadInput, match="multiple of 16"):
        architecture_text(arch, 72)


def test_nodes_say_what_they_join() -> None:
    text = architecture_text(detector(NECKS["pan"], (8, 16, 32), HEADS["plain"]), ascii=True)
    for line in (
        "up_p4 (1/16):   P5 up, P4 -> 40, k1kx", "up_p3 (1/8):    up_p4 up, P3 -> 24, k1kx",
        "down_p4 (1/16): up_p3 down, up_p4 -> 40, k1kx", "down_p5 (1/32): down_p4 down, P5 -> 48, k1kx",
        "head: head with 2 convs, 3x3 of 24 channels, predictions k1", "P4: down_p4, 40 -> 3 classes, 4 distances",
    ):  # fmt: skip
        assert line in text


def test_bare_backbone() -> None:
    text = architecture_text(PUBLISHED["damo-yolo-t"].backbone())
    assert "neck" not in text and "stage5" in text


@pytest.mark.parametrize("px", [0, 32, 650])
def test_input_rule(px: int) -> None:
    with pytest.raises(BadInput, match="multiple of 32"):
        architecture_text(PUBLISHED["damo-yolo-s"], px)


def test_graph_totals() -> None:
    arch = PUBLISHED["damo-yolo-s"]
    graph = lower(arch)
    text = graph_text(graph, 640)
    assert max(map(len, text.splitlines())) <= WIDTH
    total = text.splitlines()[-1].split()
    assert total[:3] == ["total", str(len(graph)), f"{architecture_costs(arch, 640).costs['params']:,.0f}"]
