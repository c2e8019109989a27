"""Synthetic scenes that resemble photographs, to measure the gap on."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from zoo.detector import Detector
from zoo.images import prepare


def sample_images(count: int, height: int, width: int, seed: int = 0) -> list[np.ndarray]:
    """Street-like images ``uint8 [height, width, 3]``: sky, ground, shaded boxes and discs, blur, sensor noise."""
    from PIL import Image, ImageDraw, ImageFilter

    random = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        top, bottom = random.integers(90, 240, 3), random.integers(20, 160, 3)
        fade = np.linspace(0, 1, height)[:, None, None]
        canvas = Image.fromarray((top * (1 - fade) + bottom * fade).repeat(width, 1).astype(np.uint8))
        brush = ImageDraw.Draw(canvas)
        for _ in range(int(random.integers(6, 18))):
            w, h = random.integers(max(4, width // 20), max(6, width // 3), 2)
            x, y = int(random.integers(-w // 2, width)), int(random.integers(-h // 2, height))
            color = tuple(int(v) for v in random.integers(0, 256, 3))
            edge = tuple(v // 2 for v in color)
            draw = brush.ellipse if random.random() < 0.4 else brush.rectangle
            draw((x, y, x + int(w), y + int(h)), fill=color, outline=edge, width=max(1, width // 200))
        blurred = canvas.filter(ImageFilter.GaussianBlur(float(random.uniform(0.3, 1.5))))
        noise = random.normal(0, random.uniform(1, 8), (height, width, 3))
        images.append(np.clip(np.asarray(blurred, dtype=np.float64) + noise, 0, 255).astype(np.uint8))
    return images


def prepared_scenes(
    detector: Detector, batch: int, height: int, width: int, count: int = 4, seed: int = 0
) -> list[Tensor]:
    """``count`` preprocessed batches ``[batch, 3, height, width]`` of scenes for a detector."""
    images = sample_images(batch * count, height, width, seed)
    chunks = [images[i * batch : (i + 1) * batch] for i in range(count)]
    return [prepare(chunk, (height, width), detector.preprocess)[0] for chunk in chunks]
