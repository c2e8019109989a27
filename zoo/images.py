"""Reading images and preparing them as a network's input.

An image is an array ``uint8 [h, w, 3]`` in RGB; boxes are x1, y1, x2, y2 in pixels.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from workbench.errors import BadInput, unknown_name

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Suffixes of image files."""

READ_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, OverflowError, struct.error,
    zlib.error,
)  # fmt: skip
"""Exceptions that Pillow raises on broken files."""

ROUND_UP = 1e-6
"""A resized value that is less than this below a half is rounded up, in grey levels."""

Order = Literal["rgb", "bgr"]
Resize = Literal["letterbox-center", "letterbox-corner", "stretch"]


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a family preprocesses an image.

    A pixel 0..255 is multiplied by ``scale``; then ``mean`` is subtracted and the result divided by ``std``, both in
    ``order``. ``resize`` keeps the aspect ratio and pads with the grey ``pad`` (letterbox) or fills the input
    (stretch). ``antialias`` filters before downscaling, as Pillow and torchvision do; cv2's bilinear does not.
    """

    order: Order = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    resize: Resize = "letterbox-center"
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
    """How one image was placed in the network's input.

    A coordinate of the image times ``scale_x`` or ``scale_y``, plus ``left`` or ``top``, is the one in the input;
    ``width`` and ``height`` are the image's. All in pixels.
    """

    scale_x: float
    scale_y: float
    left: int
    top: int
    width: int
    height: int

    def to_input(self, boxes: Tensor) -> Tensor:
        """Boxes ``[n, 4]`` in pixels of the image to pixels of the input."""
        return boxes * self._scales(boxes) + self._offsets(boxes)

    def to_image(self, boxes: Tensor) -> Tensor:
        """Boxes ``[n, 4]`` in pixels of the input to pixels of the image, clipped to it."""
        scaled = (boxes - self._offsets(boxes)) / self._scales(boxes)
        limits = scaled.new_tensor([self.width, self.height] * 2)
        return scaled.clamp(min=0).minimum(limits)

    def _scales(self, like: Tensor) -> Tensor:
        return torch.tensor([self.scale_x, self.scale_y] * 2, dtype=torch.float32, device=like.device)

    def _offsets(self, like: Tensor) -> Tensor:
        return torch.tensor([self.left, self.top] * 2, dtype=torch.float32, device=like.device)


def image_files(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """The image files among ``paths``: files as they are, folders as the images directly inside them, sorted."""
    files: dict[Path, None] = {}
    for path in [paths] if isinstance(paths, (str, Path)) else paths:
        path = Path(path)
        if path.is_dir():
            inside = sorted(
                file for file in path.iterdir()
                if _is_image_name(file) and not file.name.startswith(".") and file.is_file()
            )  # fmt: skip
            if not inside:
                known = ", ".join(SUFFIXES)
                rule = f"it must hold {known} files, not deeper folders of them"
                raise BadInput(f"{path}: no image in this folder; {rule}")
            files.update(dict.fromkeys(inside))
        elif not path.exists():
            raise BadInput(f"{path}: no such file or folder")
        elif not _is_image_name(path):
            raise BadInput(f"{path}: not an image by its name; known are {', '.join(SUFFIXES)}")
        else:
            files[path] = None
    return list(files)


def _is_image_name(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def read_image(path: str | Path) -> np.ndarray:
    """The image in a file, ``uint8 [h, w, 3]`` RGB: EXIF orientation applied, transparency on white.

    The first frame of several. 16 bits a channel are scaled to 8.
    """
    from PIL import Image, ImageOps

    if not Path(path).is_file() and Path(path).exists():
        raise BadInput(f"{path}: a folder, a pipe or a device: give an image file")
    try:
        with Image.open(path) as image:
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and image.width * image.height > limit:
                raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")
            image.load()
            return _as_rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadInput(
            f"{path}: too large ({error}); at most {Image.MAX_IMAGE_PIXELS} pixels are read, so make it smaller or "
            "raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except Image.UnidentifiedImageError as error:
        known = ", ".join(SUFFIXES)
        raise BadInput(f"{path}: not an image that Pillow can read; give a file such as {known}") from error
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    except READ_ERRORS as error:
        raise BadInput(f"{path}: cannot be read ({error}); is the file whole?") from error


def _as_rgb(image: Image.Image) -> np.ndarray:
    """``uint8 [h, w, 3]`` of a Pillow image in any mode."""
    from PIL import Image

    if image.mode.startswith("I"):
        # 16-bit grey; 257 maps 65535 to 255
        grey = np.asarray(image).astype(np.int64).clip(0, 65535)
        return np.repeat(((grey + 128) // 257).astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise BadInput("floating-point pixels have no known range; save the image with 8 or 16 bits a channel")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def prepare(
    images: Sequence[np.ndarray], size: int | tuple[int, int], preprocess: Preprocess
) -> tuple[Tensor, list[Placement]]:
    """The network's input, float32 ``[b, 3, h, w]``, and the placement of each image ``uint8 [h, w, 3]`` in it.

    ``size`` is the side, or height and width, of the input in pixels.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise BadInput(f"input size {size}: must be 1 pixel or more")
    canvas = torch.full((len(images), height, width, 3), preprocess.pad, dtype=torch.uint8)
    placements = []
    for index, image in enumerate(images):
        check_image(image, f"image {index}")
        placement, (h, w) = placement_of(image.shape[0], image.shape[1], height, width, preprocess.resize)
        top, left = placement.top, placement.left
        canvas[index, top : top + h, left : left + w] = _resized(image, h, w, preprocess.antialias)
        placements.append(placement)
    if preprocess.order == "bgr":
        canvas = canvas.flip(3)
    batch = canvas.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    moments = (preprocess.mean, preprocess.std)
    mean, std = (torch.tensor(values, dtype=torch.float32)[:, None, None] for values in moments)
    return batch.mul_(preprocess.scale).sub_(mean).div_(std), placements


def check_image(image: np.ndarray, what: str) -> None:
    """Refuse an array that is not ``uint8 [h, w, 3]``; ``what`` names it in the error."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise BadInput(f"{what} is {image.dtype} {list(image.shape)}: must be uint8 [h, w, 3]; read_image gives that")


def placement_of(h: int, w: int, height: int, width: int, resize: Resize) -> tuple[Placement, tuple[int, int]]:
    """The placement of an image ``h`` x ``w`` in an input ``height`` x ``width``, and its resized height and width."""
    if resize == "stretch":
        new_h, new_w = height, width
    else:
        ratio = min(height / h, width / w)
        # int() may lose a pixel where the product is just below the side: YOLOX's own arithmetic
        to_int = round if resize == "letterbox-center" else int
        new_h, new_w = (min(max(to_int(side * ratio), 1), end) for side, end in ((h, height), (w, width)))
    top = left = 0
    if resize == "letterbox-center":
        # an odd pixel of padding goes to the bottom and to the right, as YOLOv7's 0.1 decides
        top, left = max(round((height - new_h) / 2 - 0.1), 0), max(round((width - new_w) / 2 - 0.1), 0)
    return Placement(new_w / w, new_h / h, left, top, w, h), (new_h, new_w)


def _resized(image: np.ndarray, h: int, w: int, antialias: bool) -> Tensor:
    """The image resized to ``h`` x ``w``, uint8 ``[h, w, 3]``: bilinear between pixel centers, as cv2.INTER_LINEAR."""
    pixels = torch.from_numpy(np.array(image, order="C"))  # a copy: torch warns about read-only arrays
    if image.shape[:2] == (h, w):
        return pixels
    # Torch chooses its kernel by the number of threads. In float64 the kernels differ by far less than ROUND_UP, so
    # every process gets the same pixels.
    planes = pixels.permute(2, 0, 1)[None].double()
    resized = F.interpolate(planes, (h, w), mode="bilinear", align_corners=False, antialias=antialias)
    return resized[0].add_(0.5 + ROUND_UP).floor_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0)
