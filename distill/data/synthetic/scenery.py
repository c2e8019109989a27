"""What lies behind the synthetic data set's objects, and the light that falls on them. Whole numbers only, as in ``shapes``."""

from __future__ import annotations

import cv2
import numpy as np

from distill.data.synthetic.shapes import Draw, fill, ramp


def background(height: int, width: int, draw: Draw) -> np.ndarray:
    """A ground uint8 ``[h, w, 3]``: clouds, tiles, stripes, a gradient or plain colour."""
    colours = draw.integers(15, 241, (int(draw.integers(2, 5)), 3))
    if draw.random() < 0.5:
        # as grounds often are, mostly of one hue
        grey = colours.sum(1, keepdims=True) // 3
        colours = (colours + 2 * grey) // 3
    kind = draw.random()
    if kind < 0.4:
        return np.take(ramp(colours), _clouds(height, width, draw), axis=0)
    if kind < 0.6:
        return _tiles(height, width, colours, draw)
    if kind < 0.72:
        ground = fill("hatched", (height, width), colours[:2], int(draw.integers(6, 60)), draw.uniform(0, 180), draw)
        return _mixed(ground, np.take(ramp(colours), _clouds(height, width, draw), axis=0), int(draw.integers(60, 200)))
    if kind < 0.9:
        return fill("gradient", (height, width), colours[:2], 1, draw.uniform(0, 360), draw)
    return np.array(fill("flat", (height, width), colours[:1], 1, 0, draw))


def _clouds(height: int, width: int, draw: Draw) -> np.ndarray:
    """Levels uint8 ``[h, w]`` that vary on several scales."""
    total = np.zeros((height, width), np.uint16)
    weights = (4, 2, 1, 1)
    cells = int(draw.integers(2, 6))
    for weight in weights:
        grid = draw.integers(0, 256, (cells + 1, cells + 1), dtype=np.uint8)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR_EXACT).astype(np.uint16)
        cells *= 3
    level = total // sum(weights)
    # sums of levels crowd in the middle, so they are spread again
    return ((level.astype(np.int32) - 128) * 2 + 128).clip(0, 255).astype(np.uint8)


def _tiles(height: int, width: int, colours: np.ndarray, draw: Draw) -> np.ndarray:
    """Rectangles in several shades, some rows shifted like bricks."""
    rows, columns = draw.integers(3, 22, 2).tolist()
    shades = draw.integers(0, 256, (rows, columns), dtype=np.uint8)
    y, x = np.arange(height) * rows // height, np.arange(width)
    shift = (y % 2) * int(draw.integers(0, 2)) * (width // columns // 2)
    return np.take(ramp(colours), shades[y[:, None], (x[None] + shift[:, None]) * columns // width % columns], axis=0)


def _mixed(a: np.ndarray, b: np.ndarray, share: int) -> np.ndarray:
    """``share`` 256ths of ``a``, the rest of ``b``."""
    return ((a.astype(np.uint16) * share + b.astype(np.uint16) * (256 - share)) >> 8).astype(np.uint8)


def lit(image: np.ndarray, draw: Draw) -> np.ndarray:
    """The picture under uneven light, darker or paler, tinted, at times blurred and grainy."""
    height, width = image.shape[:2]
    if draw.random() < 0.6:
        lamps = draw.integers(110, 256, (3, 3), dtype=np.uint8)
        light = np.asarray(cv2.resize(lamps, (width, height), interpolation=cv2.INTER_LINEAR_EXACT), np.uint16)
        image = ((image.astype(np.uint16) * light[:, :, None] + 128) >> 8).astype(np.uint8)
    contrast, lift = int(draw.integers(110, 290)), int(draw.integers(-30, 31))
    tints = draw.integers(235, 277, 3)
    levels = np.arange(256, dtype=np.int64)
    table = (((levels - 128) * contrast // 256 + 128 + lift)[:, None] * tints // 256).clip(0, 255).astype(np.uint8)
    image = cv2.LUT(image, table[None])
    if draw.random() < 0.2:
        image = _softened(_softened(image, 0), 1)
    if draw.random() < 0.35:
        most = int(draw.integers(2, 13))
        grain = cv2.cvtColor(draw.integers(0, 2 * most + 1, image.shape[:2], dtype=np.uint8), cv2.COLOR_GRAY2RGB)
        image = cv2.subtract(cv2.add(image, grain), np.full_like(image, most))
    return image


def _softened(image: np.ndarray, axis: int) -> np.ndarray:
    """Each pixel with half its own weight and a quarter of each neighbour along ``axis``."""
    lines = np.moveaxis(image, axis, 0)
    wide = np.concatenate([lines[:1], lines, lines[-1:]]).astype(np.uint16)
    soft = ((wide[:-2] + 2 * wide[1:-1] + wide[2:] + 2) >> 2).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(soft, 0, axis))
