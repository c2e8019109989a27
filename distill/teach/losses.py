"""The distillation losses of one teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor, nn

from distill.data.feed.views import Origin
from distill.teach.align import Aligner
from distill.teach.class_mapping import ClassMapping
from distill.teach.features.base import FeatureMethod
from distill.teach.levels import left_out, shared_levels
from distill.teach.methods import default_responses, make_feature_method, make_response_method
from distill.teach.outputs import RequiredOutputs, TeacherOutputs
from distill.teach.predictions import decode_predictions
from distill.teach.responses.base import Pair, ResponseMethod
from distill.teach.settings import DistillationSettings
from distill.teach.teacher import Teacher, level_channels
from workbench.errors import BadInput
from zoo.detector import Detector, Raw
from zoo.learning.targets import Targets


class OutputCache(Protocol):
    """Caches the teacher's outputs for views that are repeated; see ``distill.teach.cache``."""

    def get_or_compute(
        self, image: Tensor, origin: Origin, compute: Callable[[Tensor], TeacherOutputs]
    ) -> TeacherOutputs:
        """The outputs for a batch; ``compute`` is called for those that are missing."""

    def flush(self) -> None:
        """Write what was cached so far to the disk."""


class TeacherLosses(nn.Module):
    """The methods of one teacher with their aligners and generators, which train with the student."""

    def __init__(self, student: Detector, teacher: Teacher, settings: DistillationSettings) -> None:
        super().__init__()
        self.teacher = teacher
        self.cache: OutputCache | None = None
        self.classes: ClassMapping | None = None
        responses = settings.responses
        if responses is None:
            pair = Pair(student, teacher.detector, teacher.ratio == 1)
            responses = {name: {} for name in default_responses(pair)}
        if responses:
            self.classes = ClassMapping.by_name(student.info.class_names, teacher.detector.info.class_names)
        strides = student.strides, teacher.detector.strides
        self.levels = shared_levels(*strides)
        """Numbers of the student's and the teacher's level of every stride that both have."""
        if settings.features and not self.levels:
            named = " and ".join(f"{', '.join(map(str, one))}" for one in strides)
            raise BadInput(
                f"student and teacher have levels of strides {named}, none of them the same: features cannot be "
                "distilled, so name responses only"
            )
        self.remark = left_out(*strides) if settings.features else ""
        student_channels = level_channels(student)
        channels = [student_channels[i] for i, _ in self.levels], [teacher.channels[j] for _, j in self.levels]
        self.features = nn.ModuleDict({
            name: make_feature_method(name, *channels, options) for name, options in settings.features.items()
        })  # fmt: skip
        for aligner in self.features.modules():
            if isinstance(aligner, Aligner):
                aligner.round_to_bf16 = teacher.half
                if teacher.kept is not None:
                    aligner.drop_convolutions()
        self.responses = nn.ModuleDict()
        for name, options in responses.items():
            assert self.classes is not None
            self.responses[name] = make_response_method(name, self.classes, options)
        unknown = [name for name in settings.fixed if name not in self.names]
        if unknown:
            raise BadInput(
                f"a weight is fixed for {unknown[0]!r}, which is not distilled; distilled are {', '.join(self.names)}"
            )

    @property
    def names(self) -> list[str]:
        """Names of the methods."""
        return [*self.features, *self.responses]

    @property
    def required(self) -> RequiredOutputs:
        """The teacher's outputs that the methods need."""
        methods = [*self.features.values(), *self.responses.values()]
        needs = [method.needs for method in methods if isinstance(method, (FeatureMethod, ResponseMethod))]
        columns = () if self.classes is None else self.classes.teacher_columns
        return RequiredOutputs.of(needs, columns)

    def unweighted(
        self,
        student: Detector,
        features: Sequence[Tensor],
        raw: Raw,
        image: Tensor,
        targets: Targets,
        origin: Origin | None = None,
    ) -> dict[str, Tensor]:
        """The losses of the student's ``features`` and ``raw`` output for ``image`` ``[b, 3, h, w]``, by method."""
        outputs = self.outputs(image, origin)
        size = (image.shape[-2], image.shape[-1])
        losses: dict[str, Tensor] = {}
        if self.features:
            ours, theirs = [features[i] for i, _ in self.levels], [outputs.features[j] for _, j in self.levels]
            losses = {name: method(ours, theirs, targets, size) for name, method in self.features.items()}
        if outputs.predictions is not None:
            student_predictions = decode_predictions(student, raw, size)
            teacher_predictions = outputs.predictions.with_quality(targets, size)
            for name, method in self.responses.items():
                losses[name] = method(student_predictions, teacher_predictions)
        return losses

    def outputs(self, image: Tensor, origin: Origin | None = None) -> TeacherOutputs:
        """The teacher's outputs for a batch, from the cache where there is one and the views are repeated."""
        if self.cache is None or origin is None:
            return self.compute(image)
        return self.cache.get_or_compute(image, origin, self.compute)

    def compute(self, image: Tensor) -> TeacherOutputs:
        """The teacher's outputs for a batch, as far as the methods need them."""
        return self.teacher(image, with_predictions=self.required.predictions)

    def flush(self) -> None:
        """Write what the cache holds to the disk."""
        if self.cache is not None:
            self.cache.flush()
