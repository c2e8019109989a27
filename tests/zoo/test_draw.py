"""Detections drawn on images of any shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from workbench.errors import BadInput

torch = pytest.importorskip("torch")
pytest.importorskip("PIL.Image")

from zoo.coco_names import COCO_NAMES
from zoo.draw import class_color, draw


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_drawing_draws_inside_the_picture() -> None:
    image = picture(120, 160)
    before = image.copy()
    boxes = torch.tensor([[20.0, 40, 80, 100], [-30, -30, 400, 400], [150, 110, 160, 120]])
    drawn = draw(image, boxes, torch.tensor([0.9, 0.5, 0.3]), torch.tensor([0, 2, 79]), COCO_NAMES)
    assert (image == before).all(), "a copy"
    assert drawn.size == (160, 120) and drawn.mode == "RGB"
    pixels = np.asarray(drawn)
    for row, column, label in ((70, 20, 0), (100, 50, 0), (119, 80, 2), (60, 159, 2), (115, 150, 79)):
        assert tuple(pixels[row, column]) == class_color(label)
    assert (pixels[60:90, 30:70] == image[60:90, 30:70]).all(), "nothing inside a box is touched"
    without = draw(image, boxes.numpy(), None, [0, 2, 79], COCO_NAMES)
    assert without.size == drawn.size and (np.asarray(without) != pixels).any(), "no scores"
    assert (np.asarray(draw(image, torch.zeros(0, 4), torch.zeros(0), torch.zeros(0), COCO_NAMES)) == image).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 3), (12, 30), (2000, 40)])
def test_drawing_on_pictures_of_any_shape(shape: tuple[int, int]) -> None:
    boxes = [[0, 0, shape[1], shape[0]], [5, 5, 2, 2], [-9, -9, -3, -3], [1e9, 0, 2e9, 9], [float("nan")] * 4]
    drawn = draw(picture(*shape), boxes, [0.9, 0.8, 0.7, 0.6, 0.5], [0, 1, 2, 3, 4], COCO_NAMES)
    assert drawn.size == shape[::-1]


@pytest.mark.parametrize("shape", [(64, 64), (40, 200), (480, 640)])
def test_text_never_leaves_the_picture(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[float, float, float, float]] = []
    drawing = pytest.importorskip("PIL.ImageDraw")
    real = drawing.ImageDraw.text

    def text(pen: Any, at: tuple[float, float], words: str, **options: Any) -> None:
        written.append(pen.textbbox(at, words, font=options["font"]))
        real(pen, at, words, **options)

    monkeypatch.setattr(drawing.ImageDraw, "text", text)
    random = np.random.default_rng(0)
    boxes = random.uniform(-0.2, 1.2, (40, 4)) * ([shape[1], shape[0]] * 2)
    draw(
        np.zeros((*shape, 3), np.uint8),
        boxes,
        random.random(40),
        [33] * 40,
        ("a very long name that is to be cut " * 4,) * 80,
    )
    assert len(written) == 40
    for left, top, right, bottom in written:
        assert left >= 0 and top >= 0 and right <= shape[1] and bottom <= shape[0]


def test_tabs_keep_off_each_other() -> None:
    """Two boxes with one corner: both labels are there in full."""
    image = np.zeros((200, 300, 3), np.uint8)
    boxes = [[100, 100, 200, 180], [100, 100, 190, 170]]
    pixels = np.asarray(draw(image, boxes, [0.9, 0.8], [0, 2], ["cat"] * 3)).reshape(-1, 3)
    counts = [int((pixels == class_color(label)).all(1).sum()) for label in (0, 2)]
    alone = [
        int(
            (np.asarray(draw(image, [box], [0.9], [label], ["cat"] * 3)).reshape(-1, 3) == class_color(label))
            .all(1)
            .sum()
        )
        for box, label in zip(boxes, (0, 2), strict=True)
    ]
    assert min(have / full for have, full in zip(counts, alone, strict=True)) > 0.5


def test_names_and_colours() -> None:
    assert len(COCO_NAMES) == len(set(COCO_NAMES)) == 80
    assert (COCO_NAMES[0], COCO_NAMES[39], COCO_NAMES[79]) == ("person", "bottle", "toothbrush")
    assert len({class_color(label) for label in range(80)}) == 80


def test_wrong_input_is_named() -> None:
    image = picture(8, 8)
    for wrong in (
        lambda: draw(image, [[0, 0, 4, 4]], [0.5], [80], COCO_NAMES),
        lambda: draw(image, [[0, 0, 4, 4]], [0.5], [-1], COCO_NAMES),
        lambda: draw(image, [[0, 0, 4, 4]], [0.5, 0.4], [1], COCO_NAMES),
        lambda: draw(image[0], [], [], [], COCO_NAMES),
    ):
        with pytest.raises(BadInput):
            wrong()
