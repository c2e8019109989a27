"""Images that are the same, or almost, in two splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distill.data.check.image_check import ImageCheck
from distill.data.check.report import Split

NEAR_BITS = 20
NEAR_GRAY, NEAR_CELL = 6.0, 24.0
"""Images are almost the same if no more than ``NEAR_BITS`` of 256 bits differ, and gray levels by no more than this on
average and in any one cell: pictures that share a background differ much where the objects are."""
FLAT_GRAY = 4.0
"""An image with a smaller standard deviation has no structure to compare."""
BLOCK = 64
"""Images compared with all others at a time."""


def same_files(split: Split, other: Split) -> list[tuple[int, int]]:
    """Indices of images with the same content, or the same file, in both."""
    by_content: dict[object, int] = {}
    for index, check in enumerate(other.images):
        if check is not None:
            by_content.setdefault(check.digest or other.raw.files[index], index)
    pairs = []
    for index, check in enumerate(split.images):
        if check is not None:
            match = by_content.get(check.digest or split.raw.files[index])
            if match is not None:
                pairs.append((index, match))
    return pairs


def near_pairs(images: Sequence[ImageCheck | None], others: Sequence[ImageCheck | None]) -> list[tuple[int, int]]:
    """For every image of ``others`` the first of ``images`` that is almost the same: indices in both."""
    first, second = _hashes(images), _hashes(others)
    if first is None or second is None:
        return []
    first_indices, first_bits, first_gray = first
    second_indices, second_bits, second_gray = second
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(second_indices), BLOCK):
        block = second_bits[start : start + BLOCK]
        different = np.zeros((len(block), len(first_bits)), dtype=np.uint16)
        for word in range(first_bits.shape[1]):
            different += np.bitwise_count(block[:, word, None] ^ first_bits[None, :, word])
        for row, column in np.argwhere(different <= NEAR_BITS).tolist():
            other, index = int(second_indices[start + row]), int(first_indices[column])
            if pairs and pairs[-1][1] == other:
                continue
            difference = np.abs(second_gray[start + row] - first_gray[column])
            if difference.mean() <= NEAR_GRAY and difference.max() <= NEAR_CELL:
                pairs.append((index, other))
    return pairs


def _hashes(images: Sequence[ImageCheck | None]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Of the decoded images with some structure: index ``[k]``, bits uint64 ``[k, 4]``, gray float32 ``[k, 16, 17]``.

    A bit says whether a pixel is darker than its right neighbor.
    """
    decoded = [(i, check.gray) for i, check in enumerate(images) if check is not None and check.gray is not None]
    chosen = [(index, gray) for index, gray in decoded if gray.std() > FLAT_GRAY]
    if not chosen:
        return None
    gray = np.stack([np.asarray(levels, dtype=np.float32) for _, levels in chosen])
    bits = np.packbits((gray[:, :, 1:] > gray[:, :, :-1]).reshape(len(chosen), -1), axis=1)
    return np.asarray([index for index, _ in chosen]), np.ascontiguousarray(bits).view(np.uint64), gray
