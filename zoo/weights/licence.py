"""Commercial use of weights: what the licences in their lineage say, as facts with their sources.

Not legal advice. Whether weights are a work that a licence reaches, and whether a student is derived from its teacher, are open
questions of law; what is stated here is only which weights went in and what their makers say of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.errors import BadInput
from zoo.families.card import Card, find_card

OWN = "own"
"""Licence of weights that this workbench trained: whoever trained them decides."""
NOT_STATED = "not stated"
PROJECT = "Apache-2.0"
"""Licence of the code of this workbench."""

FREE, COPYLEFT, BARRED = "free", "copyleft", "barred"
KINDS: dict[str, str] = {
    "apache-2.0": FREE, "mit": FREE, "bsd-2-clause": FREE, "bsd-3-clause": FREE, "isc": FREE, "cc0-1.0": FREE, "cc-by-4.0": FREE, "unlicense": FREE,
    "agpl-3.0": COPYLEFT, "gpl-3.0": COPYLEFT, "gpl-2.0": COPYLEFT, "lgpl-3.0": COPYLEFT, "cc-by-sa-4.0": COPYLEFT,
    "cc-by-nc-4.0": BARRED, "cc-by-nc-sa-4.0": BARRED, "cc-by-nc-nd-4.0": BARRED,
}  # fmt: skip
"""SPDX names in small letters, without ``-only`` and ``-or-later``."""

MAKERS = {"ultralytics/ultralytics": "Ultralytics", "WongKinYiu/yolov7": "the YOLOv7 authors"}
TERMS = {
    "agpl-3.0": "allows commercial use if whoever gets the work, over a network too, is offered the source under the same licence",
    "gpl-3.0": "allows commercial use if whoever gets the work is offered the source under the same licence",
}
ALSO_SOLD = {"Ultralytics": "Ultralytics also sells a licence without that condition"}

YES, FLAGGED, NO, UNKNOWN = "allowed", "flagged", "not allowed", NOT_STATED
SAID = {
    YES: "allowed by every licence stated",
    FLAGGED: "flagged: weights under a copyleft licence are in the lineage",
    NO: "not allowed by a licence in the lineage",
    UNKNOWN: "not stated: the licence of some weights in the lineage is not known",
}


@dataclass(frozen=True, slots=True)
class CommercialUse:
    """The answer: one of ``SAID``, and a reason for each set of weights."""

    answer: str
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"answer": self.answer, "says": SAID[self.answer], "reasons": list(self.reasons), "legal_advice": False}

    def text(self) -> str:
        """Lines for a terminal."""
        lines = [f"commercial use: {SAID[self.answer]}", *(f"  {reason}" for reason in self.reasons)]
        return "\n".join([*lines, "  (facts, not legal advice; the licence of the training pictures is not known here)"])


def kind_of(licence: str) -> str | None:
    """``free``, ``copyleft`` or ``barred``; None of a licence that is not known."""
    return KINDS.get(_plain(licence))


def of_card(card: Card) -> CommercialUse:
    """Of a model of the zoo: its code here, and the official weights."""
    here = f"{card.model}: the code here is {PROJECT}, a model that you train with it from random weights carries no licence of others"
    return CommercialUse(_answer([card.weights_licence]), (here, _weights(card.model, card.weights_licence, "the official weights", card)))


def of_weights(provenance: Mapping[str, Any], lineage: Iterable[Mapping[str, Any]]) -> CommercialUse:
    """Of a checkpoint: its own weights, and every set that went into them."""
    own = own_licence(provenance)
    ancestors = list(lineage)
    licences, reasons = [str(one.get("licence", NOT_STATED)) for one in ancestors], []
    official = any(str(one.get("sha256")) == str(provenance.get("sha256")) for one in ancestors)
    if own == OWN:
        reasons.append(f"this checkpoint was trained with {provenance.get('trained_with')}; it states no licence of its own, which is for whoever trained it to choose")
    elif not official:
        licences.append(own)
        reasons.append(_weights("this checkpoint", own, "", None))
    for one in ancestors:
        model, licence = str(one.get("model", "?")), str(one.get("licence", NOT_STATED))
        role = "the student learned from them" if one.get("role") == "teacher" else "they are where these weights come from"
        reasons.append(f"{_weights(model, licence, role, _card(model))}; sha256 {str(one.get('sha256', 'not stated'))[:16]}")
    return CommercialUse(_answer(licences), tuple(reasons))


def own_licence(provenance: Mapping[str, Any]) -> str:
    """What a detector's provenance says of its own weights: a licence, ``OWN`` or ``NOT_STATED``."""
    stated = provenance.get("licence")
    return str(stated) if stated else OWN if provenance.get("trained_with") else NOT_STATED


def _answer(licences: Iterable[str]) -> str:
    kinds = {FREE if licence == OWN else kind_of(licence) for licence in licences}
    return NO if BARRED in kinds else FLAGGED if COPYLEFT in kinds else UNKNOWN if None in kinds else YES


def _weights(model: str, licence: str, role: str, card: Card | None) -> str:
    """One set of weights in words."""
    repository = "" if card is None else card.code_licence.partition("(")[2].rstrip(")")
    maker = MAKERS.get(repository, repository)
    whose = f"{model} by {maker}" if maker else model
    tail = f"; {role}" if role else ""
    if licence == OWN:
        return f"weights of {model} were trained with this workbench and state no licence of their own{tail}"
    kind = kind_of(licence)
    if kind is None:
        return f"weights of {whose}: licence {NOT_STATED if licence == NOT_STATED else repr(licence) + ', which is not known here'}{tail}"
    terms = TERMS.get(_plain(licence), {FREE: "allows commercial use", COPYLEFT: "allows commercial use under conditions on what is built from the work", BARRED: "does not allow commercial use"}[kind])
    also = f". {ALSO_SOLD[maker]}" if kind == COPYLEFT and maker in ALSO_SOLD else ""
    return f"weights of {whose} are {licence}, which {terms}{also}{tail}"


def _card(model: str) -> Card | None:
    """The card of a model by its name; None of one that is not in the zoo."""
    try:
        return find_card(model)
    except BadInput:
        return None


def _plain(licence: str) -> str:
    return licence.strip().lower().removesuffix("-only").removesuffix("-or-later")
