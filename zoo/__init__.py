"""Detectors that were built: the model zoo, its weights and checkpoints, and their computation graphs.

``zoo.models()`` lists the models, ``zoo.build("yolo26n")`` builds one with fresh weights, ``zoo.load`` and ``zoo.save``
read and write checkpoints, ``zoo.import_weights`` reads official ones. Torch is imported when a detector is first
needed, not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search_spaces.architecture import Architecture
    from zoo.detector import Detector
    from zoo.families.card import Card
    from zoo.model_table import ModelTable
    from zoo.weights.importing import ImportedWeights


def models() -> ModelTable:
    """The card of every model, which prints as a table; ``.names`` lists the names. The twin of ``nas zoo list``."""
    from zoo.families.card import load_cards
    from zoo.model_table import ModelTable

    return ModelTable(load_cards().values())


def card(model: str) -> Card:
    """Published and measured facts about one model, by its name or an alias. The twin of ``nas zoo show``."""
    from zoo.families.card import find_card

    return find_card(model)


def build(model: str | Architecture, classes: int = 80) -> Detector:
    """A detector with fresh weights, in training form: a model by name, or a searched architecture with its head."""
    try:
        from zoo.detector import Recipe
        from zoo.factory import build_recipe
    except ModuleNotFoundError as error:
        from workbench.errors import missing_package

        raise missing_package("a detector", error.name, "torch") from error
    if isinstance(model, str):
        return build_recipe(Recipe(model, classes))
    return build_recipe(Recipe(model.name or model.digest(), classes, model))


def load(path: str | Path) -> Detector:
    """The detector of one of our checkpoints, in evaluation mode on the CPU."""
    from zoo.resolve import load_checkpoint

    return load_checkpoint(path)


def save(detector: Detector, path: str | Path) -> None:
    """Write a detector as a checkpoint that rebuilds itself."""
    from zoo.weights import checkpoint

    checkpoint.save(detector, path)


def import_weights(
    path: str | Path,
    family: str | None = None,
    architecture: Architecture | str | Path | None = None,
    names: Sequence[str] | str | Path | None = None,
    out: str | Path | None = None,
) -> ImportedWeights:
    """Turn an official checkpoint into one of ours; the twin of ``nas zoo import``. Nothing in the file is executed.

    A tensor that is missing, unexpected or of another shape raises ``BadInput``, and nothing is written.

    Args:
        path: .pt, .pth, .safetensors or .npz file with official tensor names.
        family: family, where the file leaves it open.
        architecture: architecture of a searched detector, or its YAML file or run folder.
        names: class names, or a file with one a line; by default those in the file, else COCO's for 80 classes.
        out: checkpoint to write; by default the file's name with .safetensors, in the current folder.
    """
    from zoo.weights import importing

    return importing.import_weights(path, family, architecture, names, out)
