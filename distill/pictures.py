"""Pictures of training: precision-recall curves, and images with what was found on them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from distill.evaluate import Verdict

MOST_CURVES = 12
"""Classes with a curve of their own; the others count in the mean alone."""


def precision_recall_png(verdict: Verdict, names: Sequence[str]) -> bytes:
    """Precision over recall at IoU 0.5, a line a class and a thick one for their mean."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    recall = np.linspace(0, 1, verdict.precision.shape[1])
    judged = [i for i in range(len(names)) if verdict.precision[i, 0] >= 0]
    for i in judged[:MOST_CURVES]:
        axes.plot(recall, verdict.precision[i], linewidth=0.9, label=names[i])
    if judged:
        axes.plot(recall, verdict.precision[judged].mean(0), color="black", linewidth=2.2, label="mean")
        axes.legend(fontsize=7, loc="lower left", ncols=2)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision", title="IoU 0.5")
    axes.grid(alpha=0.3)
    with io.BytesIO() as out:
        figure.savefig(out, format="png")
        return out.getvalue()
