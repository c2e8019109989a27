"""``nas zoo show`` answers "commercial use?" of a model and of a checkpoint, in words and as JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from distill.teach.teacher import student_lineage
from nas.cli import main
from tests.distill.tiny import tiny_detector
from zoo.factory import build
from zoo.weights.checkpoint import save


@pytest.fixture
def student(tmp_path: Path) -> str:
    """A checkpoint that learned from official AGPL weights by way of a teacher that was trained here."""
    official = {"model": "yolo11x", "licence": "AGPL-3.0", "sha256": "ab" * 32}
    teacher = build("yolo11n", 3)
    teacher.info = dataclasses.replace(
        teacher.info, provenance={"trained_with": "nas-workbench 0.1.0"}, lineage=(official,)
    )
    pupil = tiny_detector()
    pupil.info = dataclasses.replace(
        pupil.info,
        provenance={"trained_with": "nas-workbench 0.1.0"},
        lineage=student_lineage(pupil, teacher, "cd" * 32),
    )
    save(pupil, tmp_path / "student.safetensors")
    return str(tmp_path / "student.safetensors")


def test_a_checkpoint_names_every_teacher_its_hash_and_its_licence(
    student: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["zoo", "show", student]) == 0
    out = capsys.readouterr().out
    assert "commercial use: flagged" in out and "not legal advice" in out
    assert (
        "yolo11x by Ultralytics are AGPL-3.0" in out
        and "ab" * 32 in out
        and "cd" * 32 in out
        and "yolo11n under own, its teacher" in out
    )
    assert main(["zoo", "show", student, "--json"]) == 0
    use = json.loads(capsys.readouterr().out)["commercial_use"]
    assert use["answer"] == "flagged" and len(use["reasons"]) == 3 and use["legal_advice"] is False


def test_a_model_tells_its_code_and_its_official_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "show", "yolo26n"]) == 0
    assert "commercial use: flagged" in capsys.readouterr().out
    assert main(["zoo", "show", "rtdetrv2-s", "--json"]) == 0
    use = json.loads(capsys.readouterr().out)["commercial_use"]
    assert use["answer"] == "allowed" and "Apache-2.0" in use["reasons"][1]
