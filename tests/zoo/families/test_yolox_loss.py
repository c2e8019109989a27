"""YOLOX's losses: the official code's numbers, the closing phase, ignored regions, and that it learns."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor

from tests.zoo.families.loss_cases import CLASSES, SIZE, example, random_targets, yolox_maps
from tests.zoo.families.loss_checks import mapped, targets_of
from zoo.detector import Recipe
from zoo.factory import build_recipe
from zoo.families.yolox import YOLOX
from zoo.learning.targets import Phase, Targets, total

OFFICIAL = {
    "example": (
        {"box": 4.213575, "objectness": 31.97057, "classes": 1.938421, "l1": 2.204298},
        {"boxes": 6.37637, "objectness": 20.1762, "classes": 0.984943},
    ),
    "random": (
        {"box": 4.199986, "objectness": 38.77311, "classes": 2.79303, "l1": 2.012381},
        {"boxes": 6.44324, "objectness": 24.1063, "classes": 1.51219},
    ),
}
"""Losses, and the sums of the absolute gradients of all raw maps, that Megvii-BaseDetection/YOLOX (Apache-2.0, commit
6ddff48) gives for the maps and targets below: its YOLOXHead in training with ``use_l1``, the convolutions replaced by
these maps, torch 2.13 on a CPU."""


def yolox(model: str = "yolox-nano", classes: int = CLASSES) -> YOLOX:
    torch.manual_seed(0)
    detector = build_recipe(Recipe(model, classes))
    assert isinstance(detector, YOLOX)
    return detector


def case(name: str) -> tuple[dict[str, list[Tensor]], Targets, tuple[int, int]]:
    """Raw maps with gradients, targets and size."""
    size, images, seed = (SIZE, 3, 0) if name == "example" else ((160, 192), 4, 7)
    raw = yolox_maps(seed, images, size)
    targets = example() if name == "example" else random_targets(7, images, CLASSES, size)
    return {key: [level.requires_grad_() for level in maps] for key, maps in raw.items()}, targets, size


@pytest.mark.parametrize("name", OFFICIAL)
def test_losses_and_gradients_are_the_official_ones(name: str) -> None:
    raw, targets, size = case(name)
    losses = yolox().loss(raw, targets, size, Phase(closing=True))
    total(losses).backward()
    expected, slopes = OFFICIAL[name]
    assert {key: float(value.detach()) for key, value in losses.items()} == pytest.approx(expected, rel=1e-4)
    found = {key: sum(float(level.grad.abs().sum()) for level in maps) for key, maps in raw.items()}  # type: ignore[union-attr]
    assert found == pytest.approx(slopes, rel=1e-4)


def test_l1_joins_in_the_closing_phase_alone() -> None:
    raw, targets, size = case("example")
    early, late = (yolox().loss(raw, targets, size, Phase(0.9, closing)) for closing in (False, True))
    assert set(late) - set(early) == {"l1"}
    for name, value in early.items():
        assert torch.equal(value, late[name])


def test_perfect_predictions_cost_nothing() -> None:
    """One cell that predicts its object exactly and surely, and all others sure of background."""
    detector = yolox()
    raw = {"boxes": [torch.zeros(1, 4, *s) for s in ((4, 4), (2, 2), (1, 1))]}
    raw |= {
        name: [torch.full((1, c, *x.shape[2:]), -60.0) for x in raw["boxes"]]
        for name, c in (("objectness", 1), ("classes", CLASSES))
    }
    # the object's centre is the cell's: x 12, y 20, and it is as large as the cell
    raw["boxes"][0][0, :2, 2, 1] = 0.5
    raw["objectness"][0][0, 0, 2, 1] = raw["classes"][0][0, 3, 2, 1] = 60.0
    losses = detector.loss(raw, targets_of([[8, 16, 16, 24, 3]]), (32, 32), Phase(closing=True))
    assert {name: float(value) for name, value in losses.items()} == pytest.approx(dict.fromkeys(losses, 0.0), abs=1e-5)


def test_ignored_regions_are_not_background() -> None:
    detector = yolox()
    raw, targets, size = case("example")
    region = torch.tensor([[0.0, 0.0, 64.0, 96.0]])
    crowd = dataclasses.replace(targets, ignored=(region, region, torch.zeros(0, 4)))
    total(detector.loss(raw, crowd, size, Phase())).backward()
    slopes = [level.grad for level in raw["objectness"]]
    for slope, stride in zip(slopes, (8, 16, 32), strict=True):
        assert slope is not None
        inside = 64 // stride
        assert not slope[1, ..., :inside].any() and slope[1, ..., inside:].all() and slope[2].all()
    positive = [slope[0] < 0 for slope in slopes if slope is not None]
    assert any(cells[..., : cells.shape[-1] // 2].any() for cells in positive), "objects in a crowd are still taught"
    assert not any((slope[0, ..., : slope.shape[-1] // 2] > 0).any() for slope in slopes if slope is not None)


def test_overflow_shows_in_the_losses() -> None:
    detector = yolox()
    raw, targets, size = case("example")
    for name in raw:
        for value in (torch.nan, torch.inf):
            spoilt = mapped(raw, Tensor.detach)
            spoilt[name] = [torch.full_like(spoilt[name][0], value), *spoilt[name][1:]]
            assert not total(detector.loss(spoilt, targets, size, Phase())).isfinite()
