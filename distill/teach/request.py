"""Options of ``nas distill``: teachers with their weights, methods and cache, and the task that follows from them."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.teach.same_network import same_network
from workbench.errors import BadInput
from workbench.files import file_sha256

if TYPE_CHECKING:
    from distill.teach.teacher import Teacher
    from distill.train.task import Task
    from zoo.detector import Detector

SELF = "self"
"""The teacher that is the moving average of the student itself."""
CHECKPOINT = ".safetensors"


@dataclass(frozen=True, slots=True)
class TeacherRequest:
    """Teachers and their methods; None stands for a default."""

    teachers: tuple[str, ...]
    weights: tuple[str, ...] = ()
    """Checkpoints of the teachers in their order; may be left out for teachers that are files, and for ``self``."""
    input_px: int | None = None
    features: tuple[str, ...] = ("cwd",)
    responses: tuple[str, ...] | None = None
    share: float | None = None
    half: bool | None = None
    """Whether teachers calculate in half precision; None leaves it to ``with_precision``."""
    cache: str | None = None
    """Folder for the teacher's outputs of repeated views; None keeps them in the run folder until the run is done."""
    cache_gb: float | None = None
    """Disk space of the cache, in 1e9 bytes."""

    def with_cache_below(self, name: str) -> TeacherRequest:
        """The same with a cache of its own: an entry is valid for one student and seed only."""
        return self if self.cache is None else dataclasses.replace(self, cache=str(Path(self.cache) / name))

    def with_precision(self, device: str, precision: str) -> TeacherRequest:
        """The same with ``half`` decided, for a student trained with ``precision`` on ``device``.

        Half precision if the student trains in it, or on a CPU where it is faster. The student's own average stays in
        the student's precision: the difference between them is too small to round one of them.
        """
        if self.half is not None:
            return self
        from distill.teach.teacher import cpu_is_fast_in_half

        fast_on_cpu = device == "cpu" and SELF not in self.teachers and cpu_is_fast_in_half()
        return dataclasses.replace(self, half=precision != "fp32" or fast_on_cpu)

    def sources(self) -> list[tuple[str, str]]:
        """Every teacher's name with its checkpoint; that of ``self`` is empty."""
        if not self.teachers:
            raise BadInput("no teacher: name one with --teacher")
        if self.teachers.count(SELF) > 1:
            raise BadInput("--teacher self is given twice: the student has one average")
        networks = [i for i, name in enumerate(self.teachers) if name != SELF]
        without_weights = [i for i in networks if Path(self.teachers[i]).suffix != CHECKPOINT]
        if len(self.weights) not in (len(without_weights), len(networks)):
            if len(self.weights) < len(without_weights):
                name = self.teachers[without_weights[len(self.weights)]]
                raise BadInput(
                    f"--teacher {name!r} has no trained weights of its own: add --teacher-weights FILE "
                    "(nas zoo import makes one)"
                )
            raise BadInput(
                f"--teacher-weights is given {len(self.weights)} times for {len(without_weights)} teachers that need "
                "it: "
                "give it once for each, in their order"
            )
        receivers = without_weights if len(self.weights) == len(without_weights) else networks
        files = dict(zip(receivers, self.weights, strict=True))
        return [(name, "" if name == SELF else files.get(i, name)) for i, name in enumerate(self.teachers)]


def make_task(student: Detector, request: TeacherRequest | None, seed: int, px: int) -> tuple[Task, dict[str, Any]]:
    """The training task, and what the run's settings record of it. The student's lineage gains its teachers."""
    from distill.train.task import SupervisedTask

    if request is None:
        return SupervisedTask(student), {}
    from distill.teach.self_teacher import RISING
    from distill.teach.settings import DEFAULT_SHARE, DistillationSettings
    from distill.teach.task import DistillationTask

    sources = request.sources()
    loaded = [_load_teacher(name, file, student, request, seed, px) for name, file in sources]
    settings = DistillationSettings(
        features={name: {} for name in request.features},
        responses=None if request.responses is None else {name: {} for name in request.responses},
        share=DEFAULT_SHARE if request.share is None else request.share,
    )
    if all(name == SELF for name, _ in sources):
        settings = dataclasses.replace(settings, schedule=RISING)
    task = DistillationTask(student, [teacher for teacher, _ in loaded], settings)
    teachers = [
        {**record, "responses": list(part.responses)} for (_, record), part in zip(loaded, task.parts, strict=True)
    ]
    shared: dict[str, Any] = {"features": list(settings.features), "share": settings.share}
    return task, {**shared, **teachers[0]} if len(teachers) == 1 else {**shared, "teachers": teachers}


def _load_teacher(
    name: str, file: str, student: Detector, request: TeacherRequest, seed: int, px: int
) -> tuple[Teacher, dict[str, Any]]:
    """A teacher and its entry in the run's settings. It is added to the student's lineage."""
    from distill.teach.self_teacher import SelfTeacher
    from distill.teach.teacher import Teacher, student_lineage
    from zoo.resolve import resolve_detector

    half = request.half
    assert half is not None, "decided together with the recipe"
    if name == SELF:
        return SelfTeacher(student, half), {"teacher": SELF, "teacher_half": half}
    teacher, _ = resolve_detector(file, seed)
    if file != name:
        named, _ = resolve_detector(name, seed)
        if not same_network(named, teacher):
            raise BadInput(f"--teacher-weights {file!r} are of {teacher.recipe.model}, not of {named.recipe.model}")
    sha256 = file_sha256(file)
    teacher_px = request.input_px or px
    student.info = dataclasses.replace(student.info, lineage=student_lineage(student, teacher, sha256))
    record = {
        "teacher": teacher.recipe.model, "teacher_sha256": sha256, "teacher_input_px": teacher_px, "teacher_half": half,
    }  # fmt: skip
    made = Teacher(teacher, student, teacher_px, px, half)
    if made.kept is not None:
        # the cache of the teacher's outputs holds these channels alone, and its key is made of these entries
        record["teacher_channels_sha256"] = hashlib.sha256(repr([k.tolist() for k in made.kept]).encode()).hexdigest()
    return made, record
