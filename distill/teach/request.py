"""From the words of ``nas distill`` to what is learnt: which teachers with which weights, and by which methods."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import BadInput

if TYPE_CHECKING:
    from distill.teach.task import Teacher
    from distill.train.task import Task
    from zoo.detector import Detector

SELF = "self"
"""The teacher that is the moving average of the student itself."""
CHECKPOINT = ".safetensors"


@dataclass(frozen=True, slots=True)
class TeacherRequest:
    """The teachers and their methods as a command names them; None stands for a default."""

    teachers: tuple[str, ...]
    weights: tuple[str, ...] = ()
    """Files for the teachers in their order; those that are files themselves, and ``self``, may be left out."""
    input_px: int | None = None
    features: tuple[str, ...] = ("cwd",)
    responses: tuple[str, ...] | None = None
    share: float | None = None
    half: bool | None = None
    """Whether teachers calculate in half precision; None leaves it to ``decided``."""
    cache: str | None = None
    """Folder for what the teacher says of views that come round again; None keeps it with the run until that is done."""
    cache_gb: float | None = None
    """What that may take on the disk, in 1e9 bytes."""

    def caching_below(self, name: str) -> TeacherRequest:
        """The same with a cache of its own: what is kept for one student and seed is of no use to another."""
        return self if self.cache is None else dataclasses.replace(self, cache=str(Path(self.cache) / name))

    def decided(self, device: str, precision: str) -> TeacherRequest:
        """The same with ``half`` settled, for a student trained with ``precision``: yes where that is a half, and on CPUs that are faster so.

        The student's own average is left in the student's precision: the two differ too little for one of them to be rounded.
        """
        if self.half is not None:
            return self
        from distill.teach.task import cpu_is_fast_in_half

        return dataclasses.replace(self, half=precision != "fp32" or (device == "cpu" and SELF not in self.teachers and cpu_is_fast_in_half()))

    def sources(self) -> list[tuple[str, str]]:
        """Every teacher's name with the file of its weights; ``self`` has none."""
        if not self.teachers:
            raise BadInput("no teacher: name one with --teacher")
        if self.teachers.count(SELF) > 1:
            raise BadInput("--teacher self is given twice: the student has one average")
        asking = [at for at, name in enumerate(self.teachers) if name != SELF and Path(name).suffix != CHECKPOINT]
        able = [at for at, name in enumerate(self.teachers) if name != SELF]
        if len(self.weights) not in (len(asking), len(able)):
            if len(self.weights) < len(asking):
                name = self.teachers[asking[len(self.weights)]]
                raise BadInput(f"--teacher {name!r} has no trained weights of its own: add --teacher-weights FILE (nas zoo import makes one)")
            raise BadInput(f"--teacher-weights is given {len(self.weights)} times for {len(asking)} teachers that need it: give it once for each, in their order")
        files = dict(zip(asking if len(self.weights) == len(asking) else able, self.weights, strict=True))
        return [(name, "" if name == SELF else files.get(at, name)) for at, name in enumerate(self.teachers)]


def same_network(a: Detector, b: Detector) -> bool:
    """Whether two detectors are one model, whatever they are called and however many classes they have."""

    def network(of: Detector) -> object:
        arch = of.recipe.architecture
        if arch is None or arch.head is None:
            return of.recipe.model
        return dataclasses.replace(arch, name="", head=dataclasses.replace(arch.head, classes=1))

    return network(a) == network(b)


def make_task(student: Detector, teaching: TeacherRequest | None, seed: int, px: int) -> tuple[Task, dict[str, Any]]:
    """What is learnt, and what a run's settings must say of it. The student's lineage gains its teachers."""
    from distill.train.task import SupervisedTask

    if teaching is None:
        return SupervisedTask(student), {}
    from distill.teach.ensemble import Ensemble
    from distill.teach.self_teacher import RISING
    from distill.teach.task import DEFAULT_SHARE, DistillationSettings, DistillationTask

    sources = teaching.sources()
    pairs = [_teacher(name, file, student, teaching, seed, px) for name, file in sources]
    teachers, told = [teacher for teacher, _ in pairs], [fact for _, fact in pairs]
    lessons = DistillationSettings(
        {name: {} for name in teaching.features}, None if teaching.responses is None else {name: {} for name in teaching.responses},
        DEFAULT_SHARE if teaching.share is None else teaching.share,
    )  # fmt: skip
    if all(name == SELF for name, _ in sources):
        lessons = dataclasses.replace(lessons, schedule=RISING)
    settings: dict[str, Any] = {"features": list(lessons.features), "share": lessons.share}
    if len(teachers) == 1:
        single = DistillationTask(student, teachers[0], lessons)
        return single, {**settings, **told[0], "responses": list(single.responses)}
    several = Ensemble(student, teachers, lessons)
    pairs_told = [{**fact, "responses": list(lesson.responses)} for fact, lesson in zip(told, several.each, strict=True)]
    return several, {**settings, "teachers": pairs_told}


def _teacher(name: str, file: str, student: Detector, teaching: TeacherRequest, seed: int, px: int) -> tuple[Teacher, dict[str, Any]]:
    """A teacher and what settings say of it. It enters the student's lineage."""
    from distill.teach.self_teacher import SelfTeacher
    from distill.teach.task import Teacher, student_lineage
    from zoo.resolve import resolve_detector

    half = teaching.half
    assert half is not None, "it is settled with the recipe"
    if name == SELF:
        return SelfTeacher(student, half), {"teacher": SELF, "teacher_half": half}
    teacher, _ = resolve_detector(file, seed)
    if file != name:
        wanted, _ = resolve_detector(name, seed)
        if not same_network(wanted, teacher):
            raise BadInput(f"--teacher-weights {file!r} are of {teacher.recipe.model}, not of {wanted.recipe.model}")
    sha256 = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    side = teaching.input_px or px
    student.info = dataclasses.replace(student.info, lineage=student_lineage(student, teacher, sha256))
    fact = {"teacher": teacher.recipe.model, "teacher_sha256": sha256, "teacher_input_px": side, "teacher_half": half}
    return Teacher(teacher, student, side, px, half), fact
