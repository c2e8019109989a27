"""A detector and batches small enough to train in a test."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from distill.data.feed.views import Origin
from distill.train.loop import Batch
from search_spaces.space_file import load_space
from zoo.detector import Detector, Recipe
from zoo.factory import build_recipe
from zoo.learning.targets import Targets

PX, CLASSES = 64, 3


@dataclasses.dataclass(frozen=True)
class TinyBatch:
    """One batch, as the loader gives it."""

    image: torch.Tensor
    targets: Targets
    origin: Origin | None = None


def tiny_detector(seed: int = 0) -> Detector:
    """A DAMO-YOLO-style detector of a few hundred thousand parameters."""
    space = load_space("res")
    arch = space.decode(space.sample(1, np.random.default_rng(0))[0], "tiny")
    assert arch.neck is not None and arch.head is not None
    stages = tuple(
        dataclasses.replace(stage, out=16 * (1 + i // 2), btn=8 * (1 + i // 2), depth=1, k=3)
        for i, stage in enumerate(arch.stages)
    )
    arch = dataclasses.replace(
        arch,
        stem=dataclasses.replace(arch.stem, out=16),
        stages=stages,
        neck=dataclasses.replace(arch.neck, out=(16, 16, 16), depth=0.34),
        head=dataclasses.replace(arch.head, classes=CLASSES),
    )
    torch.manual_seed(seed)
    return build_recipe(Recipe("tiny", CLASSES, arch))


def furnish(folder: Path, images: int) -> None:
    """A synthetic set ``data`` and ``tiny_detector`` as ``tiny.yaml``, for commands."""
    from distill.data.synthetic.synth import make  # brings OpenCV, which most tests of this detector do without

    make(folder / "data", images, 0, lambda text: None)
    arch = tiny_detector().recipe.architecture
    assert arch is not None
    (folder / "tiny.yaml").write_text(arch.to_yaml())


def batches(count: int, images: int = 4, seed: int = 0) -> list[Batch]:
    """Grey pictures with a bright square each, whose channel tells its class."""
    random = np.random.default_rng(seed)
    found: list[Batch] = []
    for _ in range(count):
        image = torch.full((images, 3, PX, PX), 100.0)
        boxes, labels = [], []
        for i in range(images):
            x, y = random.integers(2, 30, 2).tolist()
            side, label = int(random.integers(12, 30)), int(random.integers(CLASSES))
            image[i, label, y : y + side, x : x + side] = 250.0
            boxes.append(torch.tensor([[x, y, x + side, y + side]], dtype=torch.float32))
            labels.append(torch.tensor([label]))
        found.append(
            TinyBatch(image, Targets(tuple(boxes), tuple(labels), tuple(torch.zeros(0, 4) for _ in range(images))))
        )
    return found
