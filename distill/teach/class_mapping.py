"""Matches the classes of student and teacher by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.errors import BadInput

SYNONYMS = {"aeroplane": "airplane", "motorbike": "motorcycle", "sofa": "couch", "tvmonitor": "tv"}
"""Class names of Pascal VOC that COCO writes differently."""


@dataclass(frozen=True, slots=True)
class ClassMapping:
    """Which class of the student is which of the teacher; entry k of both columns belongs together."""

    student_columns: tuple[int, ...]
    teacher_columns: tuple[int, ...]
    student_unmatched: tuple[str, ...]
    """Classes that the teacher does not know; nothing is distilled for them, neither object nor background."""
    teacher_unmatched: tuple[str, ...]
    """Classes that the student does not have; the teacher's scores of them are dropped."""
    student_classes: int
    teacher_classes: int

    @staticmethod
    def by_name(student_names: Sequence[str], teacher_names: Sequence[str]) -> ClassMapping:
        """Match exact names first, then without case, spaces, hyphens and underscores, VOC's names as COCO's."""
        pairs = _match(student_names, teacher_names)
        if not pairs:
            raise BadInput(
                f"student and teacher share no class: the student has {_list_names(student_names)}, the teacher "
                f"{_list_names(teacher_names)}; rename the classes of the data, or distil features only"
            )
        columns = sorted(pairs)
        return ClassMapping(
            student_columns=tuple(columns),
            teacher_columns=tuple(pairs[i] for i in columns),
            student_unmatched=tuple(name for i, name in enumerate(student_names) if i not in pairs),
            teacher_unmatched=tuple(name for i, name in enumerate(teacher_names) if i not in pairs.values()),
            student_classes=len(student_names),
            teacher_classes=len(teacher_names),
        )

    def select_student(self, scores: Tensor) -> Tensor:
        """The student's ``scores`` ``[..., classes]`` of the shared classes ``[..., m]``."""
        return _select(scores, self.student_columns, self.student_classes, "student")

    def select_teacher(self, scores: Tensor) -> Tensor:
        """The teacher's ``scores`` ``[..., classes]`` of the shared classes ``[..., m]``."""
        return _select(scores, self.teacher_columns, self.teacher_classes, "teacher")


def shared_classes(student_names: Sequence[str], teacher_names: Sequence[str]) -> int:
    """How many of the student's classes the teacher knows, by the rules of ``ClassMapping.by_name``."""
    return len(_match(student_names, teacher_names))


def _match(student_names: Sequence[str], teacher_names: Sequence[str]) -> dict[int, int]:
    """Numbers of the student's classes to those of the same classes of the teacher."""
    exact = {name: column for column, name in enumerate(teacher_names)}
    normalized: dict[str, list[int]] = {}
    for column, name in enumerate(teacher_names):
        normalized.setdefault(_normalize(name), []).append(column)
    pairs: dict[int, int] = {i: exact[name] for i, name in enumerate(student_names) if name in exact}
    for i, name in enumerate(student_names):
        candidates = [column for column in normalized.get(_normalize(name), []) if column not in pairs.values()]
        if i not in pairs and candidates:
            if len(candidates) > 1:
                ambiguous = " or ".join(repr(teacher_names[column]) for column in candidates)
                raise BadInput(
                    f"the student's class {name!r} may be the teacher's {ambiguous}: give them the same name"
                )
            pairs[i] = candidates[0]
    return pairs


def _normalize(name: str) -> str:
    plain = "".join(c for c in name.casefold() if c not in " -_")
    return SYNONYMS.get(plain, plain)


def _list_names(names: Iterable[str], most: int = 6) -> str:
    quoted = [repr(name) for name in names]
    return ", ".join(quoted[:most]) + (f" and {len(quoted) - most} more" if len(quoted) > most else "")


def _select(scores: Tensor, columns: tuple[int, ...], classes: int, side: str) -> Tensor:
    if scores.shape[-1] != classes:
        raise BadInput(f"the {side} has scores of {scores.shape[-1]} classes: this mapping was made for {classes}")
    if columns == tuple(range(classes)):
        return scores
    return scores[..., torch.tensor(columns, device=scores.device)]
