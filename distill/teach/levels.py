"""Which levels of a student and of its teacher are compared: those of one stride."""

from __future__ import annotations

from collections.abc import Sequence


def shared_levels(student: Sequence[int], teacher: Sequence[int]) -> list[tuple[int, int]]:
    """Numbers of the student's and the teacher's level of every stride that both have, finest first."""
    return [(i, teacher.index(stride)) for i, stride in enumerate(student) if stride in teacher]


def left_out(student: Sequence[int], teacher: Sequence[int]) -> str:
    """What is not compared, in one line; empty where both have the same levels."""
    sides = (("student", student, teacher), ("teacher", teacher, student))
    parts = [
        f"the {name}'s level{'s' if len(alone) > 1 else ''} of stride {' and '.join(map(str, alone))}"
        for name, own, other in sides
        if (alone := [stride for stride in own if stride not in other])
    ]
    return f"features are distilled at the strides that both have, without {' and '.join(parts)}" if parts else ""
