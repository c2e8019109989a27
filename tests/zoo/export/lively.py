"""Detectors with random weights whose outputs differ from place to place, and how their files are compared."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from torch import Tensor, nn

from search_spaces.published import PUBLISHED
from tests.zoo.families.checks import disturb
from zoo.detector import Detector, Recipe
from zoo.export.scenes import prepared_scenes
from zoo.export.write import ExportedFile
from zoo.factory import build_recipe

PX, CLASSES = 128, 8


FREE = ("yolo26n", "rtdetrv2-s", "free")
"""Models that need no NMS; ``free`` is a DAMO-YOLO with a one-to-one head."""

MODELS = ("damo-yolo-ns", "yolox-nano", "yolov7", "yolo11n", *FREE)

LIVELY = {
    "damo-yolo": r"head\.(one_to_\w+\.)?cls\.\d\.bias",
    "yolox": r"head\.class_preds\.\d\.bias",
    "yolov7": r"head\.predict\..*\.conv\.bias",
    "yolo11": r"head\.classes\.\d\.2\.bias",
    "yolo26": r"head\.one_to_\w+\.classes\.\d\.2\.bias",
    "rtdetrv2": r"head\.(cell_)?scores(\.\d)?\.bias",
}
"""The biases of the class scores of every family."""

@functools.cache
def lively(model: str) -> Detector:
    """A detector whose random weights give scores and boxes that differ from place to place."""
    torch.manual_seed(1)
    recipe = Recipe(model, CLASSES)
    if model == "free":
        arch = PUBLISHED["damo-yolo-ns"]
        assert arch.head is not None
        recipe = Recipe(
            model, CLASSES, dataclasses.replace(arch, name=model, head=dataclasses.replace(arch.head, one_to_one=True))
        )
    detector = build_recipe(recipe)
    disturb(detector)
    for part in detector.modules():
        if isinstance(part, nn.Conv2d) and part.bias is None:
            nn.init.normal_(part.weight, std=part.weight[0].numel() ** -0.5)
    for name, value in detector.named_parameters():
        if re.fullmatch(LIVELY[detector.family], name):
            nn.init.uniform_(value, -6, -1)
        elif "objectness" in name and name.endswith("bias"):
            nn.init.zeros_(value)
        elif re.fullmatch(r"head\.(cell_)?boxes\.(\d\.)?layers\.2\.weight", name):
            nn.init.normal_(value, std=0.05)
    return detector.eval()


def picture(model: str, batch: int = 1, height: int = PX, width: int = PX) -> Tensor:
    """Scenes that the exporter does not measure on."""
    return prepared_scenes(lively(model), batch, height, width, 1, seed=99)[0]


def decoded(model: str, image: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return lively(model).decode(lively(model)(image), (image.shape[2], image.shape[3]))


def in_onnxruntime(path: Path, image: Tensor) -> list[Tensor]:
    """The outputs of the file as it is."""
    return [
        torch.from_numpy(value)
        for value in ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(
            None, {"image": image.numpy()}
        )
    ]


def assert_same_rows(ours: Tensor, theirs: Tensor, tolerance: float = 1e-4) -> None:
    """Every row of either has its twin in the other: boxes within ``tolerance`` of the side, the rest within
    ``tolerance``."""
    assert ours.shape == theirs.shape
    scale = torch.ones(ours.shape[1])
    scale[:4] = 1 / PX
    distance = torch.cdist((ours * scale).double(), (theirs * scale).double(), p=torch.inf)
    assert float(distance.amin(0).max()) < tolerance
    assert float(distance.amin(1).max()) < tolerance


def found_by_torch(model: str, image: Tensor) -> list[Tensor]:
    """What ``predict`` finds in every image, ``[k, 6]``."""
    return [torch.cat([d.boxes, d.scores[:, None], d.labels[:, None].float()], 1) for d in lively(model).predict(image)]


def assert_faithful(written: ExportedFile, least_rows: int) -> None:
    assert written.within_tolerance, written.gaps
    assert all(gap.rows >= least_rows for gap in written.gaps.values()), written.gaps


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
