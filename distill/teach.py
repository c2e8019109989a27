"""Learning from a teacher: the student's own losses, and what a frozen detector of any family says about the same view.

The teacher is no part of what trains: it is in no parameter list and in no state, keeps its statistics, and runs without
gradients. It sees the student's picture, mapped to its own order and scale of colours, at its own input size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.balance import Balance, Schedule
from distill.feature import FEATURE_METHODS, make_feature_method
from distill.response import RESPONSE_METHODS, Answer, ClassBridge, answer_of, make_response_method, suited
from distill.task import Task, own_losses
from search_spaces.errors import BadInput, unknown_name
from zoo.detector import Detector
from zoo.images import Preprocess
from zoo.targets import Phase, Targets, total

DEFAULT_SHARE = 0.3
"""Share of the own loss's gradient that all distillation losses together are to have, unless told."""
PROBE_PX = 64


@dataclass(frozen=True)
class Lessons:
    """What is distilled: method names with their options, and how much it counts."""

    features: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"cwd": {}})
    responses: Mapping[str, Mapping[str, Any]] | None = None
    """None takes what suits the pair; empty means none."""
    share: float = DEFAULT_SHARE
    fixed: Mapping[str, float] = field(default_factory=dict)
    """Plain weights by method name instead of balanced ones."""
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        for name in self.features:
            if name not in FEATURE_METHODS:
                raise unknown_name("feature distillation", name, FEATURE_METHODS)
        for name in self.responses or {}:
            if name not in RESPONSE_METHODS:
                raise unknown_name("response distillation", name, RESPONSE_METHODS)
        if not self.features and self.responses is not None and not self.responses:
            raise BadInput("nothing is distilled: name at least one method")


class Recolour:
    """A batch prepared for one family as another family wants it: order, scale, mean and std; the geometry stays."""

    def __init__(self, given: Preprocess, wanted: Preprocess) -> None:
        self.flip = given.order != wanted.order
        mean, std = torch.tensor(given.mean), torch.tensor(given.std)
        if self.flip:
            mean, std = mean.flip(0), std.flip(0)
        new_mean, new_std = torch.tensor(wanted.mean), torch.tensor(wanted.std)
        # pixel = (x std + mean) / scale, and back with the other's numbers
        self.gain = (std / given.scale * wanted.scale / new_std)[:, None, None]
        self.shift = ((mean / given.scale * wanted.scale - new_mean) / new_std)[:, None, None]

    def __call__(self, image: Tensor) -> Tensor:
        """``[b, 3, h, w]`` to the same shape."""
        x = image.flip(1) if self.flip else image
        return x * self.gain.to(x) + self.shift.to(x)


@dataclass(frozen=True, slots=True)
class Taught:
    """What the teacher says of a batch."""

    features: tuple[Tensor, ...]
    answer: Answer


class Teacher:
    """A frozen detector behind a student's eyes. Deliberately no module: nothing of it is trained, saved or counted."""

    def __init__(self, detector: Detector, student: Detector, input_px: int, student_px: int, half: bool = False) -> None:
        """``input_px`` is the side at which the teacher looks where the student looks at ``student_px``."""
        if input_px < 64 or input_px % 32:
            raise BadInput(f"the teacher's input of {input_px} pixels must be a multiple of 32 of at least 64")
        self.detector = detector.eval().requires_grad_(False)
        self.recolour = Recolour(student.preprocess, detector.preprocess)
        self.ratio = input_px / student_px
        self.half = half

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Taught:
        """Features and answer for the student's batch ``[b, 3, h, w]``."""
        self.detector.eval().to(image.device)
        with torch.autocast(image.device.type, enabled=False):
            view = self._view(image.float())
        with torch.autocast(image.device.type, torch.bfloat16 if image.device.type == "cpu" else torch.float16, enabled=self.half):
            features = self.detector.features(view)
            raw = self.detector.head(features)
        answer = answer_of(self.detector, raw, (view.shape[-2], view.shape[-1])).constant()
        return Taught(tuple(one.float() for one in features), answer)

    def _view(self, image: Tensor) -> Tensor:
        view = self.recolour(image)
        if self.ratio == 1:
            return view
        h, w = (max(64, round(side * self.ratio / 32) * 32) for side in view.shape[-2:])
        return F.interpolate(view, (h, w), mode="bilinear", align_corners=False, antialias=h < view.shape[-2])


class Distilled(Task):
    """The student's own losses and the teacher's lessons, balanced by gradient; aligners and generators train with it."""

    def __init__(self, student: Detector, teacher: Teacher, lessons: Lessons) -> None:
        super().__init__()
        self.detector = student
        self.teacher = teacher
        self.bridge: ClassBridge | None = None
        responses = lessons.responses
        if responses is None:
            responses = {name: {} for name in suited(student, teacher.detector, teacher.ratio == 1)}
        if responses:
            self.bridge = ClassBridge.of(student.info.class_names, teacher.detector.info.class_names)
        ours, theirs = level_channels(student), level_channels(teacher.detector)
        self.features = nn.ModuleDict({name: make_feature_method(name, ours, theirs, options) for name, options in lessons.features.items()})
        self.responses = nn.ModuleDict(
            {name: make_response_method(name, self.bridge, options) for name, options in responses.items() if self.bridge is not None}
        )
        names = [*self.features, *self.responses]
        unknown = [name for name in lessons.fixed if name not in names]
        if unknown:
            raise BadInput(f"a weight is fixed for {unknown[0]!r}, which is not distilled; distilled are {', '.join(names)}")
        balanced = [name for name in names if name not in lessons.fixed]
        self.balance = Balance({name: lessons.share / len(balanced) for name in balanced}, lessons.fixed, schedule=lessons.schedule)

    def losses(self, image: Tensor, targets: Targets, phase: Phase) -> dict[str, Tensor]:
        features = self.detector.features(image)
        raw, own = own_losses(self.detector, features, image, targets, phase)
        if self.balance.schedule.share(phase.progress) == 0:
            return own
        taught = self.taught(image)
        size = (image.shape[-2], image.shape[-1])
        found: dict[str, Tensor] = {name: method(features, taught.features, targets, size) for name, method in self.features.items()}
        if len(self.responses):
            answer = answer_of(self.detector, raw, size)
            found |= {name: method(answer, taught.answer) for name, method in self.responses.items()}
        weighed = self.balance(total(own), found, features, phase)
        return own | {f"teacher_{name}": value for name, value in weighed.items()}

    def taught(self, image: Tensor) -> Taught:
        """What the teacher says of a batch."""
        return self.teacher(image)


@torch.no_grad()
def level_channels(detector: Detector) -> list[int]:
    """Channels of P3, P4 and P5, from a pass over an empty picture."""
    first = next(detector.parameters())
    was = detector.training
    detector.eval()
    maps: Sequence[Tensor] = detector.features(torch.zeros(1, 3, PROBE_PX, PROBE_PX, device=first.device, dtype=first.dtype))
    detector.train(was)
    return [one.shape[1] for one in maps]


def student_lineage(student: Detector, teacher: Detector, sha256: str) -> tuple[Mapping[str, Any], ...]:
    """Every set of weights that went into the student: its own, its teacher's, and what went into that one."""
    told = {"model": teacher.recipe.model, "licence": str(teacher.info.provenance.get("licence", "not stated")), "sha256": sha256, "role": "teacher"}
    found = [*student.info.lineage, *teacher.info.lineage, told]
    return tuple(one for at, one in enumerate(found) if one not in found[:at])
