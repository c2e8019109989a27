"""Learning from a teacher: its view, what trains and what does not, resuming, what is left of it."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from distill.teach.align import Aligner
from distill.teach.balance import Schedule
from distill.teach.predictions import decode_predictions
from distill.teach.self_teacher import SelfTeacher
from distill.teach.settings import DistillationSettings
from distill.teach.task import DistillationTask
from distill.teach.teacher import InputConversion, Teacher, level_channels, student_lineage
from distill.train.loop import Loop
from distill.train.recipe import load_recipe
from tests.distill.tiny import CLASSES, PX, batches, tiny_detector
from workbench.errors import BadInput
from zoo.detector import Detector
from zoo.factory import build
from zoo.images import Preprocess, prepare

TEACHERS = ("damo-yolo-ns", "yolox-nano", "yolo11n", "yolo26n", "rtdetrv2-s", "yolov7")
CONSTANT = Schedule(1.0, 1.0, 0.0)


def teacher_of(model: str) -> Detector:
    torch.manual_seed(7)
    return build(model, CLASSES).eval()


def task_with(teacher: Detector, settings: DistillationSettings | None = None, px: int = PX) -> DistillationTask:
    student = tiny_detector()
    return DistillationTask(
        student, [Teacher(teacher, student, px, PX)], settings or DistillationSettings(schedule=CONSTANT)
    )


@pytest.mark.parametrize(
    "wanted",
    [
        Preprocess("bgr", 1.0),
        Preprocess("rgb", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        Preprocess("rgb", 1.0),
    ],
)
@pytest.mark.parametrize(
    "given", [Preprocess("rgb", 1.0), Preprocess("bgr", 1 / 255, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))]
)
def test_the_teacher_sees_what_it_would_have_been_given(given: Preprocess, wanted: Preprocess) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (PX, PX, 3), dtype=np.uint8)
    ours, theirs = (prepare([picture], PX, how)[0] for how in (given, wanted))
    torch.testing.assert_close(InputConversion(given, wanted)(ours), theirs, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("model", TEACHERS)
def test_every_family_teaches_and_never_changes(model: str) -> None:
    task = task_with(teacher_of(model))
    teacher = task.parts[0].teacher.detector
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    loop = Loop(task, load_recipe("small", {"nominal_batch": 4, "epochs": 4, "closing_epochs": 1}), 8, 2)
    for batch in batches(2):
        report = loop.advance([batch])
        assert not report.rolled_back
        taught = {name: value for name, value in report.losses.items() if name.startswith("teacher_")}
        assert taught and all(np.isfinite(value) for value in taught.values())
    after = teacher.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not any(p.requires_grad or p.grad is not None for p in teacher.parameters())
    assert {id(p) for p in teacher.parameters()}.isdisjoint({id(p) for p in task.parameters()})
    assert not any(name.startswith("teacher") for name in task.state_dict())


@pytest.mark.parametrize("student", ["yolox-nano", "yolo11n", "rtdetrv2-s"])
def test_every_kind_of_student_learns_from_a_dense_teacher(student: str) -> None:
    torch.manual_seed(0)
    pupil, teacher = build(student, CLASSES), teacher_of("damo-yolo-ns")
    task = DistillationTask(pupil, [Teacher(teacher, pupil, PX, PX)], DistillationSettings(schedule=CONSTANT)).train()
    batch = batches(1)[0]
    from zoo.learning.targets import Phase

    losses = task.losses(batch.image / 255 if pupil.preprocess.scale != 1 else batch.image, batch.targets, Phase(0.1))
    assert any(name.startswith("teacher_") for name in losses) and all(
        torch.isfinite(value) for value in losses.values()
    )


@pytest.mark.parametrize("model", TEACHERS)
def test_folding_changes_speed_only(model: str) -> None:
    detector = teacher_of(model)
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            # as trained ones are: fresh statistics would hide a fold that forgets them
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    image = torch.rand(2, 3, PX, PX)
    task = task_with(detector)
    said = task.parts[0].teacher(image)
    with torch.no_grad():
        view = task.parts[0].teacher.convert(image)
        features = detector.features(view)
        predictions = decode_predictions(detector, detector.head(features), (PX, PX))
    for ours, theirs in zip(said.features, features, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))
    assert said.predictions is not None and said.predictions.strides == predictions.strides
    # queries of one score may change places
    ours, theirs = (one.sort(1).values for one in (said.predictions.scores, predictions.scores))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("model", TEACHERS)
def test_a_teacher_in_half_precision_says_nearly_the_same(model: str) -> None:
    detector, student = teacher_of(model), tiny_detector()
    whole, half = (Teacher(detector, student, PX, PX, half) for half in (False, True))
    image = batches(1)[0].image
    exact, said = whole(image), half(image)
    assert any(p.dtype == torch.bfloat16 for p in half.detector.parameters())
    assert all(p.dtype == torch.float32 for one in (detector, whole.detector) for p in one.parameters())
    for ours, theirs in zip(said.features, exact.features, strict=True):
        assert ours.dtype == torch.float32
        apart = float((ours - theirs).norm() / theirs.norm())
        assert 0 < apart < 0.03  # a number of bfloat16 is off by up to 0.4 %
    assert (
        said.predictions is not None and exact.predictions is not None and said.predictions.boxes.dtype == torch.float32
    )
    # queries of nearly one score may change places
    ours, theirs = (one.sort(1).values for one in (said.predictions.scores, exact.predictions.scores))
    torch.testing.assert_close(ours, theirs, rtol=0.1, atol=0.02)
    assert torch.equal(half(image).predictions.scores, said.predictions.scores)
    task = DistillationTask(student, [half], DistillationSettings(schedule=CONSTANT))
    assert [one.round_to_bf16 for one in task.modules() if isinstance(one, Aligner)] == [True]
    report = Loop(task, load_recipe("small", {"nominal_batch": 4, "epochs": 4, "closing_epochs": 1}), 8, 2).advance(
        batches(1)
    )
    assert not report.rolled_back and all(np.isfinite(value) for value in report.losses.values())


def test_the_average_stays_whole_when_it_teaches_in_half_precision() -> None:
    student = tiny_detector()
    task = DistillationTask(student, [SelfTeacher(student, half=True)], DistillationSettings(schedule=CONSTANT))
    loop = Loop(task, load_recipe("small", {"nominal_batch": 4, "epochs": 4, "closing_epochs": 1}), 8, 2)
    assert not loop.advance(batches(1)).rolled_back
    assert all(p.dtype == torch.float32 for p in [*loop.average.detector.parameters(), *student.parameters()])


def test_aligners_train_and_go_with_the_state_but_not_with_the_student() -> None:
    task = task_with(teacher_of("yolo11n"))
    loop = Loop(task, load_recipe("small", {"nominal_batch": 4, "epochs": 4, "closing_epochs": 1}), 8, 2)
    start = {name: value.clone() for name, value in task.parts[0].features.state_dict().items()}
    assert start
    loop.advance([batches(1)[0]])
    assert all(not torch.equal(task.parts[0].features.state_dict()[name], value) for name, value in start.items())
    assert any(name.startswith("distillation.0.features.") for name in loop.state()["task"])
    assert not any("align" in name for name in task.detector.state_dict())


def test_going_on_gives_the_same_bits() -> None:
    recipe = load_recipe("small", {"nominal_batch": 4, "epochs": 4, "closing_epochs": 1})
    fed = batches(4)
    whole = Loop(task_with(teacher_of("yolo11n")), recipe, 8, 2)
    for batch in fed:
        whole.advance([batch])
    part = Loop(task_with(teacher_of("yolo11n")), recipe, 8, 2)
    for batch in fed[:2]:
        part.advance([batch])
    file = io.BytesIO()
    torch.save(part.state(), file)
    file.seek(0)
    again = Loop(task_with(teacher_of("yolo11n")), recipe, 8, 2)
    again.restore(torch.load(file, weights_only=True))
    for batch in fed[2:]:
        again.advance([batch])
    ours, theirs = whole.task.state_dict(), again.task.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_tail_needs_no_teacher() -> None:
    task = task_with(teacher_of("yolo11n"), DistillationSettings(schedule=Schedule(1.0, 0.1, 0.5))).train()
    from zoo.learning.targets import Phase

    calls: list[int] = []
    part = task.parts[0]
    inner = part.outputs
    part.outputs = lambda image, origin=None: (calls.append(1), inner(image, origin))[1]  # type: ignore[method-assign]
    batch = batches(1)[0]
    assert any(name.startswith("teacher_") for name in task.losses(batch.image, batch.targets, Phase(0.2)))
    assert not any(name.startswith("teacher_") for name in task.losses(batch.image, batch.targets, Phase(0.8)))
    assert calls == [1]


def test_a_teacher_may_look_at_another_size() -> None:
    task = task_with(teacher_of("yolo11n"), px=2 * PX).train()
    assert list(task.parts[0].responses) == ["overlap"]
    from zoo.learning.targets import Phase

    batch = batches(1)[0]
    assert task.parts[0].outputs(batch.image).features[0].shape[-1] == 2 * PX // 8
    losses = task.losses(batch.image, batch.targets, Phase(0.1))
    assert all(torch.isfinite(value) for value in losses.values())


def test_channels_are_asked_of_the_detector_itself() -> None:
    detector = build("yolox-nano", 3).eval()
    maps = detector.features(torch.zeros(1, 3, PX, PX))
    assert level_channels(detector) == [one.shape[1] for one in maps] and not detector.training


def test_lineage_names_the_teacher_and_what_taught_it() -> None:
    student, teacher = tiny_detector(), teacher_of("yolo11n")
    teacher.info = dataclasses.replace(
        teacher.info,
        provenance={"licence": "AGPL-3.0"},
        lineage=({"model": "yolo11x", "licence": "AGPL-3.0", "sha256": "ab" * 32},),
    )
    found = student_lineage(student, teacher, "cd" * 32)
    assert [one["model"] for one in found] == ["yolo11x", "yolo11n"]
    assert found[1] == {"model": "yolo11n", "licence": "AGPL-3.0", "sha256": "cd" * 32, "role": "teacher"}


def test_what_cannot_be_taught_is_refused() -> None:
    teacher = teacher_of("yolo11n")
    teacher.info = dataclasses.replace(teacher.info, class_names=("a", "b", "c"))
    with pytest.raises(BadInput, match="share no class"):
        task_with(teacher)
    with pytest.raises(BadInput, match="unknown feature distillation 'cwdd'"):
        DistillationSettings({"cwdd": {}})
    with pytest.raises(BadInput, match="nothing is distilled"):
        DistillationSettings({}, {})
    with pytest.raises(BadInput, match="not distilled"):
        task_with(teacher_of("yolo11n"), DistillationSettings(fixed={"mgd": 1.0}))
    with pytest.raises(BadInput, match="multiple of 32"):
        task_with(teacher_of("yolo11n"), px=100)
