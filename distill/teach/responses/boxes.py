"""Box distillation, cell by cell, for heads without distributions."""

from __future__ import annotations

from torch import Tensor

from distill.teach.class_mapping import ClassMapping
from distill.teach.predictions import Predictions
from distill.teach.responses.base import Pair, ResponseMethod
from distill.teach.responses.overlap import Overlap
from zoo.learning.batch_share import sum_over_batch
from zoo.learning.losses import box_iou


class Boxes(ResponseMethod):
    """1 - GIoU of both boxes, cell by cell, as a mean weighted by the teacher's best score times its box's quality.

    Predictions in different cells are matched as in ``Overlap``, with its loss of boxes only.
    """

    def __init__(self, classes: ClassMapping) -> None:
        super().__init__(classes)
        self.fallback = Overlap(classes)

    @classmethod
    def is_default(cls, pair: Pair) -> bool:
        return not pair.student_has_queries and pair.same_cells and not pair.distributions

    def loss(self, student: Predictions, teacher: Predictions) -> Tensor:
        if not student.same_cells(teacher):
            return self.fallback.parts(student, teacher)[1]
        weights = self.box_weights(teacher)
        selected = weights > 0  # a few of many cells
        distance = 1 - box_iou(student.boxes[selected], teacher.boxes[selected], "giou")
        return (distance * weights[selected]).sum() / sum_over_batch(weights.sum()).clamp(min=1)
