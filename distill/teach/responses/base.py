"""Base class of response distillation: the student's predictions are trained to match the teacher's.

Predictions are matched cell by cell where both detectors have one prediction per cell and see inputs of one size.
Otherwise the teacher's selected boxes become soft targets (``soft_targets``).
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from distill.teach.class_mapping import ClassMapping
from distill.teach.predictions import Predictions
from workbench.errors import BadInput
from zoo.detector import Detector
from zoo.families.parts.zero_head import ONE_TO_MANY


@dataclass(frozen=True, slots=True)
class Pair:
    """A student and its teacher, as far as a method needs to know whether it suits them."""

    student: Detector
    teacher: Detector
    same_input_size: bool

    @property
    def student_has_queries(self) -> bool:
        """Whether the student is trained with a one-to-one matching only, as DETR is."""
        return ONE_TO_MANY not in self.student.selections

    @property
    def same_cells(self) -> bool:
        """Whether both predict once per cell, in the same cells."""
        per_cell = self.student.anchor_offset is not None and self.teacher.anchor_offset is not None
        return self.same_input_size and per_cell and self.student.strides == self.teacher.strides

    @property
    def distributions(self) -> bool:
        """Whether both predict distributions of box sides."""
        return self.student.has_distributions and self.teacher.has_distributions


class ResponseMethod(nn.Module, abc.ABC):
    """A loss between predictions of student and teacher.

    A subclass takes the class mapping first; its further arguments are its options. The loss is one float32 number that
    does not grow with the number of images, and the teacher receives no gradient.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"boxes", "scores"})
    """Teacher outputs that the loss reads: of features, boxes, scores, distributions."""

    def __init__(self, classes: ClassMapping) -> None:
        super().__init__()
        self.classes = classes

    @classmethod
    def is_default(cls, pair: Pair) -> bool:
        """Whether the method is used for ``pair`` when no method is named."""
        return False

    def forward(self, student: Predictions, teacher: Predictions) -> Tensor:
        """The loss of both predictions for the same view of the same images."""
        if len(student.scores) != len(teacher.scores):
            raise BadInput(
                f"the student has predictions for {len(student.scores)} images and the teacher for "
                f"{len(teacher.scores)}: both must see the same batch"
            )
        with torch.autocast(student.scores.device.type, enabled=False):
            return self.loss(student, teacher.detached())

    @abc.abstractmethod
    def loss(self, student: Predictions, teacher: Predictions) -> Tensor:
        """The same, in float32; ``teacher`` is detached."""

    def box_weights(self, teacher: Predictions) -> Tensor:
        """The weight of each of the teacher's boxes, ``[b, n]``: its best shared score times its quality."""
        best = self.classes.select_teacher(teacher.scores).amax(-1)
        return best if teacher.quality is None else best * teacher.quality
