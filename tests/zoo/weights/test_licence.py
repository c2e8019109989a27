"""Commercial use: what a lineage answers, and that nothing unknown passes for allowed."""

from __future__ import annotations

import pytest

from zoo.families.card import load_cards
from zoo.weights.licence import (
    ANSWERS,
    FLAGGED,
    NO,
    OWN,
    UNKNOWN,
    YES,
    kind_of,
    notice,
    of_card,
    of_weights,
    own_licence,
)

TRAINED = {"trained_with": "nas-workbench 0.1.0"}


def ancestor(model: str, licence: str, role: str = "teacher") -> dict[str, str]:
    return {"model": model, "licence": licence, "sha256": "ab" * 32, "role": role}


def test_every_card_has_a_licence_that_is_known() -> None:
    assert all(kind_of(card.weights_licence) is not None for card in load_cards().values())


@pytest.mark.parametrize(
    ("model", "answer", "words"),
    [
        ("yolo11n", FLAGGED, "weights of yolo11n by Ultralytics are AGPL-3.0"),
        ("yolov7", FLAGGED, "GPL-3.0"),
        ("yolox-s", YES, "Apache-2.0"),
    ],
)
def test_a_model_without_weights_tells_code_and_official_weights(model: str, answer: str, words: str) -> None:
    use = of_card(load_cards()[model])
    assert use.answer == answer and "the code here is Apache-2.0" in use.reasons[0] and words in use.reasons[1]


@pytest.mark.parametrize(
    ("lineage", "answer"),
    [
        ([], YES),
        ([ancestor("rtdetrv2-x", "Apache-2.0")], YES),
        ([ancestor("mine", OWN), ancestor("yolo11x", "AGPL-3.0")], FLAGGED),
        ([ancestor("yolo11x", "AGPL-3.0"), ancestor("x", "not stated")], FLAGGED),
        ([ancestor("x", "not stated"), ancestor("rtdetrv2-x", "Apache-2.0")], UNKNOWN),
        ([ancestor("x", "My Own Licence 7")], UNKNOWN),
        ([ancestor("x", "CC-BY-NC-4.0"), ancestor("yolo11x", "AGPL-3.0")], NO),
        ([{}], UNKNOWN),
    ],
)
def test_the_worst_of_the_lineage_answers(lineage: list[dict[str, str]], answer: str) -> None:
    use = of_weights(TRAINED, lineage)
    assert use.answer == answer and len(use.reasons) == 1 + len(lineage)
    assert use.to_dict()["legal_advice"] is False and "not legal advice" in use.text()


def test_a_student_of_agpl_weights_says_so_with_their_hash() -> None:
    text = of_weights(TRAINED, [ancestor("yolo11x", "AGPL-3.0")]).text()
    assert (
        "yolo11x by Ultralytics are AGPL-3.0" in text and "the student learned from them" in text and "ab" * 8 in text
    )
    assert "Ultralytics also sells a licence" in text


def test_official_weights_are_told_once() -> None:
    provenance = {"licence": "AGPL-3.0", "sha256": "ab" * 32}
    use = of_weights(provenance, [ancestor("yolo11n", "AGPL-3.0", "")])
    assert use.answer == FLAGGED and len(use.reasons) == 1
    assert (
        of_weights({"licence": "MIT", "sha256": "cd" * 32}, [])
        .reasons[0]
        .startswith("weights of this checkpoint are MIT")
    )


def test_weights_from_nowhere_are_not_stated() -> None:
    assert of_weights({}, []).answer == UNKNOWN
    assert (own_licence({}), own_licence(TRAINED), own_licence({"licence": "MIT"})) == ("not stated", OWN, "MIT")


@pytest.mark.parametrize("written", ["AGPL-3.0", "agpl-3.0-only", "AGPL-3.0-or-later", " AGPL-3.0 "])
def test_spdx_forms_of_a_licence_are_one(written: str) -> None:
    assert kind_of(written) == kind_of("AGPL-3.0") == "copyleft"


def test_a_cut_checkpoint_has_its_parents_licence() -> None:
    provenance = {"cut_from": {"model": "mine", "licence": "AGPL-3.0"}}
    assert own_licence(provenance) == "AGPL-3.0" and own_licence({"cut_from": {}}) == "not stated"
    use = of_weights(provenance, [ancestor("mine", "AGPL-3.0", "parent")])
    assert use.answer == FLAGGED and "part of its parent's weights" in use.reasons[0]
    assert "this checkpoint was cut from them" in use.reasons[1]
    trained = {**TRAINED, **provenance}  # trained further: its own, and the lineage still flags it
    assert own_licence(trained) == OWN
    assert of_weights(trained, [ancestor("mine", "AGPL-3.0", "parent")]).answer == FLAGGED


def test_a_notice_names_the_weights_that_restrict_and_is_silent_without() -> None:
    assert notice(TRAINED, [ancestor("x", "Apache-2.0")]) == "" == notice({}, [])
    said = notice(TRAINED, [ancestor("x", "MIT"), ancestor("yolo11s", "AGPL-3.0"), ancestor("yolo11s", "AGPL-3.0")])
    assert said == f"commercial use: {ANSWERS[FLAGGED]} (yolo11s, AGPL-3.0)"
    barred = notice(TRAINED, [ancestor("x", "CC-BY-NC-4.0"), ancestor("yolo11s", "AGPL-3.0")])
    assert barred == f"commercial use: {ANSWERS[NO]} (x, CC-BY-NC-4.0)"
    assert notice({"licence": "AGPL-3.0"}, []).endswith("(this checkpoint, AGPL-3.0)")
