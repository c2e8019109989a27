"""Photographs of a training: its first batches as the network saw them, and pictures with true and found boxes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.data.dataset import DataSet
from distill.report.matching import Matches, picture_counts
from distill.train.plots import framed, true_and_found

if TYPE_CHECKING:
    from PIL.Image import Image

    from distill.data.feed.loader import Batch, Loader
    from zoo.images import Preprocess

BATCHES, TILES, COLUMNS, TILE_PX = 2, 16, 4, 320
"""Training batches that are shown, images of each, and tiles side by side of so many pixels."""
PAIR_PX = 420
"""Side of the two halves of a picture with true and found boxes."""
BEST, WORST = 4, 8
"""Pictures of each kind, at most."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A picture of the validation data: true boxes at the left, found ones at the right."""

    image: Image
    caption: str


def pixels_of(image: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """A network's input float32 ``[3, h, w]`` as the RGB image uint8 ``[h, w, 3]`` that it was made from."""
    mean, std = (np.asarray(values, np.float64)[:, None, None] for values in (preprocess.mean, preprocess.std))
    pixels = (image * std + mean) / preprocess.scale
    pixels = pixels[::-1] if preprocess.order == "bgr" else pixels
    return np.ascontiguousarray(pixels.round().clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def batch_sheets(loader: Loader, names: Sequence[str]) -> list[Image]:
    """The first batches of the first epoch, a sheet each."""
    return [_batch_sheet(batch, loader.preprocess, names) for batch in islice(loader.epoch(0), BATCHES)]


def _batch_sheet(batch: Batch, preprocess: Preprocess, names: Sequence[str]) -> Image:
    tiles = [
        framed(pixels_of(image.numpy(), preprocess), boxes.numpy(), labels.numpy(), names, TILE_PX)
        for image, boxes, labels in zip(batch.image[:TILES], batch.targets.boxes, batch.targets.labels, strict=False)
    ]
    return _sheet(tiles, COLUMNS)


def _sheet(tiles: Sequence[Image], columns: int) -> Image:
    """Tiles in rows of ``columns``, with a little white between."""
    from PIL import Image

    columns = min(columns, len(tiles))
    step = max(max(tile.size) for tile in tiles) + 4
    sheet = Image.new("RGB", (columns * step, -(-len(tiles) // columns) * step), "white")
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % columns * step + 2, number // columns * step + 2))
    return sheet


def best_and_worst(
    data: DataSet, results: Sequence[dict[str, Any]], matches: Matches, threshold: float
) -> tuple[list[Shown], list[Shown]]:
    """Pictures where every object and nothing else was found, most objects first; and those with most errors."""
    found, missed, false = picture_counts(matches, len(data), threshold)
    errors = missed + false
    order = np.arange(len(data))
    good = [index for index in sorted(order, key=lambda i: -found[i]) if not errors[index] and found[index]][:BEST]
    poor = [index for index in sorted(order, key=lambda i: (-errors[i], found[i])) if errors[index]][:WORST]
    by_image: dict[int, list[dict[str, Any]]] = {data.pictures[index].id: [] for index in (*good, *poor)}
    for row in results:
        if row["image_id"] in by_image:
            by_image[row["image_id"]].append(row)

    def shown(index: int) -> Shown:
        picture = data.pictures[index]
        pair = true_and_found(data, picture, by_image[picture.id], threshold, PAIR_PX)
        objects = int(found[index] + missed[index])
        text = f"{picture.file.name}: {found[index]} of {objects} objects found"
        return Shown(_sheet(pair, 2), text + (f", {false[index]} found that are none" if false[index] else ""))

    return [shown(int(index)) for index in good], [shown(int(index)) for index in poor]


def jpeg(image: Image) -> bytes:
    """The image as a JPEG file, for pages."""
    with io.BytesIO() as out:
        image.save(out, format="JPEG", quality=82, optimize=True)
        return out.getvalue()


def as_jpeg(image: bytes) -> bytes:
    """A PNG file of a photograph as a JPEG file, which is a fraction as large."""
    from PIL import Image

    with Image.open(io.BytesIO(image)) as opened:
        return jpeg(opened.convert("RGB"))


def png(image: Image) -> bytes:
    """The image as a PNG file."""
    with io.BytesIO() as out:
        image.save(out, format="PNG")
        return out.getvalue()
