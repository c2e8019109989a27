"""Sizes of images from their headers, as the pictures are after the camera's EXIF rotation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from workbench.errors import missing_package
from zoo.images import READ_ERRORS

if TYPE_CHECKING:
    from PIL import Image

A = TypeVar("A")
B = TypeVar("B")

ORIENTATION = 0x0112
"""EXIF's tag of the rotation."""
CHUNK = 32
"""So many images are one piece of work for a thread."""


@dataclass(frozen=True, slots=True)
class Header:
    """What an image says of itself before it is decoded."""

    width: int
    """As stored, in pixels."""
    height: int
    kind: str
    """Pillow's name of the format: ``JPEG``, ``PNG`` ..."""
    orientation: int
    """EXIF's, 1 to 8; 1 is upright."""
    fault: str = ""
    """Code of a finding; empty if all is well."""
    why: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as ``zoo.images.read_image`` gives the picture."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def read_header(file: Path) -> Header:
    """Size, kind and orientation; a broken or too large image has a fault instead. Nothing is decoded."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise missing_package("reading images", error.name, "torch") from error
    try:
        with Image.open(file) as image:
            most = Image.MAX_IMAGE_PIXELS
            if most is not None and image.width * image.height > most:
                raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels, at most {most}")
            return Header(image.width, image.height, image.format or "", _orientation(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        return Header(0, 0, "", 1, "bomb", str(error))
    except Image.UnidentifiedImageError:
        return Header(0, 0, "", 1, "unreadable", "not an image that Pillow can read")
    except READ_ERRORS as error:
        return Header(0, 0, "", 1, "unreadable", str(error) or type(error).__name__)


def _orientation(image: Image.Image) -> int:
    # asking a PNG for EXIF that is not in its head decodes it whole
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    found = image.getexif().get(ORIENTATION, 1)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


@contextmanager
def no_bomb_warnings() -> Iterator[None]:
    """Pillow warns on stderr of large images; here they are findings. Set before threads start, as filters are global."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def in_threads(what: Callable[[A], B], things: Sequence[A], done: Callable[[int], None] = lambda n: None) -> list[B]:
    """``what`` of every thing, in order; ``done`` hears how many are finished. Decoding and disks run beside each other."""
    results: list[B] = []
    pieces = (things[start : start + CHUNK] for start in range(0, len(things), CHUNK))
    with no_bomb_warnings(), ThreadPoolExecutor(min(8, cpu_count() or 1)) as pool:
        try:
            for piece in pool.map(lambda piece: [what(one) for one in piece], pieces):
                results.extend(piece)
                done(len(results))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results


def read_sizes(files: Iterable[Path], log: Callable[[str], None] = lambda text: None) -> list[Header]:
    """Headers of ``files``, in order."""
    listed = list(files)
    return in_threads(read_header, listed, lambda n: log(f"{n} of {len(listed)} image headers"))
