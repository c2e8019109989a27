"""A child carries its parent's licence and hash, however often it is cut."""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("torch")

from tests.distill.tiny import tiny_detector
from tests.zoo.pruning.children import AGPL_LINEAGE, AGPL_PROVENANCE, child_of
from zoo.detector import Detector
from zoo.pruning.lineage import child_info, kept_provenance
from zoo.weights.licence import FLAGGED, OWN, UNKNOWN, YES, of_weights, own_licence

TRAINED = {"trained_with": "nas-workbench 0.1.0", "val": {"ap": 0.5}, "epoch": 3}


def parent(provenance: dict[str, object], lineage: tuple[dict[str, str], ...] = ()) -> Detector:
    detector = tiny_detector()
    detector.info = dataclasses.replace(detector.info, provenance=provenance, lineage=lineage)
    return detector


def test_a_child_of_agpl_weights_is_agpl() -> None:
    made = parent(dict(AGPL_PROVENANCE), AGPL_LINEAGE)
    info = child_of(made, "cd" * 32).info
    assert own_licence(info.provenance) == "AGPL-3.0"
    assert info.lineage == (
        *AGPL_LINEAGE,
        {"model": "tiny", "licence": "AGPL-3.0", "sha256": "cd" * 32, "role": "parent"},
    )
    assert of_weights(info.provenance, info.lineage).answer == FLAGGED
    assert info.provenance["cut_from"] == {
        "model": "tiny",
        "sha256": "cd" * 32,
        "licence": "AGPL-3.0",
        "parameters": sum(p.numel() for p in made.parameters()),
    }


def test_a_parent_that_states_a_licence_without_a_lineage_is_enough() -> None:
    info = child_of(parent({"licence": "GPL-3.0"}), "cd" * 32).info
    assert of_weights(info.provenance, info.lineage).answer == FLAGGED


@pytest.mark.parametrize(
    ("provenance", "licence", "answer"),
    [(TRAINED, OWN, YES), ({}, "not stated", UNKNOWN), ({"licence": "MIT"}, "MIT", YES)],
)
def test_other_licences_are_inherited_as_they_are(provenance: dict[str, object], licence: str, answer: str) -> None:
    info = child_of(parent(dict(provenance)), "cd" * 32).info
    assert own_licence(info.provenance) == licence and of_weights(info.provenance, info.lineage).answer == answer
    assert "val" not in info.provenance and "epoch" not in info.provenance  # the child has not been evaluated


def test_a_child_of_a_child_names_both() -> None:
    child = child_of(parent(dict(AGPL_PROVENANCE), AGPL_LINEAGE), "cd" * 32, 0.8)
    info = child_info(child, "ef" * 32)
    assert [entry["sha256"][:2] for entry in info.lineage] == ["ab", "cd", "ef"]
    assert info.provenance["cut_from"]["sha256"] == "ef" * 32
    assert of_weights(info.provenance, info.lineage).answer == FLAGGED


def test_training_further_keeps_what_a_child_is_cut_from() -> None:
    child = child_of(parent(dict(TRAINED)), "cd" * 32)
    assert kept_provenance(child) == {"cut_from": child.info.provenance["cut_from"]}
    assert kept_provenance(parent({"cut_from": {"model": "x"}})) == {}  # not cut: nothing to keep
