"""Every family's losses against slow NumPy loops, for targets of many kinds: none, one, a hundred, tiny, at the border,
twice the same, of one class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.zoo.families import loss_reference as reference
from tests.zoo.families.loss_checks import targets_of
from zoo.detector import Detector, Recipe
from zoo.factory import build_recipe
from zoo.families.parts.zero_head import zero_head_losses
from zoo.families.yolo11 import ExpectedDistance
from zoo.learning.targets import Phase, Targets

SIZE = (64, 96)
"""Height and width in pixels."""
Rows = list[list[list[float]]]


def many(count: int, seed: int, classes: int, most: float = 60.0) -> list[list[float]]:
    """Boxes of any place and of sides from 3 px to ``most``."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        width, height = random.uniform(3, most, 2)
        left, top = random.uniform(0, SIZE[1] - width), random.uniform(0, SIZE[0] - min(height, 62))
        rows.append([left, top, left + width, top + min(height, 62), int(random.integers(classes))])
    return rows


CASES: Mapping[str, Rows] = {
    "none": [[], []],
    "one": [[[20, 10, 61, 47, 1]], []],
    "several": [many(5, 0, 3), many(3, 1, 3)],
    "hundred": [many(100, 2, 3, 30), []],
    "tiny": [[[30, 30, 31.5, 32, 0], [9, 9, 12, 10, 2], [50.5, 20.5, 52, 26, 1]], [[3, 3, 4, 4, 1]]],
    "border": [[[0, 0, 12, 20, 0], [80, 40, 96, 64, 1], [0, 50, 96, 64, 2]], [[0, 0, 96, 64, 1], [95, 63, 96, 64, 0]]],
    "twice": [[[20, 10, 61, 47, 1], [20, 10, 61, 47, 1], [20, 10, 61, 47, 2]], [[8, 8, 24, 24, 0]] * 2],
}
"""Rows x1, y1, x2, y2, class of two images."""


def targets_and_arrays(name: str, classes: int) -> tuple[Targets, list[Any], list[Any]]:
    rows = [[[*row[:4], row[4] % classes] for row in image] for image in CASES[name]]
    targets = targets_of(*rows)
    doubles = converted(targets, torch.float64)
    return doubles, [x.numpy() for x in doubles.boxes], [x.numpy() for x in doubles.labels]


def converted(targets: Targets, dtype: torch.dtype) -> Targets:
    """The targets with boxes of another dtype."""
    boxes, ignored = (tuple(x.to(dtype) for x in column) for column in (targets.boxes, targets.ignored))
    return Targets(boxes, targets.labels, ignored)


def maps(seed: int, channels: int, scale: float, shift: Any = 0.0) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    shapes = [(2, channels, SIZE[0] // s, SIZE[1] // s) for s in reference.STRIDES]
    return [torch.randn(shape, generator=random, dtype=torch.float64) * scale + shift for shape in shapes]


def values(losses: Mapping[str, torch.Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in losses.items()}


@pytest.fixture(scope="module")
def detectors() -> dict[tuple[str, int], Detector]:
    """Detectors without weights: losses read raw maps."""
    with torch.device("meta"):
        found = {
            (model, classes): build_recipe(Recipe(model, classes))
            for model in ("yolo11n", "yolo26n", "yolox-nano")
            for classes in (1, 3)
        }
    for classes in (1, 3):
        found["yolo11n", classes].head.distance = ExpectedDistance().double()  # a constant that the loss reads
    return found


both = pytest.mark.parametrize(("name", "classes"), [*((name, 3) for name in CASES), ("several", 1), ("twice", 1)])


@both
def test_yolo11(detectors: dict[tuple[str, int], Detector], name: str, classes: int) -> None:
    targets, truth, labels = targets_and_arrays(name, classes)
    ramp = (-0.3 * torch.arange(16, dtype=torch.float64)).repeat(4)[:, None, None]
    raw = {"boxes": maps(1, 64, 1.5, ramp), "classes": maps(2, classes, 2.0, -1.0)}
    found = values(detectors["yolo11n", classes].loss(raw, targets, SIZE, Phase()))
    wanted = reference.yolo11(raw, truth, labels, SIZE, 16)
    assert found == pytest.approx({key: 2 * value for key, value in wanted.items()}, rel=1e-6, abs=1e-12)


@both
def test_yolo26(detectors: dict[tuple[str, int], Detector], name: str, classes: int) -> None:
    targets, truth, labels = targets_and_arrays(name, classes)
    branches = {
        branch: {"boxes": maps(seed, 4, 0.7, 1.5), "classes": maps(seed + 1, classes, 2.0, -1.0)}
        for branch, seed in (("one_to_many", 3), ("one_to_one", 5))
    }
    branches = {b: {**r, "boxes": [x.clamp(min=0.05) for x in r["boxes"]]} for b, r in branches.items()}
    raw = {**branches["one_to_many"], **{f"one_to_one_{key}": value for key, value in branches["one_to_one"].items()}}
    found = values(detectors["yolo26n", classes].loss(raw, targets, SIZE, Phase(0.9, by_epoch=0.25)))
    many_weight = 0.8 - 0.7 * 0.25
    wanted = {}
    for branch, topk, kept, weight in (("one_to_many", 10, None, many_weight), ("one_to_one", 7, 1, 1 - many_weight)):
        for key, value in reference.yolo11(branches[branch], truth, labels, SIZE, 1, topk, kept).items():
            wanted[f"{branch}_{key}"] = 2 * weight * value
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-12)


@both
def test_yolox(detectors: dict[tuple[str, int], Detector], name: str, classes: int) -> None:
    targets, truth, labels = targets_and_arrays(name, classes)
    shift = torch.tensor([0.5, 0.5, 0.8, 0.8], dtype=torch.float64)[:, None, None]
    raw = {"boxes": maps(7, 4, 0.6, shift), "objectness": maps(8, 1, 1.5, -1), "classes": maps(9, classes, 1.5, -1)}
    found = values(detectors["yolox-nano", classes].loss(raw, targets, SIZE, Phase(closing=True)))
    assert found == pytest.approx(reference.yolox(raw, truth, labels, SIZE), rel=1e-6, abs=1e-9)


@both
@pytest.mark.parametrize("bins", [8, 17])
def test_damo_yolo(name: str, classes: int, bins: int) -> None:
    """``reg_max`` is 16 for T to L and 7 for the nano sizes."""
    targets, truth, labels = targets_and_arrays(name, classes)
    ramp = (-0.3 * torch.arange(bins, dtype=torch.float64)).repeat(4)[:, None, None]
    raw = {"boxes": maps(15, 4 * bins, 1.5, ramp), "classes": maps(16, classes, 1.5, -2)}
    raw32 = {key: [level.float() for level in levels] for key, levels in raw.items()}
    singles = converted(targets, torch.float32)
    found = values(zero_head_losses(raw32["boxes"], raw32["classes"], singles, reference.STRIDES, bins - 1))
    assert found == pytest.approx(reference.damo_yolo(raw32, truth, labels, SIZE, bins), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_rtdetrv2(name: str) -> None:
    from zoo.families.rtdetrv2 import RTDETRv2

    targets, truth, labels = targets_and_arrays(name, 3)
    random = torch.Generator().manual_seed(13)
    layers = 4
    logits = [torch.randn(2, 12, 3, generator=random, dtype=torch.float64) * 2 - 1 for _ in range(layers + 1)]
    boxes = [torch.rand(2, 12, 4, generator=random, dtype=torch.float64) * 0.4 + 0.2 for _ in range(layers + 1)]
    raw = {
        "selected_logits": logits[0], "selected_boxes": boxes[0], "layer_logits": logits[1:], "layer_boxes": boxes[1:],
    }  # fmt: skip
    with torch.device("meta"):
        detector = build_recipe(Recipe("rtdetrv2-m", 3))
    assert isinstance(detector, RTDETRv2)
    detector.head.denoising_classes = torch.nn.Embedding(4, 4)  # the one weight that the loss reads
    found = values(detector.loss(raw, targets, SIZE, Phase()))
    by_layer = [
        reference.rtdetrv2_layer(a.numpy(), b.numpy(), truth, labels, SIZE) for a, b in zip(logits, boxes, strict=True)
    ]
    wanted = {key: value for key, value in by_layer[-1].items()}
    wanted |= {f"selected_{key}": value for key, value in by_layer[0].items()}
    wanted |= {f"layers_{key}": sum(layer[key] for layer in by_layer[1:-1]) for key in ("classes", "l1", "giou")}
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-9)
