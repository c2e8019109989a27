"""Training losses and gradients against the official implementations, for deterministic weights, images and targets.

Ours run in float64, so that what is left is the rounding of the official float32 run: components and total agree to
1e-4 relative, gradient norms to 5e-4 (norms of single parameters to 5e-3, or to 1e-5 of the whole gradient).
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor

from tests.zoo.families import parity
from zoo.detector import Detector, Recipe
from zoo.factory import build_recipe, family_of
from zoo.learning.targets import Phase, Targets, total
from zoo.weights.official import load_official

FOLDER = parity.FOLDERS[0] / "losses"
FILES = sorted(FOLDER.glob("*.json"))
CASES = [(path, case["name"]) for path in FILES for case in parity.read_fixture(path)["cases"]]
QUICK = "two_images_head_biases"
"""The case of every family that is not slow."""
RELATIVE, GRADIENT, PARAMETER, PARAMETER_FLOOR = 1e-4, 5e-4, 5e-3, 1e-5
ROUNDED = {"two_images_no_ota": 4.0}
"""Cases whose gradient is less certain, by so much. That of YOLOv7's plain loss at random weights moves by 5e-3 where
ours runs in float32 instead of float64, so that the official float32 figure is as uncertain."""
NAMES: dict[str, dict[str, str]] = {
    "yolo11": {"box": "box_loss", "classes": "cls_loss", "distribution": "dfl_loss"},
    "yolo26": {
        f"{ours}_{name}": f"{theirs}.{official}"
        for ours, theirs in (("one_to_many", "one2many"), ("one_to_one", "one2one"))
        for name, official in (("box", "box_loss"), ("classes", "cls_loss"), ("l1", "l1_loss"))
    },
    "yolov7": {"box": "box", "objectness": "obj", "classes": "cls"},
    "yolox": {"box": "iou_loss", "objectness": "conf_loss", "classes": "cls_loss", "l1": "l1_loss"},
    "damo-yolo": {"quality": "loss_cls", "box": "loss_bbox", "distribution": "loss_dfl"},
    "rtdetrv2": {
        f"{ours}{name}": f"loss_{official}{theirs}"
        for ours, theirs in (("", ""), ("layers_", "_aux"), ("selected_", "_enc_0"))
        for name, official in (("classes", "vfl"), ("l1", "bbox"), ("giou", "giou"))
    },
}
"""Family to our names of the losses and the official ones."""


@functools.cache
def fixture(path: Path) -> dict[str, Any]:
    return parity.read_fixture(path)


@functools.cache
def official_detector(model: str) -> Detector:
    """The model with the deterministic weights, in training form."""
    tensors = parity.official_tensors(parity.read_fixture(parity.FOLDERS[0] / f"{model}.json"))
    detector = build_recipe(Recipe(model, 80))
    load_official(detector, tensors)
    return detector


def images(data: dict[str, Any]) -> Tensor:
    """The batch ``[b, 3, h, w]``, float64."""
    shape = [1, *data["input_shape"][1:]]
    return torch.cat([parity.random_image(key, shape, data["input_scale"]) for key in data["images"]]).double()


def targets_of(case: dict[str, Any]) -> Targets:
    """Boxes and labels of a case."""
    boxes = tuple(torch.tensor(image["boxes"], dtype=torch.float64).reshape(-1, 4) for image in case["targets"])
    labels = tuple(torch.tensor(image["labels"], dtype=torch.int64) for image in case["targets"])
    return Targets(boxes, labels, tuple(torch.zeros(0, 4, dtype=torch.float64) for _ in boxes))


def with_overrides(detector: Detector, overrides: Mapping[str, list[float]]) -> None:
    """Fill the named official tensors with a repeated pattern."""
    family, _ = family_of(detector.recipe.model)
    ours = {family.official_name(name): value for name, value in detector.named_parameters()}
    with torch.no_grad():
        for name, pattern in overrides.items():
            flat = ours[name].reshape(-1)
            flat.copy_(torch.tensor(pattern).repeat(-(-len(flat) // len(pattern)))[: len(flat)])


def official_components(family: str, case: dict[str, Any], batch: int) -> dict[str, float]:
    """The official components by our names, in the form in which they sum to the official total."""
    found: dict[str, float] = {}
    for ours, official in NAMES[family].items():
        if official.endswith("_aux"):
            found[ours] = sum(value for name, value in case["losses"].items() if name.startswith(f"{official}_"))
        else:
            weight = case.get("branch_weights", {}).get(official.split(".")[0], 1.0)
            scale = batch if family in ("yolo11", "yolo26", "yolov7") else 1
            found[ours] = case["losses"][official] * weight * scale
    return found


@pytest.mark.skipif(not CASES, reason="no loss fixtures beside the project")
@pytest.mark.parametrize(
    ("path", "name"),
    [
        pytest.param(path, name, id=f"{path.stem}-{name}", marks=() if name == QUICK else pytest.mark.slow)
        for path, name in CASES
    ],
)
def test_losses_and_gradients_equal_the_official_ones(path: Path, name: str) -> None:
    data = fixture(path)
    case = next(case for case in data["cases"] if case["name"] == name)
    detector = copy.deepcopy(official_detector(data["model"])).double().train()
    if case.get("loss_ota") is False:
        detector.ota = False  # type: ignore[assignment]
    with_overrides(detector, case.get("overrides", {}))
    targets, batch = targets_of(case), len(case["targets"])
    phase = Phase(0.0, closing=name.endswith("_l1"))
    losses = detector.loss(detector(images(data)), targets, tuple(data["input_shape"][2:]), phase)
    total(losses).backward()

    wanted = official_components(data["family"], case, batch)
    if "l1" in wanted and "l1" not in losses:
        assert wanted.pop("l1") == 0
    assert set(losses) == set(wanted)
    for part, value in losses.items():
        assert value.item() == pytest.approx(wanted[part], rel=RELATIVE), part
    assert total(losses).item() == pytest.approx(case["total"], rel=RELATIVE)

    family, _ = family_of(data["model"])
    gradients = {
        family.official_name(key): value.grad.norm().item()
        for key, value in detector.named_parameters()
        if value.grad is not None
    }
    norm = torch.tensor(list(gradients.values())).norm().item()
    room = ROUNDED.get(name, 1.0)
    assert norm == pytest.approx(case["gradient_norm"], rel=room * GRADIENT)
    for key, value in case["gradient_norms"].items():
        if value is not None:
            assert gradients[key] == pytest.approx(value, rel=room * PARAMETER, abs=PARAMETER_FLOOR * norm), key
