"""Inherited weights: what is equal to the source, what is preserved, what stays random, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.space_file import load_space
from tests.distill.tiny import tiny_detector
from tests.search_spaces.necks.cases import HEADS, NECKS
from tests.search_spaces.necks.cases import detector as detector_case
from tests.zoo.families.checks import disturb
from workbench.errors import BadInput
from zoo.detector import Detector, Recipe
from zoo.factory import build, build_recipe
from zoo.layers import SkippableBlock
from zoo.pruning.apply import apply_cuts
from zoo.pruning.cuts import Cuts
from zoo.pruning.groups import channel_groups
from zoo.weights.checkpoint import save
from zoo.weights.inherit import inherit, inherit_file
from zoo.weights.inheriting.norms import unit_norms
from zoo.weights.inheriting.pairs import tensor_pairs
from zoo.weights.inheriting.report import Inherited
from zoo.weights.licence import FLAGGED, of_weights

PX = 64


def lively(detector: Detector, seed: int = 1) -> Detector:
    """Random weights whose signals neither vanish nor grow."""
    torch.manual_seed(seed)
    disturb(detector)
    for part in detector.modules():
        if isinstance(part, nn.Conv2d) and part.bias is None:
            nn.init.normal_(part.weight, std=part.weight[0].numel() ** -0.5)
    return detector.eval()


def tiny_arch(space: str = "res") -> Architecture:
    """A small architecture of a search space."""
    drawn = load_space(space)
    arch = drawn.decode(drawn.sample(1, np.random.default_rng(0))[0], "tiny")
    assert arch.neck is not None and arch.head is not None
    stages = tuple(
        dataclasses.replace(stage, out=16 * (1 + i // 2), btn=8 * (1 + i // 2), depth=1, k=3)
        for i, stage in enumerate(arch.stages)
    )
    return dataclasses.replace(
        arch,
        stem=dataclasses.replace(arch.stem, out=16),
        stages=stages,
        neck=dataclasses.replace(arch.neck, out=(16, 16, 16), depth=0.34),
        head=dataclasses.replace(arch.head, classes=3),
    )


def changed(arch: Architecture, depth: int | None = None, neck: dict[str, Any] | None = None, **stage: Any) -> Detector:
    """A detector of ``arch`` with other stages (``depth``: that many blocks in each) and another neck."""
    assert arch.neck is not None
    more = stage if depth is None else {**stage, "depth": depth}
    arch = dataclasses.replace(
        arch,
        stages=tuple(dataclasses.replace(s, **more) for s in arch.stages),
        neck=dataclasses.replace(arch.neck, **(neck or {})),
    )
    torch.manual_seed(5)
    return build_recipe(Recipe("changed", 3, arch)).eval()


def image(batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, PX, PX, generator=torch.Generator().manual_seed(3)) * 2 - 1


def outputs(detector: Detector) -> list[Tensor]:
    """The maps that enter the head, and the raw outputs, computed in float64."""
    detector = copy.deepcopy(detector).eval().double()
    with torch.no_grad():
        maps = detector.features(image().double())
        raw = detector.head(maps)
    return [*maps, *(x for value in raw.values() for x in (value if isinstance(value, list) else [value]))]


def distance(ours: Detector, theirs: Detector, maps: bool = True) -> float:
    """Largest relative distance of an output, what is the same everywhere left out; without ``maps`` of raw ones."""
    worst = 0.0
    for a, b in list(zip(outputs(ours), outputs(theirs), strict=True))[0 if maps else 3 :]:
        worst = max(worst, float((a - b).norm() / (b - b.mean((-2, -1), keepdim=True)).norm()))
    return worst


@pytest.mark.parametrize(
    "model",
    ["tiny", *(pytest.param(m, marks=pytest.mark.slow) for m in ("yolo11n", "yolo26n", "rtdetrv2-s", "yolov7"))],
)
def test_the_source_itself_gives_the_same_bits(model: str) -> None:
    source = lively(tiny_detector() if model == "tiny" else build(model, 3))
    target = source.untrained()
    result = inherit(target, source)
    ours, theirs = target.state_dict(), source.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert result.share == result.used_share == 1 and result.output_change == 0.0
    assert not any(result.random.values()) and not result.identity and not result.differing
    assert all(torch.equal(a, b) for a, b in zip(outputs(target), outputs(source), strict=True))


@pytest.mark.parametrize(
    ("model", "wider"),
    [
        ("yolox-tiny", "yolox-s"),
        pytest.param("yolo11n", "yolo11s", marks=pytest.mark.slow),
        pytest.param("yolo26n", "yolo26s", marks=pytest.mark.slow),
    ],
)
def test_a_wider_model_computes_the_same(model: str, wider: str) -> None:
    source, target = lively(build(model, 3)), build(wider, 3)
    result = inherit(target, source)
    assert distance(target, source, maps=False) < 1e-5
    assert result.output_change is not None and result.output_change < 1e-5
    assert result.share == result.used_share == 1 and not result.differing


@pytest.mark.parametrize("space", ["res", "mob", "bottleneck"])
def test_a_wider_and_deeper_backbone_and_neck_compute_the_same(space: str) -> None:
    """A block that ends with a ReLU is the identity only for what a ReLU gave, and so not behind the pyramid of the
    last ``res`` stage: there the source has two blocks already."""
    arch = tiny_arch(space)
    source = lively(changed(arch, depth=2))
    target = changed(arch, depth=3, btn=24, neck={"out": (24, 32, 24), "depth": 1.0})
    result = inherit(target, source)
    assert distance(target, source, maps=False) < 1e-5
    stages = {path for path in result.identity if path.startswith("backbone")}
    assert len(stages) == len(arch.stages)
    assert {path for path in result.identity if path.startswith("neck")}
    assert result.used_share == 1 and not result.differing and 0 < result.share < 1


def test_new_blocks_are_the_identity_and_learn() -> None:
    """Also where a ReLU ends the branch, which at exactly zero would pass no gradient, ever.

    The last block of a merge node is read by new columns alone, which are zero: it learns from the second step on.
    """
    source = lively(changed(tiny_arch()))
    target = changed(tiny_arch(), depth=2, neck={"depth": 1.0, "act": "relu"})
    blocks = inherit(target, source).identity
    assert {path.partition(".")[0] for path in blocks} == {"backbone", "neck"}
    for path in blocks:
        block = target.get_submodule(path)
        assert isinstance(block, SkippableBlock)
        x = torch.randn(1, next(p for p in block.parameters() if p.ndim == 4).shape[1], 8, 8).relu()
        with torch.no_grad():
            assert (block.eval()(x) - x).abs().max() < 1e-5, path
    optimizer = torch.optim.SGD(target.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        raw = target.train()(image())
        sum(level.square().mean() for level in [*raw["boxes"], *raw["classes"]]).backward()
        optimizer.step()
    for path in blocks:
        gradients = [p.grad for p in target.get_submodule(path).parameters()]
        assert any(g is not None and g.abs().max() > 0 for g in gradients), path


@pytest.mark.parametrize(
    ("model", "narrower"),
    [("yolox-s", "yolox-tiny"), pytest.param("yolo11s", "yolo11n", marks=pytest.mark.slow)],
)
def test_a_narrower_model_is_the_source_cut_to_its_most_important_units(model: str, narrower: str) -> None:
    source, target = lively(build(model, 3)), build(narrower, 3)
    groups = channel_groups(source)
    importance = unit_norms(source, groups)
    sizes = {(g.layer, i): len(g) for g, i in numbered(target)}
    kept = {}
    for group, i in numbered(source):
        best = sorted(range(len(group)), key=lambda k: (-importance[group.units[k]], k))
        kept[group.name] = np.array(sorted(best[: sizes[group.layer, i]]))
    child = copy.deepcopy(source)
    apply_cuts(child, groups.cuts_of(kept), groups)
    result = inherit(target, source)
    ours, theirs = target.state_dict(), child.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert result.share == 1 and result.used == sum(p.numel() for p in child.parameters())


def numbered(detector: Detector) -> list[tuple[Any, int]]:
    """Channel groups with their numbers among those of their layer."""
    counts: dict[str, int] = {}
    found = []
    for group in channel_groups(detector).groups:
        found.append((group, counts.get(group.layer, 0)))
        counts[group.layer] = counts.get(group.layer, 0) + 1
    return found


def test_a_cut_detector_takes_the_channels_that_it_kept() -> None:
    source = lively(changed(tiny_arch(), depth=2))
    groups = channel_groups(source)
    least = {g.name: np.argsort(unit_norms(source, groups)[g.units])[: len(g) - 2] for g in groups.groups[:6]}
    cuts = groups.cuts_of({name: np.sort(kept) for name, kept in least.items()}, skipped=groups.blocks[:1])
    child = copy.deepcopy(source)
    apply_cuts(child, cuts, groups)
    child.recipe = dataclasses.replace(source.recipe, cuts=cuts)
    target = child.untrained()
    result = inherit(target, source)
    assert result.share == 1
    assert all(torch.equal(a, b) for a, b in zip(outputs(target), outputs(child), strict=True))
    back = source.untrained()
    assert inherit(back, child).identity == cuts.skipped
    assert distance(back, child) < 1e-5


def test_larger_kernels_compute_the_same() -> None:
    source, target = lively(changed(tiny_arch())), changed(tiny_arch(), k=5)
    result = inherit(target, source)
    assert distance(target, source) < 1e-6
    assert 0 < result.share < 1 and result.used_share == 1


def test_classes_go_by_name() -> None:
    source = lively(tiny_detector())
    source.info = dataclasses.replace(source.info, class_names=("a", "b", "c"))
    torch.manual_seed(2)
    target = build_recipe(dataclasses.replace(source.recipe, classes=4)).eval()
    target.info = dataclasses.replace(target.info, class_names=("c", "new", "a", "other"))
    fresh = target.head.cls[0].weight.clone()
    result = inherit(target, source)
    ours, theirs = target(image()), source(image())
    for level in range(3):
        assert torch.equal(ours["classes"][level][:, [0, 2]], theirs["classes"][level][:, [2, 0]])
        assert torch.equal(ours["boxes"][level], theirs["boxes"][level])
    assert torch.equal(target.head.cls[0].weight[[1, 3]], fresh[[1, 3]])
    assert (result.classes, result.all_classes) == (2, 4) and "2 of 4 classes are new" in str(result)
    assert result.outputs == "boxes and scores" and result.output_change == 0.0


def test_both_heads_of_an_nms_free_detector_take_the_one_head_and_give_it_back() -> None:
    source = lively(tiny_detector())
    arch = tiny_arch()
    assert arch.head is not None
    free = dataclasses.replace(arch, head=dataclasses.replace(arch.head, one_to_one=True))
    target = build_recipe(Recipe("free", 3, free)).eval()
    assert inherit(target, source).share == 1
    raw, theirs = target(image()), source(image())
    for name in ("boxes", "classes"):
        for level in range(3):
            assert torch.equal(raw[name][level], theirs[name][level])
            assert torch.equal(raw[f"one_to_one_{name}"][level], theirs[name][level])
    back = source.untrained()
    assert inherit(back, target).output_change == 0.0


@pytest.mark.parametrize(
    ("model", "larger"),
    [
        ("yolox-nano", "yolox-tiny"),
        *(
            pytest.param(model, larger, marks=pytest.mark.slow)
            for model, larger in (
                ("yolo11n", "yolo11s"), ("yolo11n", "yolo11m"), ("yolo26n", "yolo26s"), ("yolo26n", "yolo26m"),
                ("damo-yolo-ns", "damo-yolo-nm"), ("damo-yolo-t", "damo-yolo-s"), ("damo-yolo-m", "damo-yolo-l"),
                ("rtdetrv2-s", "rtdetrv2-m"), ("yolov7", "yolov7-x"),
            )
        ),
    ],
)  # fmt: skip
def test_the_smallest_of_a_family_inherits_and_trains(model: str, larger: str) -> None:
    source, target = lively(build(larger, 3)), build(model, 3)
    result = inherit(target, source)
    assert 0.3 < result.share <= 1 and result.output_change is not None
    raw = target.train()(image())
    tensors = [x for value in raw.values() for x in (value if isinstance(value, list) else [value])]
    loss = sum(x.square().mean() for x in tensors)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in target.parameters() if p.grad is not None)


def test_a_chain_without_shortcuts_is_reported_where_its_ties_differ() -> None:
    source, target = lively(build("yolox-tiny", 3)), build("yolox-m", 3)
    result = inherit(target, source)
    assert "neck.top_down4.conv3.conv.weight" in result.differing
    assert "neck.top_down4.m.1.conv1.conv" in result.random["neck"]
    assert not any("stage2" in name for name in result.differing)
    assert result.identity[0] == "backbone.stage2.1.m.1" and not any("neck" in path for path in result.identity)


def test_doubles_follow_from_the_seed() -> None:
    source = lively(changed(tiny_arch()))
    states = []
    for seed in (0, 0, 1):
        target = changed(tiny_arch(), btn=40)
        inherit(target, source, seed)
        states.append(target.state_dict())
    differing = [name for name in states[0] if not torch.equal(states[0][name], states[2][name])]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert differing and all(name.endswith("conv.weight") for name in differing)


def test_the_report_adds_up() -> None:
    source, target = lively(changed(tiny_arch(), depth=1)), changed(tiny_arch(), depth=2, k=5)
    result = inherit(target, source)
    assert isinstance(result, Inherited)
    assert result.taken + sum(sum(layers.values()) for layers in result.random.values()) == result.parameters
    assert result.parameters == sum(p.numel() for p in target.parameters())
    data = result.to_dict()
    assert data["share"] == round(result.taken / result.parameters, 6) and data["identity"] == list(result.identity)
    assert len(str(result).splitlines()) == 2 and "not inherited: backbone" in str(result)


def test_a_file_is_inherited_with_its_licence(tmp_path: Path) -> None:
    source = lively(tiny_detector())
    official = {"model": "yolo11n", "licence": "AGPL-3.0", "sha256": "ab" * 32}
    source.info = dataclasses.replace(
        source.info, provenance={"licence": "AGPL-3.0", "file": "yolo11n.pt"}, lineage=(official,)
    )
    save(source, tmp_path / "s.safetensors")
    target = source.untrained()
    result, record = inherit_file(target, tmp_path / "s.safetensors")
    assert record["licence"] == "AGPL-3.0" and record["file"] == "s.safetensors" and record["share"] == 1
    assert [entry["sha256"] for entry in target.info.lineage] == ["ab" * 32, record["sha256"]]
    assert of_weights({"trained_with": "this"}, target.info.lineage).answer == FLAGGED
    assert result.output_change == 0.0


def test_what_cannot_be_inherited_is_refused_in_one_line(tmp_path: Path) -> None:
    target = tiny_detector()
    save(build("yolox-nano", 3), tmp_path / "other.safetensors")
    save(lively(tiny_detector()).fuse(), tmp_path / "folded.safetensors")
    (tmp_path / "noise.safetensors").write_bytes(b"noise" * 100)
    before = copy.deepcopy(target.state_dict())
    for name, words in (
        ("other.safetensors", "yolox-nano is of the family yolox, and tiny of damo-yolo"),
        ("folded.safetensors", "folded for deployment"),
        ("noise.safetensors", "no checkpoint of this workbench"),
        ("missing.safetensors", "no such file"),
        ("official.pth", "nas zoo import"),
    ):
        with pytest.raises(BadInput, match=words) as caught:
            inherit_file(target, tmp_path / name)
        assert len(str(caught.value).splitlines()) == 1 and name in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


def test_cuts_of_another_network_are_no_cuts_of_the_source() -> None:
    """The units of a cut detector come from its source only if it was cut from the very same network."""
    source = lively(changed(tiny_arch(), btn=24))
    target = changed(tiny_arch())
    groups = channel_groups(target)
    first = groups.groups[0]
    cuts = groups.cuts_of({first.name: np.arange(len(first) - 1)})
    apply_cuts(target, cuts, groups)
    target.recipe = dataclasses.replace(target.recipe, cuts=cuts)
    assert isinstance(cuts, Cuts) and inherit(target, source).share == 1


def test_levels_of_a_head_inherit_from_those_of_their_stride() -> None:
    """A detector with a level at stride 4 takes over the levels that its source has."""

    def made(strides: tuple[int, ...], seed: int) -> Detector:
        return lively(build_recipe(Recipe("x", 3, detector_case(NECKS["pan-c3k2"], strides, HEADS["plain"]))), seed)

    source, target = made((8, 16, 32), 1), made((4, 8, 16, 32), 2)
    pairs = tensor_pairs(target, source).names
    for part in ("cls.{}.weight", "box.{}.bias", "cls_convs.{}.1.conv.weight", "box_convs.{}.0.bn.bias"):
        assert f"head.{part.format(0)}" not in pairs
        for level in (1, 2, 3):
            assert pairs[f"head.{part.format(level)}"] == f"head.{part.format(level - 1)}"
    assert pairs["neck.up_p4.0.conv2.conv.weight"] == "neck.up_p4.0.conv2.conv.weight"
    assert not any(name.startswith("neck.up_p2") for name in pairs)
    inherit(target, source)
    assert torch.equal(target.state_dict()["head.cls.2.weight"], source.state_dict()["head.cls.1.weight"])
