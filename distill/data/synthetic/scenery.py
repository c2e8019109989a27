"""Backgrounds and light of the synthetic data set; whole numbers only, as in ``shapes``."""

from __future__ import annotations

import cv2
import numpy as np

from distill.data.synthetic.shapes import Rng, fill, ramp


def background(height: int, width: int, rng: Rng) -> np.ndarray:
    """A background uint8 ``[h, w, 3]``: clouds, tiles, stripes, a gradient or a plain color."""
    colors = rng.integers(15, 241, (int(rng.integers(2, 5)), 3))
    if rng.random() < 0.5:
        # mostly of one hue, as real backgrounds often are
        gray = colors.sum(1, keepdims=True) // 3
        colors = (colors + 2 * gray) // 3
    kind = rng.random()
    if kind < 0.4:
        return np.take(ramp(colors), _clouds(height, width, rng), axis=0)
    if kind < 0.6:
        return _tiles(height, width, colors, rng)
    if kind < 0.72:
        stripes = fill("hatched", (height, width), colors[:2], int(rng.integers(6, 60)), rng.uniform(0, 180), rng)
        clouds = np.take(ramp(colors), _clouds(height, width, rng), axis=0)
        return _mixed(stripes, clouds, int(rng.integers(60, 200)))
    if kind < 0.9:
        return fill("gradient", (height, width), colors[:2], 1, rng.uniform(0, 360), rng)
    return np.array(fill("flat", (height, width), colors[:1], 1, 0, rng))


def _clouds(height: int, width: int, rng: Rng) -> np.ndarray:
    """Levels uint8 ``[h, w]`` that vary on several scales."""
    total = np.zeros((height, width), np.uint16)
    weights = (4, 2, 1, 1)
    cells = int(rng.integers(2, 6))
    for weight in weights:
        grid = rng.integers(0, 256, (cells + 1, cells + 1), dtype=np.uint8)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR_EXACT).astype(np.uint16)
        cells *= 3
    level = total // sum(weights)
    # sums of levels are near the middle, so the contrast is doubled
    return ((level.astype(np.int32) - 128) * 2 + 128).clip(0, 255).astype(np.uint8)


def _tiles(height: int, width: int, colors: np.ndarray, rng: Rng) -> np.ndarray:
    """Rectangles in several shades, some rows shifted like bricks."""
    rows, columns = rng.integers(3, 22, 2).tolist()
    shades = rng.integers(0, 256, (rows, columns), dtype=np.uint8)
    y, x = np.arange(height) * rows // height, np.arange(width)
    shift = (y % 2) * int(rng.integers(0, 2)) * (width // columns // 2)
    return np.take(ramp(colors), shades[y[:, None], (x[None] + shift[:, None]) * columns // width % columns], axis=0)


def _mixed(a: np.ndarray, b: np.ndarray, share: int) -> np.ndarray:
    """``share`` 256ths of ``a``, the rest of ``b``."""
    return ((a.astype(np.uint16) * share + b.astype(np.uint16) * (256 - share)) >> 8).astype(np.uint8)


def lit(image: np.ndarray, rng: Rng) -> np.ndarray:
    """``image`` under uneven light, with another contrast and tint, sometimes blurred and grainy."""
    height, width = image.shape[:2]
    if rng.random() < 0.6:
        lamps = rng.integers(110, 256, (3, 3), dtype=np.uint8)
        light = np.asarray(cv2.resize(lamps, (width, height), interpolation=cv2.INTER_LINEAR_EXACT), np.uint16)
        image = ((image.astype(np.uint16) * light[:, :, None] + 128) >> 8).astype(np.uint8)
    contrast, lift = int(rng.integers(110, 290)), int(rng.integers(-30, 31))
    tints = rng.integers(235, 277, 3)
    levels = np.arange(256, dtype=np.int64)
    table = (((levels - 128) * contrast // 256 + 128 + lift)[:, None] * tints // 256).clip(0, 255).astype(np.uint8)
    image = cv2.LUT(image, table[None])
    if rng.random() < 0.2:
        image = _softened(_softened(image, 0), 1)
    if rng.random() < 0.35:
        most = int(rng.integers(2, 13))
        grain = cv2.cvtColor(rng.integers(0, 2 * most + 1, image.shape[:2], dtype=np.uint8), cv2.COLOR_GRAY2RGB)
        image = cv2.subtract(cv2.add(image, grain), np.full_like(image, most))
    return image


def _softened(image: np.ndarray, axis: int) -> np.ndarray:
    """``image`` smoothed along ``axis`` with the weights 1/4, 1/2, 1/4."""
    lines = np.moveaxis(image, axis, 0)
    wide = np.concatenate([lines[:1], lines, lines[-1:]]).astype(np.uint16)
    soft = ((wide[:-2] + 2 * wide[1:-1] + wide[2:] + 2) >> 2).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(soft, 0, axis))
