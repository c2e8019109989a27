"""Drawing detections on an image."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from workbench.errors import BadInput
from zoo.images import check_image

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

Color = tuple[int, int, int]
DARK: Color = (20, 20, 20)
TONES = ((0.85, 1.0), (0.5, 1.0), (1.0, 0.8), (0.6, 0.88))
"""Saturation and value of class colors; five classes in a row share one."""
HUE_STEP = 0.37
"""Step of the hue from one class to the next.

Of the steps tried, this one keeps 80 classes, and the first 16 of them, furthest apart in CIE Lab: at least 5.
"""


def _font_file() -> str:
    """DejaVu Sans, which Matplotlib ships: Latin, Greek and Cyrillic letters with all their accents."""
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


def draw(image: np.ndarray, boxes: Any, scores: Any, labels: Any, names: Sequence[str]) -> Image.Image:
    """A copy of the image ``uint8 [h, w, 3]`` with ``boxes`` ``[n, 4]``, their class names and scores drawn on it.

    ``scores`` ``[n]`` may be None. ``labels`` ``[n]`` are indices into ``names``; a class has the same color in every
    image. The first box is the best and is drawn on top.
    """
    from PIL import Image, ImageDraw, ImageFont

    check_image(image, "the image")
    corners = _array(boxes, float).reshape(-1, 4)
    classes = _array(labels, int).reshape(-1)
    values = None if scores is None else _array(scores, float).reshape(-1)
    if len(classes) != len(corners) or (values is not None and len(values) != len(corners)):
        number = "no" if values is None else len(values)
        raise BadInput(f"{len(corners)} boxes, {len(classes)} labels, {number} scores: must be as many of each")
    if len(classes) and not 0 <= classes.min() <= classes.max() < len(names):
        rule = f"there are {len(names)} names, so they must be 0 to {len(names) - 1}"
        raise BadInput(f"labels {classes.min()} to {classes.max()}: {rule}")
    canvas = Image.fromarray(image)
    side = min(max(canvas.size), 3 * min(canvas.size))
    line = max(1, round(side / 320))
    font = ImageFont.truetype(_font_file(), max(9, round(side / 45)))
    pen = ImageDraw.Draw(canvas)
    for at in range(len(corners))[::-1]:
        _outline(pen, canvas.size, corners[at], class_color(int(classes[at])), line)
    texts = [names[label] for label in classes]
    if values is not None:
        texts = [f"{text} {100 * value:.0f}%" for text, value in zip(texts, values, strict=True)]
    tabs: list[_Tab] = []
    for text, box, label in zip(texts, corners, classes, strict=True):
        tab = _Tab.beside(box, _Style(text, class_color(int(label)), font, line), canvas.size, tabs)
        if tab is not None:
            tabs.append(tab)
    for tab in reversed(tabs):
        tab.draw(pen, font)
    return canvas


def class_color(label: int) -> Color:
    """The RGB color of a class, the same in every image."""
    red, green, blue = colorsys.hsv_to_rgb((0.02 + label * HUE_STEP) % 1, *TONES[label // 5 % len(TONES)])
    return round(255 * red), round(255 * green), round(255 * blue)


def _array(values: Any, kind: type) -> np.ndarray:
    """Numbers or a tensor on any device as a NumPy array."""
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=kind)


def _outline(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], box: np.ndarray, color: Color, line: int
) -> None:
    """Draw the frame of one box, with a dark line of one pixel around it that shows on any background."""
    x1, y1, x2, y2 = _corners(box, size)
    pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=DARK, width=1)
    pen.rectangle((x1, y1, x2, y2), outline=color, width=line)


@dataclass(frozen=True, slots=True)
class _Style:
    """A text and how it is drawn; ``line`` is the width of frames and the padding of texts, in pixels."""

    text: str
    color: Color
    font: Font
    line: int


@dataclass(frozen=True, slots=True)
class _Tab:
    """A text on a filled rectangle, in pixels; ``right`` and ``bottom`` are exclusive, ``pad`` surrounds the text."""

    text: str
    color: Color
    left: int
    top: int
    right: int
    bottom: int
    pad: int

    @classmethod
    def beside(
        cls, box: np.ndarray, style: _Style, size: tuple[int, int], others: Sequence[_Tab]
    ) -> _Tab | None:
        """The tab at a corner of the box that is inside the image and covers none of ``others`` if possible.

        None if the image is too small for any.
        """
        width, height = size
        font, line = style.font, style.line
        text = _fitting(style.text, width - 2 * line, font)
        above, below = _reach(text, font)
        wide, high = round(font.getlength(text)) + 2 * line, below - above + 2 * line
        if not text or high > height:
            return None
        x1, y1, x2, y2 = _corners(box, size)
        spots = [(x, y) for y in (y1 - high, y1, y2 - high + 1, y2 + 1) for x in (x1, x2 - wide + 1)]
        inside = [(min(max(x, 0), width - wide), y) for x, y in spots if 0 <= y <= height - high]
        tabs = [cls(text, style.color, x, y, x + wide, y + high, line) for x, y in inside or [(0, 0)]]
        return next((tab for tab in tabs if not any(tab.covers(other) for other in others)), tabs[0])

    def covers(self, other: _Tab) -> bool:
        """Whether the two share a pixel."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def draw(self, pen: ImageDraw.ImageDraw, font: Font) -> None:
        """Draw it: dark text on light colors, white text on dark ones."""
        pen.rectangle((self.left, self.top, self.right - 1, self.bottom - 1), fill=self.color)
        red, green, blue = self.color
        ink = DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 130 else (255, 255, 255)
        position = (self.left + self.pad, self.top + self.pad - _reach(self.text, font)[0])
        pen.text(position, self.text, fill=ink, font=font)


def _reach(text: str, font: Font) -> tuple[int, int]:
    """Top and bottom pixel row of ``text`` or of tall and low letters, whichever reach further, drawn at row 0."""
    boxes = [font.getbbox(sample) for sample in ("Alpg|", text)]
    return math.floor(min(box[1] for box in boxes)), math.ceil(max(box[3] for box in boxes))


def _corners(box: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Integer corners of a box, inside the image and in order."""
    limits = np.array([size[0] - 1, size[1] - 1] * 2)
    x1, y1, x2, y2 = (int(v) for v in np.nan_to_num(box).round().clip(0, limits))
    return x1, y1, max(x1, x2), max(y1, y2)


def _fitting(text: str, width: int, font: Font) -> str:
    """As much of ``text`` as fits into ``width`` pixels; cut text ends in an ellipsis."""
    if font.getlength(text) <= width:
        return text
    for end in range(len(text) - 1, 0, -1):
        if font.getlength(text[:end].rstrip() + "…") <= width:
            return text[:end].rstrip() + "…"
    return ""
