"""Several teachers at once: each with its own aligners and methods, all of them balanced together.

What the teachers say is not averaged into one answer: they may differ in levels, cells and classes. Their losses are,
every teacher having the same part of the share, so that the student is drawn to what they agree on. The student's own
average among them counts more and more, as it does alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from distill.data.feed.views import Origin
from distill.teach.balance import Balance
from distill.teach.self_teacher import RISING
from distill.teach.task import DistillationSettings, Teacher, TeacherLosses
from distill.train.ema import ModelEma
from distill.train.task import Task, own_losses
from workbench.errors import BadInput
from zoo.detector import Detector
from zoo.learning.targets import Phase, Targets, total


class Ensemble(Task):
    """The student's own losses and those of several teachers; the k-th teacher's are named ``teacher_k_METHOD``, from 1 on."""

    def __init__(self, student: Detector, teachers: Sequence[Teacher], lessons: DistillationSettings) -> None:
        super().__init__()
        if len(teachers) < 2:
            raise BadInput(f"an ensemble of {len(teachers)} teachers: it takes at least two")
        self.detector = student
        self.lessons = nn.ModuleList(TeacherLosses(student, teacher, lessons) for teacher in teachers)
        shares: dict[str, float] = {}
        fixed: dict[str, float] = {}
        for number, lesson in enumerate(self.each, start=1):
            balanced = [name for name in lesson.names if name not in lessons.fixed]
            shares |= {f"{number}_{name}": lessons.share / len(teachers) / len(balanced) for name in balanced}
            fixed |= {f"{number}_{name}": weight / len(teachers) for name, weight in lessons.fixed.items()}
        self.balance = Balance(shares, fixed, schedule=lessons.schedule)

    @property
    def each(self) -> list[TeacherLosses]:
        """One lesson a teacher."""
        return [one for one in self.lessons if isinstance(one, TeacherLosses)]

    def losses(self, image: Tensor, targets: Targets, phase: Phase, origin: Origin | None = None) -> dict[str, Tensor]:
        features = self.detector.features(image)
        raw, own = own_losses(self.detector, features, image, targets, phase)
        if self.balance.schedule.share(phase.progress) == 0:
            return own
        found: dict[str, Tensor] = {}
        for number, lesson in enumerate(self.each, start=1):
            said = lesson.found(self.detector, features, raw, image, targets, origin)
            found |= {f"{number}_{name}": value for name, value in said.items()}
        weighed = self.balance(total(own), found, features, phase)
        rising = RISING.share(phase.progress)
        growing = tuple(f"{number}_" for number, lesson in enumerate(self.each, start=1) if not lesson.teacher.steady)
        return own | {f"teacher_{name}": value * rising if name.startswith(growing) else value for name, value in weighed.items()}

    def follow(self, average: ModelEma) -> None:
        for lesson in self.each:
            lesson.teacher.follow(average)

    def settle(self) -> None:
        for lesson in self.each:
            lesson.settle()
