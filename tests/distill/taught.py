"""A tiny detector that has learned sixteen pictures by heart, and these pictures as a data set on disk."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from tests.distill.tiny import CLASSES, PX, batches, tiny_detector
from zoo.detector import Detector, Recipe
from zoo.factory import build_recipe
from zoo.learning.targets import Phase

NAMES, IDS = ("red", "green", "blue"), (7, 90, 113)
STEPS = 150
FED_SEED = 5
FIRST, SECOND = "backbone.layers.3.0.first", "backbone.layers.3.0.second"
"""Two layers of the tiny detector with a ReLU between them; the second is a RepConv."""
EARLIER = ("backbone.layers.1.0.first", "backbone.layers.1.0.second")


@functools.cache
def _taught(nms_free: bool) -> Detector:
    detector = tiny_detector()
    if nms_free:
        arch = detector.recipe.architecture
        assert arch is not None and arch.head is not None
        torch.manual_seed(0)
        detector = build_recipe(
            Recipe(
                "free",
                CLASSES,
                dataclasses.replace(arch, name="free", head=dataclasses.replace(arch.head, one_to_one=True)),
            )
        )
    fed, rate = batches(2, 8, FED_SEED), 4e-3
    optimizer = torch.optim.AdamW(detector.parameters(), lr=rate)
    detector.train()
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = rate * min(1, (step + 1) / 20) * (1 - step / STEPS)
        batch = fed[step % 2]
        losses = detector.loss(
            detector.training_raw(detector.features(batch.image), batch.targets),
            batch.targets,
            (PX, PX),
            Phase(step / STEPS),
        )
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(detector.parameters(), 10)
        optimizer.step()
    detector.info = dataclasses.replace(detector.info, class_names=NAMES, category_ids=IDS, input_px=PX)
    return detector.eval()


def taught(nms_free: bool = False) -> Detector:
    """A copy of the detector that knows the pictures."""
    return copy.deepcopy(_taught(nms_free))


def untaught() -> Detector:
    """The same detector with random weights."""
    detector = tiny_detector().eval()
    detector.info = dataclasses.replace(detector.info, class_names=NAMES, input_px=PX)
    return detector


def overflowing(detector: Detector, first: str = FIRST, second: str = SECOND, factor: float = 2.0**17) -> Detector:
    """The same function in FP32, to the bit; what layer ``first`` hands to ``second`` is too large for FP16."""
    before, after = detector.get_submodule(first), detector.get_submodule(second)
    with torch.no_grad():
        # ReLU lies between them, and powers of two change no digit.
        before.bn.weight *= factor
        before.bn.bias *= factor
        after.dense.conv.weight /= factor
        after.point.conv.weight /= factor
    return detector


def write_pictures(folder: Path) -> Path:
    """The pictures it has learned, in COCO's form, as both splits."""
    (folder / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        (folder / "images" / split).mkdir(parents=True)
        images, annotations = [], []
        for number, batch in enumerate(batches(2, 8, FED_SEED)):
            for at, pixels in enumerate(batch.image):
                place = 8 * number + at + 1
                Image.fromarray(pixels.permute(1, 2, 0).byte().numpy()).save(folder / "images" / split / f"{place}.png")
                images.append({"id": place, "file_name": f"{place}.png", "width": PX, "height": PX})
                for (x1, y1, x2, y2), label in zip(
                    batch.targets.boxes[at].tolist(), batch.targets.labels[at].tolist(), strict=True
                ):
                    box = [x1, y1, x2 - x1, y2 - y1]
                    annotations.append(
                        {
                            "id": len(annotations) + 1,
                            "image_id": place,
                            "category_id": IDS[label],
                            "bbox": box,
                            "area": box[2] * box[3],
                            "iscrowd": 0,
                        }
                    )
        categories = [{"id": one, "name": name} for one, name in zip(IDS, NAMES, strict=True)]
        whole = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "annotations" / f"{split}.json").write_text(json.dumps(whole))
    return folder
