"""Commercial use of weights: what the licences in their lineage say, as facts with their sources.

This is not legal advice. Whether a licence applies to weights, and whether a student is derived from its teacher, are
open questions of law; this module only states which weights went in and what their authors say about them.
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
CUT_FROM = "cut_from"
"""Key in the provenance of a cut detector: model, SHA-256, licence and parameters of the detector it is cut from."""
TEACHER, PARENT = "teacher", "parent"
"""Roles in a lineage; weights without a role are those that training started from."""
PROJECT = "Apache-2.0"
"""Licence of the code of this workbench."""

FREE, COPYLEFT, BARRED = "free", "copyleft", "barred"
KINDS: dict[str, str] = {
    **dict.fromkeys(("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc"), FREE),
    **dict.fromkeys(("cc0-1.0", "cc-by-4.0", "unlicense"), FREE),
    **dict.fromkeys(("agpl-3.0", "gpl-3.0", "gpl-2.0", "lgpl-3.0", "cc-by-sa-4.0"), COPYLEFT),
    **dict.fromkeys(("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"), BARRED),
}
"""SPDX identifier in lower case, without ``-only`` and ``-or-later``, to the kind of licence."""

TERMS = {
    FREE: "allows commercial use",
    COPYLEFT: "allows commercial use under conditions on what is built from the work",
    BARRED: "does not allow commercial use",
    "agpl-3.0": (
        "allows commercial use if whoever gets the work, over a network too, is offered the source under the same "
        "licence"
    ),
    "gpl-3.0": "allows commercial use if whoever gets the work is offered the source under the same licence",
}
"""Terms by licence, or by kind for licences without an entry of their own."""

ROLES = {TEACHER: "the student learned from them", PARENT: "this checkpoint was cut from them"}
"""Role in a lineage to its part in the checkpoint."""

YES, FLAGGED, NO, UNKNOWN = "allowed", "flagged", "not allowed", NOT_STATED
ANSWERS = {
    YES: "allowed by every licence stated",
    FLAGGED: "flagged: weights under a copyleft licence are in the lineage",
    NO: "not allowed by a licence in the lineage",
    UNKNOWN: "not stated: the licence of some weights in the lineage is not known",
}


@dataclass(frozen=True, slots=True)
class CommercialUse:
    """The answer, a key of ``ANSWERS``, and a reason for each set of weights."""

    answer: str
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "answer": self.answer,
            "says": ANSWERS[self.answer],
            "reasons": list(self.reasons),
            "legal_advice": False,
        }

    def text(self) -> str:
        """Lines for a terminal."""
        lines = [f"commercial use: {ANSWERS[self.answer]}", *(f"  {reason}" for reason in self.reasons)]
        return "\n".join([*lines, "  (facts, not legal advice; the licence of the training images is not known here)"])


def kind_of(licence: str) -> str | None:
    """``free``, ``copyleft`` or ``barred``; None for an unknown licence."""
    return KINDS.get(_identifier(licence))


def of_card(card: Card) -> CommercialUse:
    """Commercial use of a model of the zoo: of its code here and of the official weights."""
    code = (
        f"{card.model}: the code here is {PROJECT}, a model that you train with it from random weights carries no "
        "licence of others"
    )
    weights = _reason(card.model, card.weights_licence, "the official weights", card)
    return CommercialUse(_answer([card.weights_licence]), (code, weights))


def of_weights(provenance: Mapping[str, Any], lineage: Iterable[Mapping[str, Any]]) -> CommercialUse:
    """Commercial use of a checkpoint: of its own weights and of every set of weights that went into them."""
    own = own_licence(provenance)
    ancestors = list(lineage)
    cut = provenance.get(CUT_FROM) if not provenance.get("trained_with") else None
    licences = [str(ancestor.get("licence", NOT_STATED)) for ancestor in ancestors]
    reasons = []
    official = any(str(ancestor.get("sha256")) == str(provenance.get("sha256")) for ancestor in ancestors)
    if cut is not None:
        licences.append(own)
        reasons.append("this checkpoint is a part of its parent's weights and has their licence")
    elif own == OWN:
        reasons.append(
            f"this checkpoint was trained with {provenance.get('trained_with')}; it states no licence of its own, "
            "which is for whoever trained it to choose"
        )
    elif not official:
        licences.append(own)
        reasons.append(_reason("this checkpoint", own, "", None))
    for ancestor in ancestors:
        model, licence = str(ancestor.get("model", "?")), str(ancestor.get("licence", NOT_STATED))
        role = ROLES.get(str(ancestor.get("role")), "they are where these weights come from")
        sha256 = str(ancestor.get("sha256", "not stated"))[:16]
        reasons.append(f"{_reason(model, licence, role, _card(model))}; sha256 {sha256}")
    return CommercialUse(_answer(licences), tuple(reasons))


def own_licence(provenance: Mapping[str, Any]) -> str:
    """What a detector's provenance says about its own weights: a licence, ``OWN`` or ``NOT_STATED``."""
    stated = provenance.get("licence")
    if stated:
        return str(stated)
    if provenance.get("trained_with"):
        return OWN
    cut_from = provenance.get(CUT_FROM)
    return str(cut_from.get("licence") or NOT_STATED) if isinstance(cut_from, Mapping) else NOT_STATED


def notice(provenance: Mapping[str, Any], lineage: Iterable[Mapping[str, Any]]) -> str:
    """One line for whoever uses a checkpoint: which weights restrict its commercial use. Empty if none do."""
    ancestors = list(lineage)
    answer = of_weights(provenance, ancestors).answer
    if answer not in (FLAGGED, NO):
        return ""
    stated = [(str(entry.get("model", "?")), str(entry.get("licence", NOT_STATED))) for entry in ancestors]
    stated.append(("this checkpoint", own_licence(provenance)))
    kind = COPYLEFT if answer == FLAGGED else BARRED
    named = dict.fromkeys(f"{model}, {licence}" for model, licence in stated if kind_of(licence) == kind)
    return f"commercial use: {ANSWERS[answer]} ({'; '.join(named)})"


def _answer(licences: Iterable[str]) -> str:
    """The most restrictive answer of several licences."""
    kinds = {FREE if licence == OWN else kind_of(licence) for licence in licences}
    return NO if BARRED in kinds else FLAGGED if COPYLEFT in kinds else UNKNOWN if None in kinds else YES


def _reason(model: str, licence: str, role: str, card: Card | None) -> str:
    """One set of weights in words; ``role`` is its part in the checkpoint."""
    authors = "" if card is None else card.authors or card.repository
    whose = f"{model} by {authors}" if authors else model
    tail = f"; {role}" if role else ""
    if licence == OWN:
        return f"weights of {model} were trained with this workbench and state no licence of their own{tail}"
    kind = kind_of(licence)
    if kind is None:
        unknown = NOT_STATED if licence == NOT_STATED else f"{licence!r}, which is not known here"
        return f"weights of {whose}: licence {unknown}{tail}"
    terms = TERMS.get(_identifier(licence), TERMS[kind])
    note = f". {card.licence_note}" if card is not None and kind == COPYLEFT and card.licence_note else ""
    return f"weights of {whose} are {licence}, which {terms}{note}{tail}"


def _card(model: str) -> Card | None:
    """The card of a model by its name; None for a model that is not in the zoo."""
    try:
        return find_card(model)
    except BadInput:
        return None


def _identifier(licence: str) -> str:
    """The SPDX identifier in lower case, without ``-only`` and ``-or-later``."""
    return licence.strip().lower().removesuffix("-only").removesuffix("-or-later")
