"""The student of a training that takes over what another detector's checkpoint knows (``--inherit``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from distill.data.classes import ClassMap
from distill.train.transfer import adapt_classes
from workbench.errors import BadInput
from zoo.detector import Detector, Info
from zoo.weights.inherit import inherit_file
from zoo.weights.licence import YES, of_weights


@dataclass(frozen=True, slots=True)
class InheritedStudent:
    """A detector with inherited weights, and what is recorded and said of them."""

    detector: Detector
    settings: dict[str, Any]
    """For the run's settings: what follows from the files alone, so that a resumed run finds the same."""
    provenance: dict[str, Any]
    """For the provenance of the checkpoints: file, SHA-256, licence and all figures."""
    remark: str
    """Lines to show before the training."""


def inherit_student(detector: Detector, classes: ClassMap, file: str, seed: int) -> InheritedStudent:
    """The architecture of ``detector`` for the class map ``classes``, with the weights of the checkpoint ``file``.

    Weights that ``detector`` has are not used. What the checkpoint does not have is random, from ``seed``.
    """
    adapted, _ = adapt_classes(detector, classes)
    torch.manual_seed(seed)
    student = adapted.untrained()
    student.info = Info(classes.names, detector.info.input_px, category_ids=classes.original_ids)
    try:
        result, record = inherit_file(student, file, seed)
    except BadInput as error:
        raise BadInput(f"--inherit {error}") from error
    settings = {
        "inherit": file, "inherit_sha256": record["sha256"], "inherited_share": record["share"],
        "inherited_of_source": record["used_share"],
    }  # fmt: skip
    remark = str(result)
    use = of_weights({"trained_with": "nas-workbench"}, student.info.lineage)
    if use.answer != YES:
        remark += f"\nthe checkpoints inherit its licence, {record['licence']}; commercial use: {use.answer}"
    return InheritedStudent(student, settings, record, remark)
