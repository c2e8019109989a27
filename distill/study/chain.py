"""Chains of teachers: a large one teaches a smaller one, which teaches the next, down to the student.

Every link is an ordinary training below ``runs/NAME/chain``; a finished one is not repeated. The lineage of the student
names all of them, because each link passes on its own lineage.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from distill.prepare import prepare, resolve_student
from distill.request import TrainRequest, folder_name, run_name
from distill.teach.request import SELF
from workbench.errors import BadInput

if TYPE_CHECKING:
    from distill.train.run import TrainResult

BELOW = "chain"


def parse_chain(text: str) -> tuple[str, ...]:
    """The models of ``--chain``, largest first."""
    models = tuple(name.strip() for name in text.split(","))
    if not all(models):
        raise BadInput(f"--chain {text!r} must be models with commas between them, such as damo-yolo-m,damo-yolo-s")
    return models


def train_chain(request: TrainRequest, models: tuple[str, ...]) -> tuple[TrainRequest, list[TrainResult]]:
    """Train the models between the teachers of ``request`` and its student, each taught by the one before it.

    The first link is taught by the teachers of ``request``; all use the same methods. Returns the request of the
    student, with the last link as its teacher, and the results of the links.
    """
    teaching = request.teaching
    if teaching is None:
        raise BadInput("a chain begins with a teacher: name one with --teacher")
    if SELF in teaching.teachers:
        raise BadInput("--teacher self begins no chain: the average of a student teaches that student alone")
    name = run_name(request)
    prepare(request)  # a missing file is reported before hours are spent on the links
    for model in models:
        resolve_student(dataclasses.replace(request, model=model, weights=None, inherit=None))
    results: list[TrainResult] = []
    for number, model in enumerate(models, start=1):
        link = dataclasses.replace(
            request,
            model=model,
            weights=None,
            inherit=None,
            teaching=teaching.with_cache_below(f"link-{number}"),
            runs=str(Path(request.runs) / name / BELOW),
            name=f"{number}-{folder_name(model)}",
        )
        result = prepare(link).run(title=f"link {number} of {len(models) + 1}, {folder_name(model)}: ")
        results.append(result)
        teaching = dataclasses.replace(teaching, teachers=(str(result.best),), weights=(), input_px=None)
    return dataclasses.replace(request, name=name, teaching=teaching.with_cache_below("student")), results
