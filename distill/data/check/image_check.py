"""Checking one image file: its header, whether it decodes, and its content in short."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from distill.data.formats.image_headers import Header, read_header
from zoo.images import READ_ERRORS

HASH_SIDE = 16
"""An image is shrunk to 17 x 16 gray pixels for comparison."""
MAX_FILE_BYTES = 2**30

KINDS = {
    ".jpg": ("JPEG", "MPO"), ".jpeg": ("JPEG", "MPO"), ".png": ("PNG",), ".bmp": ("BMP", "DIB"), ".webp": ("WEBP",),
    ".tif": ("TIFF",), ".tiff": ("TIFF",),
}  # fmt: skip
"""What an image with the suffix should be; MPO is a JPEG with more images behind it."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageCheck:
    """What was found in one image file."""

    header: Header
    digest: bytes = b""
    """SHA-256 of the file; empty if it was not decoded."""
    gray: np.ndarray | None = None
    """uint8 ``[16, 17]``: the image shrunk; None if it was not decoded."""


def check_header(file: Path) -> ImageCheck:
    """Read the header only."""
    return ImageCheck(read_header(file))


def check_image(file: Path) -> ImageCheck:
    """Read and decode the whole image."""
    from PIL import Image

    header = read_header(file)
    if header.fault:
        return ImageCheck(header)
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            return ImageCheck(replace(header, fault="unreadable", why=f"more than {MAX_FILE_BYTES:,} bytes"))
        data = file.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            if image.mode == "F":
                reason = "floating-point pixels have no known range"
                return ImageCheck(replace(header, fault="unreadable", why=reason))
            # a JPEG decodes at an eighth of its size for a fraction of the time, and is still read to its end
            image.draft("L", (8 * HASH_SIDE, 8 * HASH_SIDE))
            image.load()
            gray = image.convert("RGB").convert("L") if image.mode in ("P", "PA") else image.convert("L")
            small = gray.resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX)
            return ImageCheck(header, hashlib.sha256(data).digest(), np.asarray(small))
    except READ_ERRORS as error:
        return ImageCheck(replace(header, fault="unreadable", why=str(error) or type(error).__name__))


def size_fault(stated: tuple[int, int], header: Header) -> str:
    """The finding for a stated width and height: ``wrong-size``, ``turned``, or nothing."""
    if 0 in stated or stated == header.size:
        return ""
    return "turned" if header.orientation >= 5 and stated == (header.width, header.height) else "wrong-size"


def has_right_suffix(file: Path, header: Header) -> bool:
    """Whether the name's suffix fits the content."""
    return header.kind in KINDS.get(file.suffix.lower(), (header.kind,))
