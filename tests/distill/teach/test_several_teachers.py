"""Several teachers at once, and the student's own average as its teacher."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from distill.teach.balance import Schedule
from distill.teach.self_teacher import RISING, SelfTeacher
from distill.teach.settings import DistillationSettings
from distill.teach.task import DistillationTask
from distill.teach.teacher import Teacher
from distill.train.loop import Loop
from distill.train.recipe import load_recipe
from distill.train.task import Task
from tests.distill.tiny import CLASSES, PX, batches, tiny_detector
from workbench.errors import BadInput
from zoo.factory import build
from zoo.learning.targets import Phase

CONSTANT = Schedule(1.0, 1.0, 0.0)
RECIPE = load_recipe("small", {"nominal_batch": 4, "epochs": 4, "closing_epochs": 1})


def ensemble(settings: DistillationSettings | None = None, second: str | None = None) -> DistillationTask:
    """Two detectors, the ``second`` perhaps one of the zoo, and the average."""
    student = tiny_detector()
    torch.manual_seed(7)
    others = [tiny_detector(1), tiny_detector(2) if second is None else build(second, CLASSES)]
    teachers = [*(Teacher(one.eval(), student, PX, PX) for one in others), SelfTeacher(student)]
    return DistillationTask(student, teachers, settings or DistillationSettings(responses={}, schedule=CONSTANT))


def own_average() -> DistillationTask:
    student = tiny_detector()
    return DistillationTask(
        student, [SelfTeacher(student)], DistillationSettings(responses={"overlap": {}}, schedule=RISING)
    )


def moved_state(task: Task, steps: int) -> Loop:
    loop = Loop(task, RECIPE, 8, 2)
    for batch in batches(steps):
        assert not loop.advance([batch]).rolled_back
    return loop


def test_every_teacher_has_its_part_of_the_share() -> None:
    task = ensemble(DistillationSettings(features={"cwd": {}, "pkd": {}}, share=0.3, schedule=CONSTANT), "yolox-nano")
    for number in (1, 2, 3):
        parts = [share for name, share in task.balance.shares.items() if name.startswith(f"{number}_")]
        assert len(parts) >= 3 and sum(parts) == pytest.approx(0.1)


def test_all_teachers_are_heard_and_none_changes() -> None:
    task = ensemble(DistillationSettings(schedule=CONSTANT), "yolox-nano")
    frozen = [part.teacher.detector for part in task.parts[:2]]
    before = [{name: value.clone() for name, value in one.state_dict().items()} for one in frozen]
    loop = Loop(task, RECIPE, 8, 2)
    learners = {name: value.clone() for name, value in task.distillation.state_dict().items()}
    fed = batches(2)
    assert all(value == 0 for name, value in loop.advance([fed[0]]).losses.items() if name.startswith("teacher_3_"))
    losses = loop.advance([fed[1]]).losses
    for number in (1, 2, 3):
        assert any(value != 0 for name, value in losses.items() if name.startswith(f"teacher_{number}_"))
    assert all(
        torch.equal(one.state_dict()[name], value)
        for one, held in zip(frozen, before, strict=True)
        for name, value in held.items()
    )
    assert learners and all(
        not torch.equal(task.distillation.state_dict()[name], value) for name, value in learners.items()
    )
    own = {id(p) for p in task.parameters()}
    assert all(id(p) not in own for one in frozen for p in one.parameters())
    assert not any("teacher" in name for name in task.state_dict())
    assert {name.partition(".")[0] for name in task.state_dict()} == {"detector", "distillation", "balance"}


def test_fixed_weights_are_shared_out() -> None:
    task = ensemble(DistillationSettings(fixed={"cwd": 3.0}, schedule=CONSTANT))
    assert task.balance.fixed == {"1_cwd": 1.0, "2_cwd": 1.0, "3_cwd": 1.0}


def test_a_task_needs_a_teacher() -> None:
    with pytest.raises(BadInput, match="at least one teacher"):
        DistillationTask(tiny_detector(), [], DistillationSettings())


def test_the_average_teaches_and_never_learns() -> None:
    task = own_average()
    loop = moved_state(task, 2)
    assert task.parts[0].teacher.detector is loop.average.detector
    assert not any(p.requires_grad or p.grad is not None for p in loop.average.detector.parameters())
    assert len(list(task.parameters())) == len(list(task.detector.parameters())) + len(
        list(task.distillation.parameters())
    )


def test_an_average_of_random_weights_says_nothing_at_first() -> None:
    task = own_average()
    loop = Loop(task, RECIPE, 8, 2)
    batch = batches(1)[0]
    assert not any(name.startswith("teacher_") for name in loop.advance([batch]).losses)
    assert any(name.startswith("teacher_") for name in loop.advance([batch]).losses)
    assert (
        RISING.factor(0.0) == 0.0
        and RISING.factor(0.5) == pytest.approx(0.5)
        and RISING.factor(1.0) == pytest.approx(1.0)
    )


def test_a_network_is_at_distance_0_from_its_own_average_before_it_moves() -> None:
    student = tiny_detector()
    task = DistillationTask(
        student,
        [SelfTeacher(student)],
        DistillationSettings(features={"mimic": {}, "pkd": {}}, fixed={"mimic": 1.0, "pkd": 1.0}, schedule=CONSTANT),
    )
    Loop(task, RECIPE, 8, 2)
    task.eval()
    batch = batches(1)[0]
    found = task.losses(batch.image, batch.targets, Phase(0.1))
    assert found["teacher_mimic"].item() == pytest.approx(0, abs=1e-6) and found["teacher_pkd"].item() == pytest.approx(
        0, abs=1e-5
    )


@pytest.mark.parametrize("make", [ensemble, own_average])
def test_going_on_gives_the_same_bits(make: Callable[[], Task]) -> None:
    fed = batches(3)
    whole = moved_state(make(), 3)
    part = Loop(make(), RECIPE, 8, 2)
    for batch in fed[:2]:
        part.advance([batch])
    file = io.BytesIO()
    torch.save(part.state(), file)
    file.seek(0)
    again = Loop(make(), RECIPE, 8, 2)
    again.restore(torch.load(file, weights_only=True))
    for batch in fed[2:]:
        again.advance([batch])
    for ours, theirs in ((whole.task, again.task), (whole.average.detector, again.average.detector)):
        held, other = ours.state_dict(), theirs.state_dict()
        assert all(torch.equal(held[name], other[name]) for name in held)
