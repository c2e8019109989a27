"""DAMO-YOLO's losses, plain and NMS-free: the official code's numbers, ignored regions, and that it learns."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.lowering import lower
from search_spaces.published import PUBLISHED
from search_spaces.space_file import load_space
from tests.zoo.families import loss_checks
from tests.zoo.families.loss_cases import CLASSES, SIZE, example, random_targets, zero_head_maps
from tests.zoo.families.loss_checks import mapped, raw_of, some_targets, targets_of
from tests.zoo.families.overfit import CLASSES as SHAPES
from tests.zoo.families.overfit import ap50, overfit, shapes
from zoo.boxes import anchor_points, flatten_levels
from zoo.detector import Recipe
from zoo.factory import build_recipe
from zoo.families.damo_yolo import DamoYolo
from zoo.families.parts.zero_head import ONE_TO_MANY, ONE_TO_ONE, zero_head_boxes, zero_head_losses
from zoo.images import prepare
from zoo.learning.assign_ota import aligned_ota
from zoo.learning.targets import Phase, Targets, total

STRIDES = (8, 16, 32)
OFFICIAL = {
    ("example", 16): (
        {"quality": 14.62738, "box": 1.01529, "distribution": 0.8926137},
        {"boxes": 1.7267, "classes": 18.4267},
    ),
    ("random", 16): (
        {"quality": 14.52998, "box": 1.22309, "distribution": 0.8520845},
        {"boxes": 1.70366, "classes": 17.8978},
    ),
    ("example", 7): (
        {"quality": 12.44989, "box": 1.008247, "distribution": 0.6083092},
        {"boxes": 1.36894, "classes": 15.7056},
    ),
    ("random", 7): (
        {"quality": 15.58071, "box": 1.187512, "distribution": 0.7123615},
        {"boxes": 1.373, "classes": 19.1774},
    ),
}
"""By targets and ``reg_max``: losses, and the sums of the absolute gradients of all raw maps, that tinyvision/DAMO-YOLO
(Apache-2.0, commit 319572e) gives for the maps and targets below: its ZeroHead in training, the convolutions replaced
by these maps, torch 2.13 on a CPU."""


def damo_yolo(one_to_one: bool = False, classes: int = 3) -> DamoYolo:
    torch.manual_seed(0)
    arch = PUBLISHED["damo-yolo-ns"]
    assert arch.head is not None
    arch = dataclasses.replace(arch, head=dataclasses.replace(arch.head, one_to_one=one_to_one))
    detector = build_recipe(Recipe("damo-yolo-ns", classes, arch))
    assert isinstance(detector, DamoYolo)
    return detector


def case(name: str, reg_max: int) -> tuple[dict[str, list[Tensor]], Targets]:
    """Raw maps with gradients, and targets."""
    size, images, seed = (SIZE, 3, 0) if name == "example" else ((160, 192), 4, 7)
    raw = zero_head_maps(seed, images, reg_max, size)
    targets = example() if name == "example" else random_targets(7, images, CLASSES, size)
    return {key: [level.requires_grad_() for level in maps] for key, maps in raw.items()}, targets


@pytest.mark.parametrize(("name", "reg_max"), OFFICIAL)
def test_losses_and_gradients_are_the_official_ones(name: str, reg_max: int) -> None:
    raw, targets = case(name, reg_max)
    losses = zero_head_losses(raw["boxes"], raw["classes"], targets, STRIDES, reg_max)
    total(losses).backward()
    expected, slopes = OFFICIAL[name, reg_max]
    assert {key: float(value.detach()) for key, value in losses.items()} == pytest.approx(expected, rel=1e-4)
    found = {key: sum(float(level.grad.abs().sum()) for level in maps) for key, maps in raw.items()}  # type: ignore[union-attr]
    assert found == pytest.approx(slopes, rel=1e-4)


def test_an_object_teaches_one_cell_of_the_one_to_one_head() -> None:
    raw, targets = case("random", 16)
    corners, strides = anchor_points(raw["boxes"], STRIDES, 0.0)
    boxes = zero_head_boxes(raw["boxes"], STRIDES, 16)
    inputs = boxes, flatten_levels(raw["classes"]), corners * strides, strides, targets
    many, single = aligned_ota(*inputs), aligned_ota(*inputs, one_to_one=True)
    for at, labels in enumerate(targets.labels):
        taught = single.objects[at][single.positive[at]]
        assert sorted(taught.tolist()) == list(range(len(labels)))
    assert int(many.positive.sum()) > targets.objects
    # the same costs: wherever two objects do not want the same cell, the one is among the many
    shared = single.positive & (single.objects == many.objects)
    assert int(shared.sum()) >= 0.8 * targets.objects


def test_nms_free_head_names_the_losses_of_both_heads() -> None:
    detector = damo_yolo(one_to_one=True)
    targets = some_targets()
    raw = raw_of(detector, targets)
    losses = detector.loss(raw, targets, loss_checks.SIZE, Phase())
    plain = ("quality", "box", "distribution")
    assert list(losses) == [*plain, *(f"{ONE_TO_ONE}_{name}" for name in plain)]
    alone = zero_head_losses(raw["boxes"], raw["classes"], targets, STRIDES, detector.reg_max)
    assert all(torch.equal(losses[name], alone[name]) for name in plain)
    single = zero_head_losses(
        raw["one_to_one_boxes"], raw["one_to_one_classes"], targets, STRIDES, detector.reg_max, one_to_one=True
    )
    assert all(torch.equal(losses[f"{ONE_TO_ONE}_{name}"], single[name]) for name in plain)
    total({name: value for name, value in losses.items() if name.startswith(ONE_TO_ONE)}).backward()
    assert all(value.grad is None for value in detector.head.get_submodule(ONE_TO_MANY).parameters())
    assert all(value.grad is not None for value in detector.head.get_submodule(ONE_TO_ONE).parameters())


def test_ignored_regions_are_not_background() -> None:
    raw, targets = case("example", 16)
    region = torch.tensor([[0.0, 0.0, 64.0, 96.0]])
    crowd = dataclasses.replace(targets, ignored=(region, region, torch.zeros(0, 4)))
    losses = zero_head_losses(raw["boxes"], raw["classes"], crowd, STRIDES, 16)
    total(losses).backward()
    for level, stride in zip(raw["classes"], STRIDES, strict=True):
        slope = level.grad
        assert slope is not None
        inside = 64 // stride
        assert not slope[1, ..., :inside].any() and slope[1, ..., inside:].all() and slope[2].all()
    plain = zero_head_losses(raw["boxes"], raw["classes"], targets, STRIDES, 16)
    assert float(losses["quality"].detach()) < float(plain["quality"].detach())
    assert torch.equal(losses["box"], plain["box"]), "objects in a crowd are still taught"


def test_overflow_shows_in_the_losses() -> None:
    raw, targets = case("example", 16)
    for name in raw:
        for value in (torch.nan, torch.inf):
            spoilt = mapped(raw, Tensor.detach)
            spoilt[name] = [torch.full_like(spoilt[name][0], value), *spoilt[name][1:]]
            assert not total(zero_head_losses(spoilt["boxes"], spoilt["classes"], targets, STRIDES, 16)).isfinite()


def test_distances_beyond_the_last_bin_stay_before_it() -> None:
    """A box larger than the bins reach is learned as far as they reach, by both losses."""
    raw = {
        name: [level.detach()[:1].requires_grad_() for level in maps] for name, maps in case("example", 7)[0].items()
    }
    losses = zero_head_losses(raw["boxes"], raw["classes"], targets_of([[0, 0, 640, 640, 0]]), STRIDES, 7)
    total(losses).backward()
    assert all(value.isfinite() for value in losses.values())
    assert all(level.grad is not None and level.grad.isfinite().all() for level in raw["boxes"])


@pytest.mark.slow
def test_the_nms_free_head_learns_beside_the_plain_one() -> None:
    """AP50 1.0 without suppression and with it after 67 s of one core, torch 2.13; 0.75 and 1.0 if the NMS-free head
    reads detached features, on which one convolution cannot tell an object's best cell from its neighbours."""
    detector = damo_yolo(one_to_one=True, classes=SHAPES)
    assert detector.branch == ONE_TO_ONE
    assert overfit(detector, 300, batch=4) >= 0.9
    detector.choose_branch(ONE_TO_MANY)
    pictures, targets = shapes(16, 160)
    image, _ = prepare(pictures, 160, detector.preprocess)
    assert ap50(detector.predict(image), targets, SHAPES) >= 0.9


@pytest.mark.slow
def test_a_searched_detector_learns_sixteen_pictures_by_heart() -> None:
    """The one of forty drawn with the least to compute: AP50 0.997 after 71 s of one core, torch 2.13."""
    space = load_space("mob")
    drawn = [space.decode(row, "searched") for row in space.sample(40, np.random.default_rng(0))]

    def macs(arch: Architecture) -> int:
        table = lower(arch).table(160)
        return int(table.total(table.macs))

    torch.manual_seed(0)
    detector = build_recipe(Recipe("searched", SHAPES, min(drawn, key=macs)))
    assert overfit(detector, 240, batch=4) >= 0.9
