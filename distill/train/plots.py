"""Pictures of training: precision-recall curves, and images with what was found on them."""

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

MOST_CURVES = 12
"""Classes with a curve of their own; the others count in the mean alone."""
COLOURS = 10
"""Curves have so many colours; the ones after that are dashed."""
A_LINE = 3
"""Pictures side by side: TensorBoard shows a sheet at the width of a hand."""


def precision_recall_png(verdict: EvaluationResult, names: Sequence[str]) -> bytes:
    """Precision over recall at IoU 0.5, a line a class and a thick one for their mean."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    recall = np.linspace(0, 1, verdict.precision.shape[1])
    judged = [i for i in range(len(names)) if verdict.precision[i, 0] >= 0]
    for i in judged[:MOST_CURVES]:
        axes.plot(recall, verdict.precision[i], linewidth=1.1, linestyle="-" if judged.index(i) < COLOURS else "--", label=names[i], clip_on=False)
    if judged:
        axes.plot(recall, verdict.precision[judged].mean(0), color="black", linewidth=2.2, label="mean")
        # Beside the axes: wherever it stood within, it would hide the curves of some detector.
        figure.legend(fontsize=8, loc="outside right center", frameon=False)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision", title="IoU 0.5")
    axes.grid(alpha=0.3)
    with io.BytesIO() as out:
        figure.savefig(out, format="png")
        return out.getvalue()


def detections_png(data: DataSet, results: Sequence[dict[str, Any]], count: int = 6, least_score: float = 0.3, side_px: int = 320) -> bytes:
    """The first ``count`` pictures of ``data`` twice: what is there above, what was found (scores from ``least_score`` on) below.

    ``A_LINE`` pictures stand side by side, each ``side_px`` wide.
    """
    from PIL import Image

    numbers = {category: number for number, category in enumerate(data.classes.original_ids)}
    shown = data.pictures[:count]
    lines = -(-len(shown) // A_LINE)
    sheet = Image.new("RGB", (side_px * min(A_LINE, len(shown)), 2 * side_px * lines), "white")
    for place, picture in enumerate(shown):
        line, column = divmod(place, A_LINE)
        image = read_image(picture.file)
        found = sorted((r for r in results if r["image_id"] == picture.id and r["score"] >= least_score), key=lambda r: -float(r["score"]))
        boxes = [[x, y, x + w, y + h] for x, y, w, h in (r["bbox"] for r in found)]
        drawn = (
            draw(image, picture.boxes, None, picture.labels, data.classes.names),
            draw(image, np.array(boxes).reshape(-1, 4), [r["score"] for r in found], [numbers[r["category_id"]] for r in found], data.classes.names),
        )
        for row, one in enumerate(drawn):
            one.thumbnail((side_px - 4, side_px - 4))
            sheet.paste(one, (column * side_px + 2, (2 * line + row) * side_px + 2))
    with io.BytesIO() as out:
        sheet.save(out, format="PNG")
        return out.getvalue()
