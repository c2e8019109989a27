"""Images of an evaluation: precision-recall curves, and detections below the true boxes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.data.dataset import DataSet
from zoo.draw import draw
from zoo.images import read_image

if TYPE_CHECKING:
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

    numbers = {category: number for number, category in enumerate(data.classes.original_ids)}
    names, pictures = data.classes.names, data.pictures[:count]
    lines = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (side_px * min(COLUMNS, len(pictures)), 2 * side_px * lines), "white")
    for number, picture in enumerate(pictures):
        line, column = divmod(number, COLUMNS)
        image = read_image(picture.file)
        detections = [row for row in results if row["image_id"] == picture.id and row["score"] >= min_score]
        detections.sort(key=lambda row: -float(row["score"]))
        boxes = [[x, y, x + w, y + h] for x, y, w, h in (row["bbox"] for row in detections)]
        scores, labels = [row["score"] for row in detections], [numbers[row["category_id"]] for row in detections]
        tiles = (
            draw(image, picture.boxes, None, picture.labels, names),
            draw(image, np.array(boxes).reshape(-1, 4), scores, labels, names),
        )
        for row, tile in enumerate(tiles):
            tile.thumbnail((side_px - 4, side_px - 4))
            sheet.paste(tile, (column * side_px + 2, (2 * line + row) * side_px + 2))
    with io.BytesIO() as out:
        sheet.save(out, format="PNG")
        return out.getvalue()
