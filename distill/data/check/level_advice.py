"""What the counts of boxes say against a detector's levels and input side, and what could be changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from distill.data.check.level_counts import CELLS_FROM, CELLS_TO, STRIDES, SideCounts

WARNED_SHARE = 0.01
"""Share of the boxes from which a remark is made, and below which a change is enough."""
FEW_BOXES = 100


@dataclass(frozen=True, slots=True)
class Offer:
    """A change, and the share of the boxes that the remark would be about after it (None: the remark says it)."""

    option: str
    """``levels`` or ``input_px``."""
    value: tuple[int, ...] | int
    """Strides of the levels, or the input side in pixels."""
    share: float | None = None

    def __str__(self) -> str:
        levels = isinstance(self.value, tuple)
        text = f"levels of stride {', '.join(map(str, self.value))}" if levels else f"an input of {self.value} px"
        return text if self.share is None else f"{text}: {percent(self.share)} %"


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that the boxes say, and what could be changed."""

    code: str
    """``few-boxes``, ``below-a-cell``, ``shared-cell``, ``unused-level`` or ``too-large``."""
    severity: str
    """``warning`` or ``note``."""
    text: str
    offers: tuple[Offer, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        offers = [{"option": offer.option, "value": offer.value, "share": offer.share} for offer in self.offers]
        return {"code": self.code, "severity": self.severity, "text": self.text, "offers": offers}

    def __str__(self) -> str:
        return "\n  possible: ".join([f"{self.severity}: {self.text}", *map(str, self.offers)])


def percent(share: float) -> str:
    """A share in percent with one digit; ``0`` only where there is none, ``100`` only for all."""
    if share in (0, 1):
        return f"{100 * share:.0f}"
    return "<0.1" if share < 0.0005 else ">99.9" if share > 0.9995 else f"{100 * share:.1f}"


def advice(boxes: int, sides: Sequence[SideCounts], input_px: int, strides: tuple[int, ...]) -> tuple[Remark, ...]:
    """Remarks on a detector of ``input_px`` pixels with levels of these strides; none where there is no box."""
    if not boxes:
        return ()
    here = next(side for side in sides if side.input_px == input_px)
    remarks = []
    if boxes < FEW_BOXES:
        text = f"{boxes} box{'es are' if boxes > 1 else ' is'} few: one more or less changes every share by "
        remarks.append(Remark("few-boxes", "note", f"{text}{percent(1 / boxes)} %"))
    remarks += _finest_level(boxes, sides, here, strides)
    remarks += _coarsest_level(boxes, here, strides)
    return tuple(remarks)


def _finest_level(
    boxes: int, sides: Sequence[SideCounts], here: SideCounts, strides: tuple[int, ...]
) -> list[Remark]:
    """Boxes that are too small for the finest level, or too close to one another."""
    finest, at = strides[0], f"at {here.input_px} px"

    def below(side: SideCounts, stride: int) -> float:
        return side.level(stride).shorter_below / boxes

    def shared(side: SideCounts, stride: int) -> float:
        return side.level(stride).shared / boxes

    remarks = []
    if (share := below(here, finest)) >= WARNED_SHARE:
        text = (
            f"{percent(share)} % of the boxes have a shorter side below {finest} px {at}, one cell of the finest level: "
            "they cannot have a cell of their own"
        )
        offers = _finer_or_larger(below, sides, here, strides)
        text += "" if offers else "; cut the images into tiles"
        remarks.append(Remark("below-a-cell", "warning", text, offers))
    if (share := shared(here, finest)) >= WARNED_SHARE:
        text = (
            f"{percent(share)} % of the boxes have their center in the same cell of stride {finest} as another box {at}: "
            "a cell of the finest level predicts one"
        )
        remarks.append(Remark("shared-cell", "warning", text, _finer_or_larger(shared, sides, here, strides)))
    return remarks


def _finer_or_larger(
    share_of: Callable[[SideCounts, int], float], sides: Sequence[SideCounts], here: SideCounts, strides: tuple[int, ...]
) -> tuple[Offer, ...]:
    """A finer level, and the smallest of the larger input sides that is enough, or else the largest."""
    finest = strides[0]
    offers: list[tuple[str, tuple[int, ...] | int, float]] = []
    now = share_of(here, finest)
    if finest > STRIDES[0]:
        finer = STRIDES[STRIDES.index(finest) - 1]
        offers.append(("levels", (finer, *strides), share_of(here, finer)))
    larger = [side for side in sides if side.input_px > here.input_px]
    enough = [side for side in larger if share_of(side, finest) < WARNED_SHARE] or larger[-1:]
    offers += [("input_px", side.input_px, share_of(side, finest)) for side in enough[:1]]
    return tuple(Offer(option, value, share) for option, value, share in offers if share < now)


def _coarsest_level(boxes: int, here: SideCounts, strides: tuple[int, ...]) -> list[Remark]:
    """A coarsest level that hardly any box is sized for, or one that is too fine for many."""
    coarsest, at = strides[-1], f"at {here.input_px} px"
    share = here.sized_from(coarsest) / boxes
    if share < WARNED_SHARE and len(strides) > 2:
        text = (
            f"{percent(share)} % of the boxes are sized for stride {coarsest} {at} (sqrt(width x height) from "
            f"{CELLS_FROM * coarsest} px): the detector may do without that level"
        )
        return [Remark("unused-level", "note", text, (Offer("levels", strides[:-1]),))]
    if coarsest == STRIDES[-1]:
        return []
    coarser = STRIDES[STRIDES.index(coarsest) + 1]
    share = here.sized_from(coarser) / boxes
    if share < WARNED_SHARE:
        return []
    text = (
        f"{percent(share)} % of the boxes are larger than stride {coarsest}, the coarsest level, is for {at} "
        f"(sqrt(width x height) from {CELLS_TO * coarsest} px)"
    )
    after = strides + (coarser,)
    beyond = here.larger if coarser == STRIDES[-1] else here.sized_from(2 * coarser)
    return [Remark("too-large", "warning", text, (Offer("levels", after, beyond / boxes),))]
