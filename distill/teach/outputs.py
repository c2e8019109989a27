"""What a teacher says of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from distill.teach.response import Answer


@dataclass(frozen=True, slots=True)
class TeacherOutputs:
    """Features and answer of a frozen detector."""

    features: tuple[Tensor, ...]
    """P3 to P5, float32 ``[b, c, h, w]`` each; empty where nobody asked for them."""
    answer: Answer | None
    """None where nobody asked for it."""
