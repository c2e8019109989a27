"""Learning from a teacher: the student's own losses, and what a frozen detector of any family says about the same view.

The teacher is no part of what trains: it is in no parameter list and in no state, keeps its statistics, and runs without
gradients. It sees the student's picture, mapped to its own order and scale of colours, at its own input size.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.data.feed.views import Origin
from distill.teach.align import Aligner
from distill.teach.balance import Balance, Schedule
from distill.teach.cache.serialize import Kept
from distill.teach.feature import FEATURE_METHODS, make_feature_method
from distill.teach.outputs import TeacherOutputs
from distill.teach.response import RESPONSE_METHODS, ClassBridge, answer_of, make_response_method, suited
from distill.train.ema import ModelEma
from distill.train.task import Task, own_losses
from workbench.errors import BadInput, unknown_name
from zoo.detector import Detector, Raw
from zoo.images import Preprocess
from zoo.layers import fold_all
from zoo.learning.targets import Phase, Targets, total
from zoo.weights.licence import own_licence

DEFAULT_SHARE = 0.3
"""Share of the own loss's gradient that all distillation losses together are to have, unless told."""
PROBE_PX = 64


@dataclass(frozen=True)
class DistillationSettings:
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


class InputConversion:
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


class TeacherCacheProtocol(Protocol):
    """Keeps what a teacher has said of views that come round again; see ``teacher_cache``."""

    def recall(self, image: Tensor, origin: Origin, ask: Callable[[Tensor], TeacherOutputs]) -> TeacherOutputs:
        """What the teacher says of a batch; ``ask`` it for what is not known."""

    def settle(self) -> None:
        """Bring to the disk what was kept so far."""


class Teacher:
    """A frozen detector behind a student's eyes. Deliberately no module: nothing of it is trained, saved or counted."""

    def __init__(self, detector: Detector, student: Detector, input_px: int, student_px: int, half: bool = False) -> None:
        """``input_px`` is the side at which the teacher looks where the student looks at ``student_px``."""
        if input_px < 64 or input_px % 32:
            raise BadInput(f"the teacher's input of {input_px} pixels must be a multiple of 32 of at least 64")
        self.detector = folded(detector)
        self.channels = level_channels(self.detector)
        """Of its P3, P4 and P5."""
        self.recolour = InputConversion(student.preprocess, detector.preprocess)
        self.ratio = input_px / student_px
        self.half = half
        self._narrowed = False

    @torch.no_grad()
    def __call__(self, image: Tensor, with_answer: bool = True) -> TeacherOutputs:
        """Features, and unless told otherwise the answer, for the student's batch ``[b, 3, h, w]``."""
        self._settle_on(image.device)
        with torch.autocast(image.device.type, enabled=False):
            view = self._view(image.float()).contiguous(memory_format=torch.channels_last)
        with torch.autocast(image.device.type, half_type(image.device.type), enabled=self.half):
            features = self.detector.features(view)
            raw = self.detector.head(features) if with_answer else None
        answer = None if raw is None else answer_of(self.detector, raw, (view.shape[-2], view.shape[-1])).constant()
        return TeacherOutputs(tuple(one.float().contiguous() for one in features), answer)

    @property
    def steady(self) -> bool:
        """Whether it says the same of a picture from the first step to the last: whether it follows nobody."""
        return type(self).follow is Teacher.follow

    def follow(self, average: ModelEma) -> None:
        """Told of the student's moving average before training; a teacher with weights of its own has no use for it."""

    def _settle_on(self, device: torch.device) -> None:
        self.detector.eval().to(device)
        if self.half and not self._narrowed:
            self._narrowed = True
            for module in self.detector.modules():
                # what autocast would otherwise do in every step, because it keeps no copies of weights that do not train
                if isinstance(module, (nn.Conv2d, nn.Linear)):
                    module.to(half_type(device.type))

    def _view(self, image: Tensor) -> Tensor:
        view = self.recolour(image)
        if self.ratio == 1:
            return view
        h, w = (max(64, round(side * self.ratio / 32) * 32) for side in view.shape[-2:])
        return F.interpolate(view, (h, w), mode="bilinear", align_corners=False, antialias=h < view.shape[-2])


def half_type(device: str) -> torch.dtype:
    """What half precision is there: bfloat16, which overflows no sooner than float32, but on GPUs that do not calculate in it."""
    if device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return torch.bfloat16


def cpu_is_fast_in_half() -> bool:
    """Whether this CPU multiplies matrices of bfloat16 (AMX). Those with vector instructions alone are slower in half."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))


def folded(detector: Detector) -> Detector:
    """A frozen copy that says the same in less time: batch norms and branches folded into convolutions, laid out for them.

    Unlike ``Detector.fuse`` it keeps both branches of a head that has two.
    """
    twin = copy.deepcopy(detector).eval().requires_grad_(False)
    fold_all(twin)
    return twin.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class TeacherLosses(nn.Module):
    """One teacher's part in what is learnt: the methods that suit the pair, with their aligners and generators."""

    def __init__(self, student: Detector, teacher: Teacher, lessons: DistillationSettings) -> None:
        super().__init__()
        self.teacher = teacher
        self.memory: TeacherCacheProtocol | None = None
        """Where what the teacher says of views that come round again is kept."""
        self.bridge: ClassBridge | None = None
        responses = lessons.responses
        if responses is None:
            responses = {name: {} for name in suited(student, teacher.detector, teacher.ratio == 1)}
        if responses:
            self.bridge = ClassBridge.of(student.info.class_names, teacher.detector.info.class_names)
        ours, theirs = level_channels(student), teacher.channels
        self.features = nn.ModuleDict({name: make_feature_method(name, ours, theirs, options) for name, options in lessons.features.items()})
        for aligner in self.features.modules():
            if isinstance(aligner, Aligner):
                aligner.rounds = teacher.half
        self.responses = nn.ModuleDict(
            {name: make_response_method(name, self.bridge, options) for name, options in responses.items() if self.bridge is not None}
        )
        names = self.names
        unknown = [name for name in lessons.fixed if name not in names]
        if unknown:
            raise BadInput(f"a weight is fixed for {unknown[0]!r}, which is not distilled; distilled are {', '.join(names)}")

    @property
    def names(self) -> list[str]:
        """Names of its methods."""
        return [*self.features, *self.responses]

    def found(
        self, student: Detector, features: Sequence[Tensor], raw: Raw, image: Tensor, targets: Targets, origin: Origin | None = None
    ) -> dict[str, Tensor]:
        """The losses of the student's ``features`` and ``raw`` answer to ``image`` ``[b, 3, h, w]``, not weighed yet."""
        taught = self.taught(image, origin)
        size = (image.shape[-2], image.shape[-1])
        found: dict[str, Tensor] = {name: method(features, taught.features, targets, size) for name, method in self.features.items()}
        if taught.answer is not None:
            answer, said = answer_of(student, raw, size), taught.answer.judged(targets, size)
            found |= {name: method(answer, said) for name, method in self.responses.items()}
        return found

    def taught(self, image: Tensor, origin: Origin | None = None) -> TeacherOutputs:
        """What the teacher says of a batch, out of the memory where there is one and the batch comes round again."""
        if self.memory is None or origin is None:
            return self.ask(image)
        return self.memory.recall(image, origin, self.ask)

    def ask(self, image: Tensor) -> TeacherOutputs:
        """What the teacher itself says of a batch, as far as some method wants to know it."""
        return self.teacher(image, with_answer=len(self.responses) > 0)

    @property
    def kept(self) -> Kept:
        """What a memory has to keep for the methods of this task."""
        columns = () if self.bridge is None else self.bridge.teacher_columns
        return Kept(len(self.features) > 0, len(self.responses) > 0, "localisation" in self.responses, columns)

    def settle(self) -> None:
        """Bring what the memory keeps to the disk."""
        if self.memory is not None:
            self.memory.settle()


class DistillationTask(TeacherLosses, Task):
    """The student's own losses and the teacher's lessons, balanced by gradient; aligners and generators train with it."""

    def __init__(self, student: Detector, teacher: Teacher, lessons: DistillationSettings) -> None:
        super().__init__(student, teacher, lessons)
        self.detector = student
        balanced = [name for name in self.names if name not in lessons.fixed]
        self.balance = Balance({name: lessons.share / len(balanced) for name in balanced}, lessons.fixed, schedule=lessons.schedule)

    def losses(self, image: Tensor, targets: Targets, phase: Phase, origin: Origin | None = None) -> dict[str, Tensor]:
        features = self.detector.features(image)
        raw, own = own_losses(self.detector, features, image, targets, phase)
        if self.balance.schedule.share(phase.progress) == 0:
            return own
        weighed = self.balance(total(own), self.found(self.detector, features, raw, image, targets, origin), features, phase)
        return own | {f"teacher_{name}": value for name, value in weighed.items()}

    def follow(self, average: ModelEma) -> None:
        self.teacher.follow(average)


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
    told = {"model": teacher.recipe.model, "licence": own_licence(teacher.info.provenance), "sha256": sha256, "role": "teacher"}
    found = [*student.info.lineage, *teacher.info.lineage, told]
    return tuple(one for at, one in enumerate(found) if one not in found[:at])
