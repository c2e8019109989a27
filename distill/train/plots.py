"""Images of an evaluation: precision-recall curves, and detections below the true boxes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.data.dataset import DataSet, Picture
from zoo.draw import draw
from zoo.images import read_image

if TYPE_CHECKING:
    from PIL.Image import Image

    from distill.train.evaluate import EvaluationResult

MAX_CURVES = 12
"""Classes with a curve of their own; the others count in the mean alone."""
COLORS = 10
"""Curves with different colors; further ones are dashed."""
COLUMNS = 3
"""Images side by side: TensorBoard shows a sheet about as wide as a hand."""


def precision_recall_png(result: EvaluationResult, names: Sequence[str]) -> bytes:
    """Precision over recall at IoU 0.5, a line a class and a thick one for their mean."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    recall = np.linspace(0, 1, result.precision.shape[1])
    labels = [label for label in range(len(names)) if result.precision[label, 0] >= 0]
    for number, label in enumerate(labels[:MAX_CURVES]):
        style = "-" if number < COLORS else "--"
        axes.plot(recall, result.precision[label], linewidth=1.1, linestyle=style, label=names[label], clip_on=False)
    if labels:
        axes.plot(recall, result.precision[labels].mean(0), color="black", linewidth=2.2, label="mean")
        # beside the axes: inside it would hide some curve
        figure.legend(fontsize=8, loc="outside right center", frameon=False)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision", title="IoU 0.5")
    axes.grid(alpha=0.3)
    with io.BytesIO() as out:
        figure.savefig(out, format="png")
        return out.getvalue()


def detections_png(
    data: DataSet, results: Sequence[dict[str, Any]], count: int = 6, min_score: float = 0.3, side_px: int = 320
) -> bytes:
    """The first ``count`` images of ``data`` twice: true boxes above, detections from ``min_score`` on below.

    ``COLUMNS`` images are side by side, each ``side_px`` wide.
    """
    from PIL import Image

    pictures = data.pictures[:count]
    lines = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (side_px * min(COLUMNS, len(pictures)), 2 * side_px * lines), "white")
    for number, picture in enumerate(pictures):
        line, column = divmod(number, COLUMNS)
        for row, tile in enumerate(true_and_found(data, picture, results, min_score, side_px - 4)):
            sheet.paste(tile, (column * side_px + 2, (2 * line + row) * side_px + 2))
    with io.BytesIO() as out:
        sheet.save(out, format="PNG")
        return out.getvalue()


def true_and_found(
    data: DataSet, picture: Picture, results: Sequence[dict[str, Any]], min_score: float, side_px: int
) -> tuple[Image, Image]:
    """A picture of ``data`` with its true boxes, and with those of ``results`` that score at least ``min_score``."""
    image, names = read_image(picture.file), data.classes.names
    rows = [row for row in results if row["image_id"] == picture.id and row["score"] >= min_score]
    rows.sort(key=lambda row: -float(row["score"]))
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h in (row["bbox"] for row in rows)]).reshape(-1, 4)
    numbers = {category: number for number, category in enumerate(data.classes.original_ids)}
    scores, labels = [row["score"] for row in rows], [numbers[row["category_id"]] for row in rows]
    return (
        framed(image, picture.boxes, picture.labels, names, side_px),
        framed(image, boxes, labels, names, side_px, scores),
    )


def framed(
    image: np.ndarray, boxes: np.ndarray, labels: Any, names: Sequence[str], side_px: int, scores: Any = None
) -> Image:
    """``image`` (uint8 ``[h, w, 3]``) with ``boxes`` ``[n, 4]``, its longer side ``side_px``: text is legible."""
    from PIL import Image

    scale = side_px / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    resized = np.asarray(Image.fromarray(image).resize(size))
    return draw(resized, np.asarray(boxes, float).reshape(-1, 4) * scale, scores, labels, names)
