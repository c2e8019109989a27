"""Plots of a training: curves over epochs, F1, precision and recall over the score, confusion, and labels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from distill.data.dataset import DataSet
from distill.report.matching import THRESHOLDS, ThresholdCurves
from distill.train.plots import MAX_CURVES

LOSSES, AVERAGE_PRECISION = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"), "#222222"
MAX_CELLS = 30
"""Classes up to which the confusion matrix has names and numbers in its cells."""
MAX_BARS = 40
"""Classes with a bar of their own."""


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Any) -> bytes:
    with io.BytesIO() as out:
        figure.savefig(out, format="png", facecolor="white")
        return out.getvalue()


def _plain(axes: Any) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def curves_png(history: Sequence[dict[str, Any]], best_epoch: int) -> bytes:
    """Losses, AP and learning rate over the epochs of ``history``."""
    figure = _figure(10.0, 3.4)
    losses, precision, rate = figure.subplots(1, 3)
    epochs = [record["epoch"] for record in history]
    names = list(dict.fromkeys(name for record in history for name in record["losses"]))
    for number, name in enumerate(names):
        color, style = LOSSES[number % len(LOSSES)], ("-", "--", ":")[number // len(LOSSES) % 3]
        values = [record["losses"].get(name, np.nan) for record in history]
        losses.plot(epochs, values, color=color, linestyle=style, marker="." if len(epochs) < 30 else "", label=name)
    losses.set(title="training losses", xlabel="epoch", ylim=(0, None))
    losses.legend(fontsize=8, frameon=False)
    evaluated = [record for record in history if record.get("ap") is not None]
    for name, style, label in (("ap", "-", "AP"), ("ap50", "--", "AP50"), ("ap75", ":", "AP75")):
        values = [record.get(name, np.nan) for record in evaluated]
        at = [record["epoch"] for record in evaluated]
        precision.plot(at, values, color=AVERAGE_PRECISION, linestyle=style, marker=".", label=label)
    if best_epoch:
        precision.axvline(best_epoch, color="#D55E00", linewidth=1, label=f"best: epoch {best_epoch}")
    precision.set(title="validation", xlabel="epoch", ylim=(0, 1))
    precision.legend(fontsize=8, frameon=False)
    rate.plot(epochs, [record["rate"] for record in history], color="#0072B2", marker="." if len(epochs) < 30 else "")
    rate.set(title="learning rate at an epoch's end", xlabel="epoch", ylim=(0, None))
    for axes in (losses, precision, rate):
        _plain(axes)
        axes.xaxis.get_major_locator().set_params(integer=True)
    return _png(figure)


def thresholds_png(curves: ThresholdCurves, names: Sequence[str]) -> bytes:
    """F1, precision and recall over the score threshold: a line a class and a thick one for the mean."""
    figure = _figure(10.0, 3.6)
    best = curves.best_threshold
    panels = (("F1", curves.f1), ("precision", curves.precision), ("recall", curves.recall))
    known = [label for label in range(len(names)) if not np.isnan(curves.f1[label, 0])]
    for axes, (title, values) in zip(figure.subplots(1, 3), panels, strict=True):
        for label in known[:MAX_CURVES]:
            axes.plot(THRESHOLDS, values[label], linewidth=0.9, label=names[label] if title == "F1" else None)
        if known:
            few = np.isnan(values[known]).all(0)
            mean = np.nanmean(np.where(few, 0.0, values[known]), 0)
            mean[few] = np.nan
            shown = "mean" if title == "F1" else None
            axes.plot(THRESHOLDS, mean, color="black", linewidth=2.2, label=shown)
        axes.axvline(best, color="#666666", linestyle="--", linewidth=1, label=None)
        axes.set(title=title, xlabel="score threshold", xlim=(0, 1), ylim=(0, 1.02))
        _plain(axes)
    if known:
        figure.legend(fontsize=8, loc="outside right center", frameon=False)
    return _png(figure)


def confusion_png(matrix: np.ndarray, names: Sequence[str]) -> bytes:
    """The confusion matrix ``[classes + 1, classes + 1]``, shaded by the share of its true class."""
    count = len(matrix)
    side = min(9.0, max(4.2, 0.42 * count + 1.8))
    figure = _figure(side + 0.8, side)
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the row")
    axes.set(xlabel="found as", ylabel="true class")
    if count <= MAX_CELLS + 1:
        size = 8.5 if count <= 16 else 6.5
        axes.set_xticks(range(count), [*names, "missed"], rotation=90, fontsize=size, parse_math=False)
        axes.set_yticks(range(count), [*names, "nothing"], fontsize=size, parse_math=False)
        for row, column in zip(*np.nonzero(matrix), strict=True):
            ink = "white" if shares[row, column] > 0.55 else "#222222"
            axes.text(column, row, f"{matrix[row, column]:,}", ha="center", va="center", fontsize=size - 1.5, color=ink)
    return _png(figure)


def labels_png(data: DataSet) -> bytes:
    """Objects by class, centers, sizes, and objects an image of ``data``."""
    figure = _figure(10.0, 3.4)
    bars, centers, sizes, counts = figure.subplots(1, 4, width_ratios=(1.5, 1, 1, 1))
    labels, boxes = _objects(data)
    by_class = np.bincount(labels, minlength=len(data.classes))
    order = np.argsort(-by_class, kind="stable")[:MAX_BARS]
    bars.bar(range(len(order)), by_class[order], color="#0072B2")
    text = [data.classes.names[label] for label in order]
    bars.set_xticks(range(len(order)), text, rotation=90, fontsize=8 if len(order) <= 20 else 6, parse_math=False)
    more = f" (first {MAX_BARS} of {len(by_class)})" if len(by_class) > MAX_BARS else ""
    bars.set(title=f"objects by class{more}")
    panels = (
        (centers, boxes[:, 0], 1 - boxes[:, 1], "centers", ("x / width", "y / height, up")),
        (sizes, boxes[:, 2], boxes[:, 3], "sizes", ("width / image", "height / image")),
    )
    for axes, x, y, title, (x_label, y_label) in panels:
        grid, _, _ = np.histogram2d(x, y, bins=40, range=((0, 1), (0, 1)))
        axes.imshow(np.sqrt(grid.T), origin="lower", extent=(0, 1, 0, 1), cmap="Blues", aspect="auto")
        axes.set(title=title, xlabel=x_label, ylabel=y_label)
    numbers = [int((~picture.crowd).sum()) for picture in data.pictures]
    bins = np.arange(max(numbers, default=0) + 2) - 0.5 if max(numbers, default=0) < 40 else 40
    counts.hist(numbers, bins=bins, color="#0072B2")
    counts.set(title="images by objects", xlabel="objects in an image")
    counts.xaxis.get_major_locator().set_params(integer=True)
    for axes in (bars, counts):
        axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def _objects(data: DataSet) -> tuple[np.ndarray, np.ndarray]:
    """Labels ``[n]``, and centers and sizes ``[n, 4]`` as shares of the image; crowd regions are left out."""
    labels, boxes = [np.zeros(0, np.int64)], [np.zeros((0, 4))]
    for picture in data.pictures:
        corners = picture.boxes[~picture.crowd] / np.array([picture.width, picture.height] * 2, float)
        labels.append(picture.labels[~picture.crowd])
        boxes.append(np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1))
    return np.concatenate(labels), np.concatenate(boxes)
