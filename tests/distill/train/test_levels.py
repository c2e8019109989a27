"""Detectors with two and four levels train, are saved and come back; they teach and learn at the strides they share."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from distill.teach.balance import Schedule
from distill.teach.levels import left_out, shared_levels
from distill.teach.losses import TeacherLosses
from distill.teach.settings import DistillationSettings
from distill.teach.task import DistillationTask
from distill.teach.teacher import Teacher
from distill.train.loop import Loop
from distill.train.recipe import load_recipe
from distill.train.task import SupervisedTask, Task
from search_spaces.architecture import Head
from search_spaces.neck import Neck
from tests.distill.tiny import CLASSES, PX, batches
from tests.search_spaces.necks.cases import HEADS, NECKS, detector
from tests.zoo.families.checks import assert_same_detector
from workbench.errors import BadInput
from zoo.detector import Detector, Recipe
from zoo.factory import build_recipe
from zoo.weights.checkpoint import load, save

FOUR, THREE, TWO = (4, 8, 16, 32), (8, 16, 32), (8, 16)


def with_levels(strides: tuple[int, ...], neck: Neck = NECKS["pan-c3k2"], head: Head = HEADS["zero"]) -> Detector:
    torch.manual_seed(0)
    return build_recipe(Recipe("case", CLASSES, detector(neck, strides, head)))


def loop_of(task: Task, steps: int = 6) -> Loop:
    recipe = load_recipe("small", {"lr": 2e-3, "nominal_batch": 4, "batch": 4, "epochs": 4, "closing_epochs": 1})
    return Loop(task, recipe, steps, max(1, steps // 4))


@pytest.mark.parametrize(
    ("strides", "neck", "head"),
    [
        (FOUR, "repgfpn", "plain"), (TWO, "pan-inverted", "plain"),
        pytest.param(FOUR, "pan-c3k2", "depthwise", marks=pytest.mark.slow),
        pytest.param(TWO, "repgfpn-depthwise", "zero", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_it_trains_and_is_loaded_again(strides: tuple[int, ...], neck: str, head: str, tmp_path: Path) -> None:
    loop = loop_of(SupervisedTask(with_levels(strides, NECKS[neck], HEADS[head])), 50)
    fed = batches(2)
    sums = [sum(loop.advance([fed[i % 2]]).losses.values()) for i in range(50)]
    # the first losses are small because boxes count by their score, which starts near 0
    assert sum(sums[-4:]) / 4 < 0.7 * max(sums)
    trained = loop.average.detector.eval().requires_grad_(True)
    save(trained, tmp_path / "a.safetensors")
    back = load(tmp_path / "a.safetensors")
    assert back.strides == strides
    assert_same_detector(back, trained)


def test_levels_are_matched_by_stride() -> None:
    assert shared_levels(FOUR, THREE) == [(1, 0), (2, 1), (3, 2)]
    assert shared_levels((16, 32), (4, 8, 16)) == [(0, 2)]
    assert left_out(THREE, THREE) == ""
    assert left_out((16, 32), (4, 8, 16)) == (
        "features are distilled at the strides that both have, without the student's level of stride 32 and the "
        "teacher's levels of stride 4 and 8"
    )


def taught_by(teacher: tuple[int, ...], student: Detector, **settings: object) -> DistillationTask:
    made = with_levels(teacher)
    chosen = DistillationSettings(schedule=Schedule(1.0, 1.0, 0.0))
    return DistillationTask(student, [Teacher(made, student, PX, PX)], dataclasses.replace(chosen, **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(("student", "teacher"), [(FOUR, THREE), (TWO, THREE), ((16, 32), (4, 8, 16))])
def test_features_of_shared_levels_are_distilled(student: tuple[int, ...], teacher: tuple[int, ...]) -> None:
    task = taught_by(teacher, with_levels(student))
    assert task.remark.startswith("features are distilled at the strides that both have")
    report = loop_of(task).advance([batches(1)[0]])
    taught = {name for name in report.losses if name.startswith("teacher_")}
    part = task.parts[0]
    assert isinstance(part, TeacherLosses) and "overlap" in part.responses and len(part.features) > 0
    assert taught == {f"teacher_{name}" for name in part.names}
    own = loop_of(taught_by(student, with_levels(student))).task
    assert own.remark == ""


def test_without_a_shared_level_features_are_refused() -> None:
    student = with_levels((16, 32))
    teacher = with_levels((4, 8))
    pair = [Teacher(teacher, student, PX, PX)]
    with pytest.raises(BadInput, match="none of them the same"):
        DistillationTask(student, pair, DistillationSettings())
    responses_only = DistillationTask(student, pair, DistillationSettings(features={}))
    assert responses_only.remark == ""


def test_plain_distances_are_distilled_as_boxes() -> None:
    student = with_levels(THREE, head=HEADS["plain"])
    assert not student.has_distributions and with_levels(THREE).has_distributions
    task = taught_by(THREE, student)
    assert set(task.parts[0].responses) == {"scores", "boxes"}
    named = loop_of(taught_by(THREE, with_levels(THREE, head=HEADS["plain"]), responses={"localisation": {}}))
    with pytest.raises(BadInput, match="take box distillation"):
        named.advance([batches(1)[0]])
