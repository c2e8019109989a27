"""What a teacher says of one picture, as bytes: features and scores in half precision, boxes in single.

Boxes are pixels of inputs up to a thousand wide, which half precision would move by up to a quarter of a pixel. Of the
scores only the classes that student and teacher share are kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from distill.teach.outputs import TeacherOutputs
from distill.teach.response import Answer
from workbench.errors import BadInput

ALIGNMENT = 64
MOST_HALF = torch.finfo(torch.float16).max


@dataclass(frozen=True, slots=True)
class Kept:
    """Which parts of what a teacher says are asked for."""

    features: bool = True
    answer: bool = True
    distributions: bool = True
    columns: tuple[int, ...] = ()
    """The teacher's classes that count."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One tensor of a record, without the batch."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    start: int
    """Place of its first byte."""

    @property
    def end(self) -> int:
        return self.start + math.prod(self.shape) * self.dtype.itemsize


class Form:
    """How a record is laid out, for one size of the input; taken from an example of what the teacher says."""

    def __init__(self, kept: Kept, example: TeacherOutputs) -> None:
        self.kept = kept
        self._example = example.answer if kept.answer else None
        self._classes = 0 if example.answer is None else example.answer.scores.shape[-1]
        self.parts: list[_Part] = []
        at = 0
        for one in self._tensors(example):
            part = _Part(tuple(one.shape[1:]), one.dtype, at)
            self.parts.append(part)
            at = part.end
        self.bytes = -(-at // ALIGNMENT) * ALIGNMENT
        """Size of a record."""

    def _tensors(self, taught: TeacherOutputs) -> list[Tensor]:
        """What is kept of ``taught``, as it is kept; single precision first, so that everything is aligned."""
        found: list[Tensor] = []
        if self.kept.answer:
            answer = taught.answer
            assert answer is not None
            found += [answer.boxes.float(), halved(answer.scores[..., list(self.kept.columns)], "scores")]
            if self.kept.distributions and answer.distributions is not None:
                found.append(halved(answer.distributions, "distributions"))
        if self.kept.features:
            found += [halved(one, "features") for one in taught.features]
        return found

    def pack(self, taught: TeacherOutputs) -> Tensor:
        """Records of a batch, uint8 ``[b, bytes]``."""
        columns = []
        for part, one in zip(self.parts, self._tensors(taught), strict=True):
            if tuple(one.shape[1:]) != part.shape:
                raise BadInput(f"the teacher gave {tuple(one.shape[1:])} where {part.shape} was expected: it does not give the same for every picture and cannot be cached")
            columns.append(one.contiguous().flatten(1).view(torch.uint8))
        columns.append(columns[0].new_zeros(len(columns[0]), self.bytes - self.parts[-1].end))
        return torch.cat(columns, 1)

    def unpack(self, records: Tensor) -> TeacherOutputs:
        """What the teacher said, in float32 and in memory of its own; scores of classes that do not count are 0."""
        values = [records[:, part.start : part.end].view(part.dtype).reshape(len(records), *part.shape).to(torch.float32, copy=True) for part in self.parts]
        answer = None
        if self._example is not None:
            boxes, chosen = values[:2]
            scores = chosen
            if self.kept.columns != tuple(range(self._classes)):
                scores = chosen.new_zeros(*chosen.shape[:-1], self._classes)
                scores[..., list(self.kept.columns)] = chosen
            several = self.kept.distributions and self._example.distributions is not None
            answer = Answer(boxes, scores, self._example.size, values[2] if several else None, self._example.strides, self._example.offset)
            values = values[3 if several else 2 :]
        return TeacherOutputs(tuple(values), answer)


def halved(x: Tensor, what: str) -> Tensor:
    """``x`` in half precision; numbers that it cannot hold are refused, infinities are left for the loop to find."""
    half = x.to(torch.float16)
    if bool((half.isinf() & x.isfinite()).any()):
        raise BadInput(f"the teacher's {what} reach {float(x.abs().amax()):,.0f}, more than the cache's half precision holds ({MOST_HALF:,.0f}): leave out --cache-views")
    return half
