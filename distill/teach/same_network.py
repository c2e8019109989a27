"""Whether two detectors are one network, and which of the teacher's channels a cut student has kept."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from zoo.detector import Detector


def same_network(a: Detector, b: Detector) -> bool:
    """Whether two detectors are one model, whatever their names, numbers of classes and cuts."""

    def network(detector: Detector) -> object:
        arch = detector.recipe.architecture
        if arch is None or arch.head is None:
            return detector.recipe.model
        return dataclasses.replace(arch, name="", head=dataclasses.replace(arch.head, classes=1))

    return network(a) == network(b)


def selected_channels(student: Detector, teacher: Detector) -> list[np.ndarray] | None:
    """The channels of the teacher's levels that the student has, if it was cut from the teacher's network.

    None where their maps do not correspond channel by channel, or are those of equally cut networks.
    """
    if not same_network(student, teacher) or student.recipe.cuts == teacher.recipe.cuts:
        return None
    from zoo.pruning.kept import kept_channels

    return kept_channels(teacher, student)
