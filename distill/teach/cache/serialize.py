"""Teacher outputs of one image as bytes: features and scores in float16, boxes in float32.

Boxes are in pixels of inputs up to a thousand wide, where float16 is off by up to a quarter of a pixel. Only the
scores of the classes that student and teacher share are stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from distill.teach.outputs import RequiredOutputs, TeacherOutputs
from distill.teach.predictions import Predictions
from workbench.errors import BadInput

ALIGNMENT = 64
MAX_HALF = torch.finfo(torch.float16).max


@dataclass(frozen=True, slots=True)
class _Field:
    """One tensor of a record, without the batch dimension."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    start: int
    """Offset of its first byte."""

    @property
    def end(self) -> int:
        return self.start + math.prod(self.shape) * self.dtype.itemsize


class RecordLayout:
    """The layout of a record for one input size, derived from an example of the teacher's outputs."""

    def __init__(self, required: RequiredOutputs, example: TeacherOutputs) -> None:
        self.required = required
        self._example = example.predictions if required.predictions else None
        self._classes = 0 if example.predictions is None else example.predictions.scores.shape[-1]
        self.fields: list[_Field] = []
        offset = 0
        for tensor in self._tensors(example):
            field = _Field(tuple(tensor.shape[1:]), tensor.dtype, offset)
            self.fields.append(field)
            offset = field.end
        self.bytes = -(-offset // ALIGNMENT) * ALIGNMENT
        """Size of a record."""

    def _tensors(self, outputs: TeacherOutputs) -> list[Tensor]:
        """The stored tensors of ``outputs`` in their stored precision; float32 first, so that all are aligned."""
        tensors: list[Tensor] = []
        if self.required.predictions:
            predictions = outputs.predictions
            assert predictions is not None
            scores = predictions.scores[..., list(self.required.columns)]
            tensors += [predictions.boxes.float(), to_half(scores, "scores")]
            if self.required.distributions and predictions.distributions is not None:
                tensors.append(to_half(predictions.distributions, "distributions"))
        if self.required.features:
            tensors += [to_half(x, "features") for x in outputs.features]
        return tensors

    def pack(self, outputs: TeacherOutputs) -> Tensor:
        """Records of a batch, uint8 ``[b, bytes]``."""
        columns = []
        for field, tensor in zip(self.fields, self._tensors(outputs), strict=True):
            shape = tuple(tensor.shape[1:])
            if shape != field.shape:
                raise BadInput(
                    f"the teacher gave {shape} where {field.shape} was expected: its output shapes differ between "
                    "images, so it cannot be cached"
                )
            columns.append(tensor.contiguous().flatten(1).view(torch.uint8))
        columns.append(columns[0].new_zeros(len(columns[0]), self.bytes - self.fields[-1].end))
        return torch.cat(columns, 1)

    def unpack(self, records: Tensor) -> TeacherOutputs:
        """The outputs in float32, in memory of their own; scores of classes that are not stored are 0."""
        values = []
        for field in self.fields:
            value = records[:, field.start : field.end].view(field.dtype).reshape(len(records), *field.shape)
            values.append(value.to(torch.float32, copy=True))
        predictions = None
        if self._example is not None:
            boxes, shared_scores = values[:2]
            scores = shared_scores
            if self.required.columns != tuple(range(self._classes)):
                scores = shared_scores.new_zeros(*shared_scores.shape[:-1], self._classes)
                scores[..., list(self.required.columns)] = shared_scores
            example = self._example
            with_distributions = self.required.distributions and example.distributions is not None
            distributions = values[2] if with_distributions else None
            predictions = Predictions(boxes, scores, example.size, distributions, example.strides, example.offset)
            values = values[3 if with_distributions else 2 :]
        return TeacherOutputs(tuple(values), predictions)


def to_half(x: Tensor, name: str) -> Tensor:
    """``x`` in float16; finite values beyond its range are refused, infinities are left for the loop to detect."""
    half = x.to(torch.float16)
    if bool((half.isinf() & x.isfinite()).any()):
        raise BadInput(
            f"the teacher's {name} reach {float(x.abs().amax()):,.0f}, more than the cache's half precision holds "
            f"({MAX_HALF:,.0f}): leave out --cache-views"
        )
    return half
