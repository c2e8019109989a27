"""Score distillation, cell by cell."""

from __future__ import annotations

from torch import Tensor

from distill.teach.class_mapping import ClassMapping
from distill.teach.predictions import Predictions
from distill.teach.responses.base import Pair, ResponseMethod
from distill.teach.responses.overlap import Overlap
from distill.teach.responses.soft_focal import soft_focal
from workbench.checks import check_number
from zoo.learning.batch_share import sum_over_batch
from zoo.learning.losses import to_float32


class Scores(ResponseMethod):
    """The soft focal loss (as in the quality focal loss, Li et al. 2020) of scores, cell by cell.

    Divided by the sum of the teacher's best scores, at least 1. The teacher's scores contain its confidence: certain
    cells weigh much, the many empty ones little. Predictions in different cells are matched as in ``Overlap``, with its
    loss of scores only.
    """

    def __init__(self, classes: ClassMapping, beta: float = 2.0) -> None:
        super().__init__(classes)
        self.beta = check_number("beta", beta, 1)
        self.fallback = Overlap(classes, beta)

    @classmethod
    def is_default(cls, pair: Pair) -> bool:
        return not pair.student_has_queries and pair.same_cells

    def loss(self, student: Predictions, teacher: Predictions) -> Tensor:
        if not student.same_cells(teacher):
            return self.fallback.parts(student, teacher)[0]
        scores = self.classes.select_student(to_float32(student.scores))
        goals = self.classes.select_teacher(teacher.scores)
        return soft_focal(scores, goals, self.beta).sum() / sum_over_batch(goals.amax(-1).sum()).clamp(min=1)
