"""Other people's trained detectors as evidence: the zoo's families with their published COCO AP and T4 latency.

Recipes differ between families (epochs, augmentation, pre-training, distillation), so part of what separates two of
them is not in their graphs. ``blur`` says how much.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas.evidence.rank import equal_latency_tau
from nas.evidence.trained import TrainedDetectors
from search_spaces.ops import DECODE_PART
from workbench.console import Progress
from workbench.errors import missing_package

TARGET = "coco_val_map50_95"
DEVICE = "t4_trt_fp16_ms"
BINS = 4
"""Of T4 latency: about thirty models do not fill more."""
LEAST = 3
"""Models that make a family."""


@dataclass(frozen=True)
class Blur:
    """What families differ by beyond latency. ``offset_points``: AP points of each family above a common curve of AP over
    T4 latency; ``deviation_points``: their standard deviation; ``blind_oracle``: tau at equal latency of a score that
    orders every family perfectly and knows nothing of the offsets."""

    offset_points: dict[str, float]
    deviation_points: float
    residual_points: float
    blind_oracle: float


def zoo_detectors(progress: Progress | None = None) -> TrainedDetectors:
    """Every model of the zoo at its published input size: whole detector in deploy form, box decoding left out."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package("the zoo's detectors", error.name, "torch") from error
    from zoo.families.card import load_cards
    from zoo.resolve import resolve_model

    cards = list(load_cards().values())
    graphs = {}
    for count, card in enumerate(cards, start=1):
        if progress is not None:
            progress.show(f"{count} of {len(cards)} detectors traced: {card.model}", force=count == len(cards))
        graph = resolve_model(card.model).graph("detector", card.input_px)
        graphs[card.model] = graph.without_part(DECODE_PART) if any(op.part == DECODE_PART for op in graph) else graph
        graphs[card.model].name = card.model
    return TrainedDetectors(
        "zoo/cards", np.array([card.model for card in cards]), np.array([card.family for card in cards]),
        np.array([card.input_px for card in cards]), graphs, {TARGET: np.array([card.ap / 100 for card in cards])},
        {DEVICE: np.array([np.nan if card.t4_ms is None else card.t4_ms for card in cards])},
    )  # fmt: skip


def blur(points: TrainedDetectors, bins: int = BINS) -> Blur:
    """Fit AP = quadratic in ln(T4 latency) + an offset a family (of at least ``LEAST`` timed models), by least squares."""
    ap, ms = points.accuracy[TARGET], points.latency[DEVICE]
    timed = ~np.isnan(ms)
    names = [str(name) for name in np.unique(points.family) if (timed & (points.family == name)).sum() >= LEAST]
    rows = timed & np.isin(points.family, names)
    x = np.log(ms[rows] / np.exp(np.log(ms[rows]).mean()))
    belongs = (points.family[rows][:, None] == np.array(names)[None, :]).astype(float)
    found = np.linalg.lstsq(np.column_stack([x, x**2, belongs]), ap[rows], rcond=None)[0]
    offsets = found[2:] - found[2:].mean()
    fitted = np.column_stack([x, x**2, belongs]) @ found
    blind = ap[rows] - belongs @ offsets
    free = max(1, int(rows.sum()) - len(found))
    return Blur(
        {name: round(100 * float(value), 2) for name, value in zip(names, offsets, strict=True)},
        100 * float(offsets.std(ddof=1)) if len(names) > 1 else 0.0,
        100 * float(np.sqrt(((ap[rows] - fitted) ** 2).sum() / free)), equal_latency_tau(blind, ap[rows], ms[rows], bins),
    )  # fmt: skip
