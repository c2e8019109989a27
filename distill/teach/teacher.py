"""A frozen detector as a teacher: it sees the student's batch with its own input conversion and size.

It is not part of what trains: it is in no parameter list and no state, keeps its statistics and runs without gradients.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.teach.outputs import TeacherOutputs
from distill.teach.predictions import decode_predictions
from distill.teach.same_network import selected_channels
from distill.train.ema import ModelEma
from workbench.errors import BadInput
from zoo.detector import Detector
from zoo.images import Preprocess
from zoo.layers import fold_all
from zoo.weights.licence import TEACHER
from zoo.weights.lineage import lineage_with

PROBE_PX = 64


class InputConversion:
    """Converts a batch preprocessed for one family to another's channel order, scale, mean and std."""

    def __init__(self, source: Preprocess, target: Preprocess) -> None:
        self.flip = source.order != target.order
        mean, std = torch.tensor(source.mean), torch.tensor(source.std)
        if self.flip:
            mean, std = mean.flip(0), std.flip(0)
        target_mean, target_std = torch.tensor(target.mean), torch.tensor(target.std)
        # pixel = (x std + mean) / scale of the source, then normalized as the target
        self.gain = (std / source.scale * target.scale / target_std)[:, None, None]
        self.shift = ((mean / source.scale * target.scale - target_mean) / target_std)[:, None, None]

    def __call__(self, image: Tensor) -> Tensor:
        """``[b, 3, h, w]`` to the same shape."""
        x = image.flip(1) if self.flip else image
        return x * self.gain.to(x) + self.shift.to(x)


class Teacher:
    """A frozen detector for the batches of a student. Not an ``nn.Module``: nothing of it is trained, saved or counted.

    Where the student was cut from the teacher's network, the teacher's maps are returned with the channels that the
    student has kept.

    Args:
        input_px: input side of the teacher where the student's is ``student_px``.
        half: whether it calculates in half precision.
    """

    kept: list[Tensor] | None = None
    """Channels of every level that the student has kept, int64 ``[c]`` each; None returns whole maps."""

    def __init__(
        self, detector: Detector, student: Detector, input_px: int, student_px: int, half: bool = False
    ) -> None:
        step = detector.strides[-1]
        if input_px < 64 or input_px % step:
            raise BadInput(f"the teacher's input of {input_px} pixels must be a multiple of {step} of at least 64")
        self.detector = folded_copy(detector)
        selected = selected_channels(student, detector)
        if selected is not None:
            self.kept = [torch.from_numpy(channels) for channels in selected]
        channels = level_channels(self.detector) if self.kept is None else [len(channels) for channels in self.kept]
        self.channels = channels
        """Of the maps that it returns."""
        self.convert = InputConversion(student.preprocess, detector.preprocess)
        self.ratio = input_px / student_px
        self.half = half
        self._weights_in_half = False

    @torch.no_grad()
    def __call__(self, image: Tensor, with_predictions: bool = True) -> TeacherOutputs:
        """Features, and by default predictions, for the student's batch ``[b, 3, h, w]``."""
        device = image.device.type
        self._move_to(image.device)
        with torch.autocast(device, enabled=False):
            view = self._view(image.float()).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, half_dtype(device), enabled=self.half):
            features = self.detector.features(view)
            raw = self.detector.head(features) if with_predictions else None
        predictions = None
        if raw is not None:
            predictions = decode_predictions(self.detector, raw, (view.shape[-2], view.shape[-1])).detached()
        if self.kept is not None:
            features = [x[:, channels] for x, channels in zip(features, self.kept, strict=True)]
        return TeacherOutputs(tuple(x.float().contiguous() for x in features), predictions)

    @property
    def is_fixed(self) -> bool:
        """Whether its outputs for an image stay the same during the run, so that they can be cached."""
        return type(self).follow is Teacher.follow

    def follow(self, average: ModelEma) -> None:
        """Receive the student's moving average before training; a teacher with its own weights ignores it."""

    def _move_to(self, device: torch.device) -> None:
        self.detector.eval().to(device)
        if self.kept is not None:
            self.kept = [channels.to(device) for channels in self.kept]
        if self.half and not self._weights_in_half:
            self._weights_in_half = True
            for module in self.detector.modules():
                # autocast would convert them in every step, because it caches only weights that train
                if isinstance(module, (nn.Conv2d, nn.Linear)):
                    module.to(half_dtype(device.type))

    def _view(self, image: Tensor) -> Tensor:
        view = self.convert(image)
        if self.ratio == 1:
            return view
        step = self.detector.strides[-1]
        h, w = (max(64, round(side * self.ratio / step) * step) for side in view.shape[-2:])
        return F.interpolate(view, (h, w), mode="bilinear", align_corners=False, antialias=h < view.shape[-2])


def half_dtype(device: str) -> torch.dtype:
    """bfloat16, whose range is that of float32; float16 on GPUs that do not support it natively."""
    if device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return torch.bfloat16


def cpu_is_fast_in_half() -> bool:
    """Whether this CPU multiplies bfloat16 matrices (AMX). With vector instructions alone half precision is slower."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))


def folded_copy(detector: Detector) -> Detector:
    """A frozen copy in channels-last layout, with batch norms and branches folded into convolutions.

    Unlike ``Detector.fuse`` it keeps both branches of a head that has two.
    """
    twin = copy.deepcopy(detector).eval().requires_grad_(False)
    fold_all(twin)
    return twin.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@torch.no_grad()
def level_channels(detector: Detector) -> list[int]:
    """Channels of the levels, finest first, from a forward pass of zeros."""
    parameter = next(detector.parameters())
    training = detector.training
    detector.eval()
    image = torch.zeros(1, 3, PROBE_PX, PROBE_PX, device=parameter.device, dtype=parameter.dtype)
    maps: Sequence[Tensor] = detector.features(image)
    detector.train(training)
    return [x.shape[1] for x in maps]


def student_lineage(student: Detector, teacher: Detector, sha256: str) -> tuple[Mapping[str, Any], ...]:
    """All weights that influenced the student: its own lineage, its teacher's lineage and the teacher."""
    return lineage_with(student.info.lineage, teacher, sha256, TEACHER)
