"""Sizes of images from their headers, after the camera's EXIF rotation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from distill.data.formats.findings import FindingLog
from workbench.errors import missing_package
from zoo.images import READ_ERRORS

if TYPE_CHECKING:
    from PIL import Image

A = TypeVar("A")
B = TypeVar("B")

ORIENTATION = 0x0112
"""EXIF's tag of the rotation."""
CHUNK = 32
"""Images that a thread takes at once."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of an image says."""

    width: int
    """As stored, in pixels."""
    height: int
    kind: str
    """Pillow's name of the format: ``JPEG``, ``PNG`` ..."""
    orientation: int
    """EXIF's, 1 to 8; 1 is upright."""
    fault: str = ""
    """Code of a finding; empty if there is none."""
    why: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as ``zoo.images.read_image`` gives the picture."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def read_header(file: Path) -> Header:
    """Size, kind and orientation, or the fault of a broken or too large image. Nothing is decoded."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise missing_package("reading images", error.name, "torch") from error
    try:
        with Image.open(file) as image:
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and image.width * image.height > limit:
                raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels, at most {limit}")
            return Header(image.width, image.height, image.format or "", _orientation(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        return Header(0, 0, "", 1, "bomb", str(error))
    except Image.UnidentifiedImageError:
        return Header(0, 0, "", 1, "unreadable", "not an image that Pillow can read")
    except READ_ERRORS as error:
        return Header(0, 0, "", 1, "unreadable", str(error) or type(error).__name__)


def _orientation(image: Image.Image) -> int:
    # asking a PNG for EXIF that is not in its header decodes the whole image
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    orientation = image.getexif().get(ORIENTATION, 1)
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


@contextmanager
def no_bomb_warnings() -> Iterator[None]:
    """Silence Pillow's warnings of large images: they are findings here. Set before threads start."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def map_in_threads(
    function: Callable[[A], B], items: Sequence[A], done: Callable[[int], None] = lambda n: None
) -> list[B]:
    """``function`` of every item, in order; ``done`` takes the number of finished items."""
    results: list[B] = []
    chunks = (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))
    with no_bomb_warnings(), ThreadPoolExecutor(min(8, cpu_count() or 1)) as pool:
        try:
            for chunk in pool.map(lambda chunk: [function(item) for item in chunk], chunks):
                results.extend(chunk)
                done(len(results))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results


def read_sizes(files: Iterable[Path], log: Callable[[str], None] = lambda text: None) -> list[Header]:
    """Headers of ``files``, in order."""
    listed = list(files)
    return map_in_threads(read_header, listed, lambda n: log(f"{n} of {len(listed)} image headers"))


def fill_sizes(
    sizes: np.ndarray, files: list[Path | None], notes: FindingLog, log: Callable[[str], None], code: str = ""
) -> np.ndarray:
    """``sizes`` ``[m, 2]`` with zeros replaced from the images' headers.

    A header that cannot be read is noted; ``code`` is noted for every size that was read from a header.
    """
    unknown = [index for index in np.flatnonzero((sizes <= 0).any(1)).tolist() if files[index] is not None]
    headers = read_sizes([file for index in unknown if (file := files[index]) is not None], log)
    for index, header in zip(unknown, headers, strict=True):
        if header.fault:
            notes.add(header.fault, f"{files[index]}: {header.why}")
            continue
        sizes[index] = header.size
        if code:
            notes.add(code, str(files[index]))
    return sizes
