"""Pictures in and out: files to arrays, arrays to a network's input and back, detections drawn.

A picture is ``uint8 [h, w, 3]`` in RGB throughout; boxes are ``x1 y1 x2 y2`` in pixels.
"""

from __future__ import annotations

import colorsys
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from workbench.errors import BadInput, unknown_name

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""What ``image_files`` takes for an image."""

READ_ERRORS = (OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, OverflowError, struct.error, zlib.error)
"""What Pillow raises on broken files."""

DARK = (20, 20, 20)
TONES = ((0.85, 1.0), (0.5, 1.0), (1.0, 0.8), (0.6, 0.88))
HUE_STEP = 0.37
"""Saturation and value of class colours, five classes each in turn, and the turn of the hue from one class to the next.

Of the steps tried, this keeps 80 classes, and the first 16 of them, furthest apart in CIE Lab: no two nearer than 5.
"""

ROUND_UP = 1e-6
"""Levels by which a pixel may miss a half and still be rounded up."""

Order = Literal["rgb", "bgr"]
Resize = Literal["letterbox-centre", "letterbox-corner", "stretch"]


@dataclass(frozen=True, slots=True)
class Preprocess:
    """What a family's network expects of an image.

    A pixel 0..255 is multiplied by ``scale``; then ``mean`` is taken off and the rest divided by ``std``, both in
    ``order``. ``resize`` keeps the shape and pads with the grey ``pad`` (letterbox) or fills the input (stretch).
    ``antialias`` filters before shrinking, as Pillow and torchvision do; cv2's bilinear does not.
    """

    order: Order = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    resize: Resize = "letterbox-centre"
    pad: int = 114
    antialias: bool = False

    def __post_init__(self) -> None:
        if self.order not in get_args(Order):
            raise unknown_name("order of colours", self.order, get_args(Order))
        if self.resize not in get_args(Resize):
            raise unknown_name("way to resize", self.resize, get_args(Resize))
        if len(self.mean) != 3 or len(self.std) != 3 or 0 in self.std:
            raise BadInput(f"mean {self.mean} and std {self.std}: must be three numbers each, those of std not 0")
        if not 0 <= self.pad <= 255:
            raise BadInput(f"pad {self.pad}: must be from 0 to 255")


@dataclass(frozen=True, slots=True)
class Placement:
    """How one image was put into the network's input.

    A point of the image times ``scale_x`` or ``scale_y``, plus ``left`` or ``top`` pixels, is its place in the input;
    ``width`` and ``height`` are the image's own, in pixels.
    """

    scale_x: float
    scale_y: float
    left: int
    top: int
    width: int
    height: int

    def to_input(self, boxes: Tensor) -> Tensor:
        """Boxes ``[n, 4]`` of the image, in pixels of the input."""
        return boxes * self._scales(boxes) + self._offsets(boxes)

    def to_image(self, boxes: Tensor) -> Tensor:
        """Boxes ``[n, 4]`` in pixels of the input, in those of the image and clipped to it."""
        back = (boxes - self._offsets(boxes)) / self._scales(boxes)
        ends = back.new_tensor([self.width, self.height] * 2)
        return back.clamp(min=0).minimum(ends)

    def _scales(self, like: Tensor) -> Tensor:
        return torch.tensor([self.scale_x, self.scale_y] * 2, dtype=torch.float32, device=like.device)

    def _offsets(self, like: Tensor) -> Tensor:
        return torch.tensor([self.left, self.top] * 2, dtype=torch.float32, device=like.device)


def image_files(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """The image files among ``paths``: files as they are, folders as the images right inside them, sorted."""
    found: dict[Path, None] = {}
    for path in [paths] if isinstance(paths, (str, Path)) else paths:
        path = Path(path)
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if _is_image_name(p) and not p.name.startswith(".") and p.is_file())
            if not inside:
                raise BadInput(f"{path}: no image in this folder; it must hold {', '.join(SUFFIXES)} files, not deeper folders of them")
            found.update(dict.fromkeys(inside))
        elif not path.exists():
            raise BadInput(f"{path}: no such file or folder")
        elif not _is_image_name(path):
            raise BadInput(f"{path}: not an image by its name; known are {', '.join(SUFFIXES)}")
        else:
            found[path] = None
    return list(found)


def _is_image_name(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def read_image(path: str | Path) -> np.ndarray:
    """The picture in a file, ``uint8 [h, w, 3]`` RGB, turned as its EXIF orientation says, transparency on white.

    The first picture of several. 16 bits a channel are brought to 8.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            most = Image.MAX_IMAGE_PIXELS
            if most is not None and image.width * image.height > most:
                raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")
            image.load()
            return _as_rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadInput(
            f"{path}: too large ({error}); at most {Image.MAX_IMAGE_PIXELS} pixels are read, so make it smaller or raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except Image.UnidentifiedImageError as error:
        raise BadInput(f"{path}: not an image that Pillow can read; give a file such as {', '.join(SUFFIXES)}") from error
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    except READ_ERRORS as error:
        raise BadInput(f"{path}: cannot be read ({error}); is the file whole?") from error


def _as_rgb(image: Image.Image) -> np.ndarray:
    """``uint8 [h, w, 3]`` of a Pillow image in any mode."""
    from PIL import Image

    if image.mode.startswith("I"):
        # the modes that hold 16-bit grey; 257 takes 65535 to 255
        grey = np.asarray(image).astype(np.int64).clip(0, 65535)
        return np.repeat(((grey + 128) // 257).astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise BadInput("floating-point pixels have no known range; save the image with 8 or 16 bits a channel")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def prepare(images: Sequence[np.ndarray], size: int | tuple[int, int], how: Preprocess) -> tuple[Tensor, list[Placement]]:
    """The network's input, float32 ``[B, 3, H, W]``, for pictures ``uint8 [h, w, 3]`` in RGB, and where each one lies.

    ``size`` is the side, or height and width, in pixels.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise BadInput(f"input size {size}: must be 1 pixel or more")
    canvas = torch.full((len(images), height, width, 3), how.pad, dtype=torch.uint8)
    places = []
    for index, image in enumerate(images):
        _check_picture(image, f"image {index}")
        place, (h, w) = placement_of(image.shape[0], image.shape[1], height, width, how.resize)
        canvas[index, place.top : place.top + h, place.left : place.left + w] = _resized(image, h, w, how.antialias)
        places.append(place)
    if how.order == "bgr":
        canvas = canvas.flip(3)
    batch = canvas.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    mean, std = (torch.tensor(values, dtype=torch.float32)[:, None, None] for values in (how.mean, how.std))
    return batch.mul_(how.scale).sub_(mean).div_(std), places


def _check_picture(image: np.ndarray, what: str) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise BadInput(f"{what} is {image.dtype} {list(image.shape)}: must be uint8 [h, w, 3]; read_image gives that")


def placement_of(h: int, w: int, height: int, width: int, resize: Resize) -> tuple[Placement, tuple[int, int]]:
    """Where an image ``h`` x ``w`` goes in an input ``height`` x ``width``, and its height and width there."""
    if resize == "stretch":
        new_h, new_w = height, width
    else:
        ratio = min(height / h, width / w)
        # int() may lose a pixel to a product a hair below the side: YOLOX's own arithmetic, kept
        whole = round if resize == "letterbox-centre" else int
        new_h, new_w = (min(max(whole(side * ratio), 1), end) for side, end in ((h, height), (w, width)))
    top = left = 0
    if resize == "letterbox-centre":
        # an odd pixel of padding goes to the bottom and to the right, as YOLOv7's 0.1 decides
        top, left = max(round((height - new_h) / 2 - 0.1), 0), max(round((width - new_w) / 2 - 0.1), 0)
    return Placement(new_w / w, new_h / h, left, top, w, h), (new_h, new_w)


def _resized(image: np.ndarray, h: int, w: int, antialias: bool) -> Tensor:
    """The picture at ``h`` x ``w``, uint8 ``[h, w, 3]``: bilinear between pixel centres, as cv2.INTER_LINEAR."""
    pixels = torch.from_numpy(np.array(image, order="C"))  # a copy: torch warns of arrays that are read-only
    if image.shape[:2] == (h, w):
        return pixels
    # Torch picks its kernel by the number of threads. In float64 what they differ by is far below ROUND_UP, so that
    # every process, worker or not, gets the same pixels.
    planes = pixels.permute(2, 0, 1)[None].double()
    new = F.interpolate(planes, (h, w), mode="bilinear", align_corners=False, antialias=antialias)
    return new[0].add_(0.5 + ROUND_UP).floor_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0)


def _font_file() -> str:
    """DejaVu Sans, which Matplotlib ships: Latin, Greek and Cyrillic letters with all their accents."""
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


def draw(image: np.ndarray, boxes: Any, scores: Any, labels: Any, names: Sequence[str]) -> Image.Image:
    """A copy of the picture ``uint8 [h, w, 3]`` with ``boxes`` ``[n, 4]`` and their class names and scores on it.

    ``scores`` ``[n]`` may be None. ``labels`` ``[n]`` are places in ``names``; a class has the same colour everywhere.
    The first box is the best and is drawn on top.
    """
    from PIL import Image, ImageDraw, ImageFont

    _check_picture(image, "the picture")
    corners = _array(boxes, float).reshape(-1, 4)
    classes = _array(labels, int).reshape(-1)
    values = None if scores is None else _array(scores, float).reshape(-1)
    if len(classes) != len(corners) or (values is not None and len(values) != len(corners)):
        raise BadInput(f"{len(corners)} boxes, {len(classes)} labels, {'no' if values is None else len(values)} scores: must be as many of each")
    if len(classes) and not 0 <= classes.min() <= classes.max() < len(names):
        raise BadInput(f"labels {classes.min()} to {classes.max()}: there are {len(names)} names, so they must be 0 to {len(names) - 1}")
    picture = Image.fromarray(image)
    side = min(max(picture.size), 3 * min(picture.size))
    line = max(1, round(side / 320))
    font = ImageFont.truetype(_font_file(), max(9, round(side / 45)))
    pen = ImageDraw.Draw(picture)
    for at in range(len(corners))[::-1]:
        _outline(pen, picture.size, corners[at], class_colour(int(classes[at])), line)
    texts = [names[label] for label in classes]
    if values is not None:
        texts = [f"{text} {100 * value:.0f}%" for text, value in zip(texts, values, strict=True)]
    tabs: list[_Tab] = []
    for text, box, label in zip(texts, corners, classes, strict=True):
        tab = _Tab.beside(box, text, class_colour(int(label)), font, line, picture.size, tabs)
        if tab is not None:
            tabs.append(tab)
    for tab in reversed(tabs):
        tab.draw(pen, font)
    return picture


def class_colour(label: int) -> tuple[int, int, int]:
    """The RGB colour of a class, the same everywhere."""
    red, green, blue = colorsys.hsv_to_rgb((0.02 + label * HUE_STEP) % 1, *TONES[label // 5 % len(TONES)])
    return round(255 * red), round(255 * green), round(255 * blue)


def _array(values: Any, kind: type) -> np.ndarray:
    """A NumPy array of numbers from anywhere, a tensor on a GPU included."""
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=kind)


def _outline(pen: ImageDraw.ImageDraw, size: tuple[int, int], box: np.ndarray, colour: tuple[int, int, int], line: int) -> None:
    """The frame of one box, with a dark hairline outside it that shows on any ground."""
    x1, y1, x2, y2 = _corners(box, size)
    pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=DARK, width=1)
    pen.rectangle((x1, y1, x2, y2), outline=colour, width=line)


@dataclass(frozen=True, slots=True)
class _Tab:
    """A label on a filled rectangle, all in pixels; ``right`` and ``bottom`` are just outside, ``pad`` is about the text."""

    text: str
    colour: tuple[int, int, int]
    left: int
    top: int
    right: int
    bottom: int
    pad: int

    @classmethod
    def beside(
        cls, box: np.ndarray, text: str, colour: tuple[int, int, int], font: Font, line: int, size: tuple[int, int],
        taken: Sequence[_Tab],
    ) -> _Tab | None:  # fmt: skip
        """The tab at the corner of the box that is in the picture and on no tab of ``taken``, or None if the picture is too small."""
        width, height = size
        text = _fitting(text, width - 2 * line, font)
        above, below = _reach(text, font)
        wide, high = round(font.getlength(text)) + 2 * line, below - above + 2 * line
        if not text or high > height:
            return None
        x1, y1, x2, y2 = _corners(box, size)
        spots = [(x, y) for y in (y1 - high, y1, y2 - high + 1, y2 + 1) for x in (x1, x2 - wide + 1)]
        inside = [(min(max(x, 0), width - wide), y) for x, y in spots if 0 <= y <= height - high]
        tabs = [cls(text, colour, x, y, x + wide, y + high, line) for x, y in inside or [(0, 0)]]
        return next((tab for tab in tabs if not any(tab.covers(other) for other in taken)), tabs[0])

    def covers(self, other: _Tab) -> bool:
        """Whether the two share a pixel."""
        return self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom

    def draw(self, pen: ImageDraw.ImageDraw, font: Font) -> None:
        """Puts it on the picture, dark text on light colours and the other way round."""
        pen.rectangle((self.left, self.top, self.right - 1, self.bottom - 1), fill=self.colour)
        red, green, blue = self.colour
        ink = DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 130 else (255, 255, 255)
        pen.text((self.left + self.pad, self.top + self.pad - _reach(self.text, font)[0]), self.text, fill=ink, font=font)


def _reach(text: str, font: Font) -> tuple[int, int]:
    """The highest and the lowest pixel row of ``text`` drawn at row 0, or of any common letters if those reach further."""
    boxes = [font.getbbox(some) for some in ("Alpg|", text)]
    return math.floor(min(box[1] for box in boxes)), math.ceil(max(box[3] for box in boxes))


def _corners(box: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Whole pixels of a box, inside the picture and in order."""
    ends = np.array([size[0] - 1, size[1] - 1] * 2)
    x1, y1, x2, y2 = (int(v) for v in np.nan_to_num(box).round().clip(0, ends))
    return x1, y1, max(x1, x2), max(y1, y2)


def _fitting(text: str, width: int, font: Font) -> str:
    """As much of ``text`` as ``width`` pixels hold; what is cut ends in an ellipsis."""
    if font.getlength(text) <= width:
        return text
    for end in range(len(text) - 1, 0, -1):
        if font.getlength(text[:end].rstrip() + "…") <= width:
            return text[:end].rstrip() + "…"
    return ""
