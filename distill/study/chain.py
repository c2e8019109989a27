"""Chains of teachers: a large one teaches a smaller one, which teaches the next, down to the student.

Every link is an ordinary training below ``runs/NAME/chain``; a finished one is not done again. The lineage of the last student
names all of them, for each link hands on what it has inherited.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from distill.study.request import TrainRequest, folder_name, prepare, resolve_student, run_name
from distill.teach.request import SELF
from workbench.errors import BadInput

if TYPE_CHECKING:
    from distill.train.run import TrainResult

BELOW = "chain"


def links(text: str) -> tuple[str, ...]:
    """The models of ``--chain``, largest first."""
    found = tuple(word.strip() for word in text.split(","))
    if not all(found):
        raise BadInput(f"--chain {text!r} must be models with commas between them, such as damo-yolo-m,damo-yolo-s")
    return found


def train_chain(request: TrainRequest, models: tuple[str, ...]) -> tuple[TrainRequest, list[TrainResult]]:
    """Train the links between the teachers of ``request`` and its student; the request with the last of them as its teacher.

    The first link learns from the teachers of ``request``, every other from the link before it, by the same methods.
    """
    teaching = request.teaching
    if teaching is None:
        raise BadInput("a chain begins with a teacher: name one with --teacher")
    if SELF in teaching.teachers:
        raise BadInput("--teacher self begins no chain: the average of a student teaches that student alone")
    name = run_name(request)
    prepare(request)  # what is not there is refused before hours are spent on the links
    for model in models:
        resolve_student(dataclasses.replace(request, model=model, weights=None))
    outcomes: list[TrainResult] = []
    for place, model in enumerate(models, start=1):
        link = dataclasses.replace(
            request, model=model, weights=None, teaching=teaching.caching_below(f"link-{place}"), runs=str(Path(request.runs) / name / BELOW), name=f"{place}-{folder_name(model)}"
        )
        outcome = prepare(link).run(title=f"link {place} of {len(models) + 1}, {folder_name(model)}: ")
        outcomes.append(outcome)
        teaching = dataclasses.replace(teaching, teachers=(str(outcome.best),), weights=(), input_px=None)
    return dataclasses.replace(request, name=name, teaching=teaching.caching_below("student")), outcomes
