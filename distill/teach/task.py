"""Training with teachers: the student's own losses and the distillation losses of one or several teachers.

The outputs of several teachers are not averaged, because they may differ in levels, cells and classes. Each has its own
aligners and methods, and an equal part of the gradient share.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from distill.data.feed.views import Origin
from distill.teach.balance import Balance
from distill.teach.losses import TeacherLosses
from distill.teach.self_teacher import RISING
from distill.teach.settings import DistillationSettings
from distill.teach.teacher import Teacher
from distill.train.ema import ModelEma
from distill.train.task import Task, own_losses
from workbench.errors import BadInput
from zoo.detector import Detector
from zoo.learning.targets import Phase, Targets, total


class DistillationTask(Task):
    """The losses of a student with one or several teachers, balanced by gradient.

    The losses of a single teacher are named ``teacher_METHOD``, those of the k-th of several ``teacher_k_METHOD``,
    from 1 on. Among several teachers the weight of the student's own average rises from 0 to 1; alone, its schedule
    does that.
    """

    def __init__(self, student: Detector, teachers: Sequence[Teacher], settings: DistillationSettings) -> None:
        super().__init__()
        if not teachers:
            raise BadInput("a distillation needs at least one teacher")
        count = len(teachers)
        distillation = nn.ModuleList(TeacherLosses(student, teacher, settings) for teacher in teachers)
        # the order of parameters is that of the sum of squares in the total gradient norm, and decides its last bit
        if count > 1:
            self.detector, self.distillation = student, distillation
        else:
            self.distillation, self.detector = distillation, student
        self._prefixes = [f"{number}_" for number in range(1, count + 1)] if count > 1 else [""]
        shares: dict[str, float] = {}
        fixed: dict[str, float] = {}
        for prefix, part in zip(self._prefixes, self.parts, strict=True):
            balanced = [name for name in part.names if name not in settings.fixed]
            shares |= {f"{prefix}{name}": settings.share / count / len(balanced) for name in balanced}
            fixed |= {f"{prefix}{name}": weight / count for name, weight in settings.fixed.items()}
        self.balance = Balance(shares, fixed, schedule=settings.schedule)
        self.remark = "\n".join(dict.fromkeys(part.remark for part in self.parts if part.remark))

    @property
    def parts(self) -> list[TeacherLosses]:
        """The losses of each teacher."""
        return [part for part in self.distillation if isinstance(part, TeacherLosses)]

    def losses(self, image: Tensor, targets: Targets, phase: Phase, origin: Origin | None = None) -> dict[str, Tensor]:
        features = self.detector.features(image)
        raw, own = own_losses(self.detector, features, image, targets, phase)
        if self.balance.schedule.factor(phase.progress) == 0:
            return own
        unweighted: dict[str, Tensor] = {}
        for prefix, part in zip(self._prefixes, self.parts, strict=True):
            losses = part.unweighted(self.detector, features, raw, image, targets, origin)
            unweighted |= {f"{prefix}{name}": value for name, value in losses.items()}
        weighted = self.balance(total(own), unweighted, features, phase)
        rising = tuple(
            prefix for prefix, part in zip(self._prefixes, self.parts, strict=True)
            if prefix and not part.teacher.is_fixed
        )  # fmt: skip
        factor = RISING.factor(phase.progress)
        return own | {
            f"teacher_{name}": value * factor if name.startswith(rising) else value for name, value in weighted.items()
        }

    def follow(self, average: ModelEma) -> None:
        for part in self.parts:
            part.teacher.follow(average)

    def settle(self) -> None:
        for part in self.parts:
            part.flush()
