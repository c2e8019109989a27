"""Detectors with every kind of neck, set of levels and head: graph, losses, folding, decoding, export."""

from __future__ import annotations

import collections
import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from search_spaces.architecture import Architecture, Head, Neck
from search_spaces.blocks import BLOCK_KINDS
from search_spaces.graph import same_graph
from search_spaces.lowering import lower
from search_spaces.necks import NECK_KINDS
from tests.search_spaces.necks.cases import HEADS, LEVELS, NECKS, detector
from tests.zoo.families.checks import assert_folding_and_prediction, disturb
from tests.zoo.families.loss_checks import targets_of
from workbench.errors import BadInput
from zoo.detector import Detector, Recipe
from zoo.factory import build_recipe
from zoo.families.parts.necks import NODE_MODULES
from zoo.families.parts.zero_head import zero_head_boxes
from zoo.learning.targets import Phase, total
from zoo.pruning.apply import apply_cuts, zero_units
from zoo.pruning.groups import channel_groups
from zoo.weights.checkpoint import load, save

CASES = [
    pytest.param(
        neck, strides, head, id=f"{neck}-{'_'.join(map(str, strides))}-{head}",
        marks=() if (i + j + k) % 3 == 0 else pytest.mark.slow,
    )
    for i, neck in enumerate(NECKS)
    for j, strides in enumerate(LEVELS)
    for k, head in enumerate(HEADS)
]  # fmt: skip
"""Everything; every neck meets every set of levels, and every head, without the slow ones too."""
FEW = [
    pytest.param(neck, strides, head, id=f"{neck}-{'_'.join(map(str, strides))}-{head}")
    for neck, strides, head in (
        ("repgfpn", (4, 8, 16, 32), "plain"),
        ("repgfpn-depthwise", (16, 32), "depthwise"),
        ("pan", (4, 8, 16), "zero"),
        ("pan-inverted", (8, 16), "plain"),
    )
]
"""One of everything, for tests that take longer."""


def case(neck: str, strides: tuple[int, ...], head: str) -> Architecture:
    return detector(NECKS[neck], strides, HEADS[head])


def built(arch: Architecture) -> Detector:
    """The detector with spread weights."""
    torch.manual_seed(0)
    assert arch.head is not None
    made = build_recipe(Recipe("case", arch.head.classes, arch))
    disturb(made)
    return made


def test_every_kind_has_its_nodes() -> None:
    assert set(NODE_MODULES) == set(NECK_KINDS)


@pytest.mark.parametrize(("neck", "strides", "head"), CASES)
def test_lowering_equals_the_trace(neck: str, strides: tuple[int, ...], head: str) -> None:
    check_graph(case(neck, strides, head))


@pytest.mark.parametrize("kind", [name for name, kind in BLOCK_KINDS.items() if not kind.spans_stages])
def test_every_block_kind_can_be_a_node(kind: str) -> None:
    check_graph(detector(Neck(kind="pan", blocks=(kind,), hidden_ratio=0.5), (8, 16), HEADS["zero"]))


def check_graph(arch: Architecture) -> None:
    """Lowering and trace agree in every op, parameter and MAC."""
    assert arch.neck is not None
    strides = arch.neck.strides
    with torch.device("meta"):
        made = build_recipe(Recipe("case", 3, arch)).eval()
    px = 4 * strides[-1]
    lowered, traced = lower(arch), made.graph(px)
    assert same_graph(lowered, traced, px) == ""
    assert collections.Counter(op.kind for op in lowered) == collections.Counter(op.kind for op in traced)
    assert [(op.cin, op.cout, op.k, op.s, op.g, op.act) for op in sorted_convs(lowered)] == [
        (op.cin, op.cout, op.k, op.s, op.g, op.act) for op in sorted_convs(traced)
    ]
    ours, theirs = lowered.table(px), traced.table(px)
    assert ours.total(ours.macs) == theirs.total(theirs.macs)
    assert ours.total(ours.params) == theirs.total(theirs.params) == sum(p.numel() for p in made.fuse().parameters())
    assert [lowered.ops[i].part for i in lowered.outputs] == [traced.ops[i].part for i in traced.outputs]


def sorted_convs(graph):  # type: ignore[no-untyped-def]
    return sorted((op for op in graph if op.kind == "conv"), key=lambda op: (op.cin, op.cout, op.k, op.s, op.g, op.act))


@pytest.mark.parametrize(("neck", "strides", "head"), FEW)
def test_every_parameter_learns_from_a_batch(neck: str, strides: tuple[int, ...], head: str) -> None:
    made = built(case(neck, strides, head)).train()
    px = 8 * strides[-1]
    sides = [px * part / 16 for part in (1, 2, 4, 8, 12)]
    boxes = [[[x, x, x + side, x + side, 0] for x in range(0, int(px - side), 16)] for side in sides]
    targets = targets_of(*boxes)
    raw = made.training_raw(made.features(torch.rand(len(boxes), 3, px, px) * 255), targets)
    losses = made.loss(raw, targets, (px, px), Phase())
    assert any("distribution" in name for name in losses) == (HEADS[head].reg_max > 0)
    total(losses).backward()
    grads = {name: value.grad for name, value in made.named_parameters()}
    assert [name for name, grad in grads.items() if grad is None or not grad.isfinite().all()] == []
    assert [name for name, grad in grads.items() if grad is not None and not grad.any()] == []


@pytest.mark.parametrize(("neck", "strides", "head"), CASES)
def test_folding_changes_nothing(neck: str, strides: tuple[int, ...], head: str) -> None:
    made = built(case(neck, strides, head)).eval()
    assert made.strides == strides
    assert_folding_and_prediction(made, torch.rand(1, 3, 2 * strides[-1], 3 * strides[-1]))


def test_plain_distances_are_exponentials_in_cells() -> None:
    logs = torch.tensor([1.0, 2.0, 3.0, 4.0]).log().reshape(1, 4, 1, 1)
    found = zero_head_boxes([logs, logs], (4, 8), 0)
    assert torch.allclose(found[0], torch.tensor([[-1.0 * s, -2 * s, 3 * s, 4 * s] for s in (4, 8)]))
    made = built(detector(NECKS["pan"], (4, 8, 16), Head(3, reg_max=0))).eval()
    with torch.no_grad():
        raw = made(torch.rand(1, 3, 64, 64) * 255)
    assert [x.shape[1] for x in raw["boxes"]] == [4, 4, 4]
    assert made.distributions(raw) is None


def test_the_input_must_fit_the_coarsest_level() -> None:
    with torch.device("meta"):
        made = build_recipe(Recipe("case", 3, case("pan", (8, 16), "zero")))
    assert [shape[1] for shape in made.graph(48).shapes(48)][-1] == 3
    with pytest.raises(BadInput, match="multiples of 16"):
        made.graph(40)


def test_a_checkpoint_may_have_a_side_that_fits_the_coarsest_level(tmp_path: Path) -> None:
    made = built(dataclasses.replace(case("pan", (8, 16), "zero"), input_px=112))
    assert made.info.input_px == 112
    save(made, tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors").info == made.info
    made.info = dataclasses.replace(made.info, input_px=120)
    with pytest.raises(BadInput, match="multiple of 16"):
        save(made, tmp_path / "a.safetensors")


def test_only_one_head_remains() -> None:
    arch = case("pan", (8, 16), "depthwise")
    assert arch.head is not None and arch.head.one_to_one
    plain = dataclasses.replace(arch, head=dataclasses.replace(arch.head, one_to_one=False))
    assert lower(arch).digest() == lower(plain).digest()


@pytest.mark.parametrize(
    ("neck", "strides", "head"),
    [("repgfpn", (4, 8, 16, 32), "plain"), ("pan-c3k2", (8, 16), "depthwise"), ("pan", (16, 32), "plain")],
)
def test_cut_channels_equal_zeros(neck: str, strides: tuple[int, ...], head: str) -> None:
    """Every second unit of every group of channels is cut."""
    parent = built(case(neck, strides, head)).eval()
    groups = channel_groups(parent)
    assert any(group.layer.startswith("neck.") for group in groups.groups)
    cuts = groups.cuts_of({group.name: np.arange(0, len(group), 2) for group in groups.groups})
    zeroed, child = copy.deepcopy(parent), copy.deepcopy(parent)
    zero_units(zeroed, groups, cuts)
    apply_cuts(child, cuts, groups)
    image = torch.rand(1, 3, 4 * strides[-1], 4 * strides[-1])
    with torch.no_grad():
        pairs = list(zip(child.raw_outputs(child(image)), zeroed.raw_outputs(zeroed(image)), strict=True))
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert sum(p.numel() for p in child.parameters()) < 0.5 * sum(p.numel() for p in parent.parameters())


def export_and_compare(arch: Architecture, folder: Path) -> None:
    pytest.importorskip("onnxruntime")
    from zoo.export.options import ExportOptions
    from zoo.export.write import export

    assert arch.neck is not None and arch.head is not None
    side = 4 * arch.neck.strides[-1]
    form = "end2end" if arch.head.one_to_one else "decoded"
    file = export(built(arch).eval(), folder / "x.onnx", "onnx", ExportOptions(form=form, height=side, width=side))
    assert file.within_tolerance, str(file)


@pytest.mark.parametrize(("neck", "strides", "head"), FEW)
def test_onnx_agrees_with_torch(neck: str, strides: tuple[int, ...], head: str, tmp_path: Path) -> None:
    export_and_compare(case(neck, strides, head), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("neck", "strides", "head"), CASES)
def test_onnx_agrees_with_torch_everywhere(
    neck: str, strides: tuple[int, ...], head: str, tmp_path: Path
) -> None:
    export_and_compare(case(neck, strides, head), tmp_path)
