"""Networks whose graph does not reproduce its published size: what the difference means, and whether they serve a fit.

``sizes.csv`` marks a network if its parameters differ by more than 1 percent or its FLOPs by more than 2. ``mark_of``
sorts the marks by how large the differences are and which of the two differs, whatever the family is called;
``MARKS`` says of every kind whether entries with it serve a fit, and why.
"""

from __future__ import annotations

from dataclasses import dataclass

from nas.detectors.entry import Entry, PublishedSize

NEAR = 8.0
"""Percent up to which sizes are near each other. Within a family and recipe AP rises by 0.4 points with 8 percent more
FLOPs (the atlas's own size steps); two recipes for one network differ by 0.6 to 2.7."""


@dataclass(frozen=True)
class Mark:
    """A kind of mark: whether its entries serve a fit of AP over architecture, and the reason."""

    name: str
    serves: bool
    reason: str


MARKS = {
    mark.name: mark
    for mark in (
        Mark("agrees", True, "the graph has the published parameters and FLOPs"),
        Mark("not compared", True, "no size is published, or nobody compared"),
        Mark(
            "near", True,
            "at most 8 percent apart: publishers count normalization and activations, or leave out the matrix "
            "products of attention; worth 0.4 AP points at most, less than two recipes differ by",
        ),
        Mark(
            "training form", True,
            "the FLOPs are near and only the published parameters are more: they count branches, heads and queries "
            "that only training uses; the graph is the network that was timed and evaluated",
        ),
        Mark(
            "smaller image", True,
            "the parameters are near and the published FLOPs fewer: they are published for a smaller input than the "
            "accuracy, and the graph has the input size of the accuracy",
        ),
        Mark(
            "larger image", False,
            "the parameters are near and the published FLOPs more: FLOPs and accuracy belong to larger images than the "
            "graph computes, so that the accuracy is too high for it",
        ),
        Mark("other network", False, "the differences are large and unexplained: it may be another network"),
    )
}  # fmt: skip
"""Kind of mark by name."""


def compared_size(params: float, flops: float, params_m: float | None, gflops: float | None) -> PublishedSize:
    """Own parameters and FLOPs against the published millions and GFLOPs, with the verdict that ``sizes.csv`` has."""
    own = {"params": (params / 1e6, params_m, 1.0), "gflops": (flops / 1e9, gflops, 2.0)}
    percent = {name: None if not told else 100 * (ours - told) / told for name, (ours, told, _) in own.items()}
    differ = [
        name
        for name, (ours, told, most) in own.items()
        if told and abs(100 * (ours - told) / told) > most and abs(ours - told) > _rounding(told)
    ]
    verdict = f"differs: {', '.join(differ)}" if differ else "agrees" if params_m or gflops else ""
    return PublishedSize(params_m, gflops, percent["params"], percent["gflops"], verdict)


def _rounding(published: float) -> float:
    """Half a unit of the last digit that a published figure has."""
    digits = f"{published:.10g}".partition(".")[2]
    return 0.5 * 10.0 ** -len(digits) * (1 + 1e-9)


def mark_of(size: PublishedSize) -> Mark:
    """The kind of mark of a network."""
    if not size.verdict:
        return MARKS["not compared"]
    if size.verdict == "agrees":
        return MARKS["agrees"]
    params, flops = size.params_diff_percent, size.gflops_diff_percent
    params_near = params is None or abs(params) <= NEAR
    flops_near = flops is None or abs(flops) <= NEAR
    if params_near and flops_near:
        return MARKS["near"]
    if flops is not None and flops_near and params is not None and params < 0:
        return MARKS["training form"]
    if params is not None and params_near and flops is not None:
        return MARKS["smaller image" if flops > 0 else "larger image"]
    return MARKS["other network"]


def fit_for_use(entry: Entry) -> bool:
    """Whether an entry serves a fit: it has an accuracy, and its graph is the network that the accuracy belongs to."""
    return entry.ap == entry.ap and mark_of(entry.size).serves
