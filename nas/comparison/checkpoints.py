"""Checkpoints of ours with the AP they reached in training, and what that AP was paid with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.comparison.costs import compared_costs
from nas.comparison.rows import TRAINED, Accuracy, ComparisonRow, TrainingBudget
from nas.comparison.run_files import finite, read_yaml, text
from search_spaces.architecture import Architecture
from search_spaces.lowering import lower
from search_spaces.published import PUBLISHED
from workbench.errors import BadInput, missing_package
from zoo.weights.licence import NOT_STATED, OWN, own_licence

if TYPE_CHECKING:
    from nas.devices.profile import DeviceProfile
    from zoo.weights.manifest import Manifest


def is_training(folder: Path) -> bool:
    """Whether a folder is a training run that has evaluated at least once."""
    return (folder / "best.safetensors").is_file()


def checkpoint_row(path: Path, profiles: Sequence[DeviceProfile]) -> ComparisonRow:
    """A training run's best weights, or one checkpoint file, at the input side it was trained at."""
    try:
        import torch

        from zoo.factory import build_recipe, family_of
        from zoo.weights.checkpoint import read_manifest
    except ModuleNotFoundError as error:
        raise missing_package("reading a checkpoint", error.name, "torch") from error
    file = path / "best.safetensors" if path.is_dir() else path
    manifest = read_manifest(file)
    recipe, px = manifest.recipe, manifest.info.input_px
    if recipe.architecture is not None:
        arch = recipe.architecture
        graph, family, digest = lower(arch), "damo-yolo" if _network(arch) in map(_network, PUBLISHED.values()) else "searched", arch.digest()
        nms = manifest.branch == "one_to_one"
    else:
        with torch.device("meta"):
            detector = build_recipe(recipe)
        detector.choose_branch(manifest.branch)
        graph, nms, family, digest = detector.graph(px), detector.end2end, family_of(recipe.model)[0].name, ""
    costs = compared_costs(graph, px, profiles)
    name = _name(path)
    accuracy = _accuracy(manifest, file, name)
    facts = [("network", text(recipe.model)), ("classes", str(recipe.classes))]
    for key in ("trained_with", "started_from"):
        if key in manifest.info.provenance:
            facts.append((key.replace("_", " "), _start(manifest.info.provenance[key])))
    facts += [("lineage", text(f"{one.get('model')} under {one.get('licence')}")) for one in manifest.info.lineage]
    return ComparisonRow(
        name, TRAINED, family, px, costs.params, costs.flops, "none" if nms else "needed", _licence(manifest), costs.values, accuracy,
        "training" if accuracy else "checkpoint", digest, tuple(facts),
    )  # fmt: skip


def _network(arch: Architecture) -> Architecture:
    """The architecture without what a run and its data change: its name and the number of classes."""
    head = None if arch.head is None else dataclasses.replace(arch.head, classes=1)
    return dataclasses.replace(arch, name="", head=head)


def _name(path: Path) -> str:
    """A run goes by its folder, and so do its best and last weights; another checkpoint by its own name."""
    resolved = path.resolve()
    if resolved.is_dir():
        return resolved.name
    return resolved.parent.name if resolved.stem == "best" else f"{resolved.parent.name} (last)" if resolved.stem == "last" else resolved.stem


def _licence(manifest: Manifest) -> str:
    """What the weights are under: their own, and what they learned from."""
    told = manifest.info.provenance
    own = own_licence(told)
    others = [one for one in manifest.info.lineage if own == OWN or one.get("sha256") != told.get("sha256")]
    names = [f"{text(one.get('model', 'unknown'), 40)} ({_stated(one.get('licence'))})" for one in others]
    return (_stated(own) if own != OWN else "yours") + (f", from {', '.join(dict.fromkeys(names))}" if names else "")


def _stated(licence: Any) -> str:
    if licence == OWN:
        return "yours"
    return "licence not stated" if licence in (None, "", NOT_STATED) else text(licence, 40)


def _start(value: Any) -> str:
    """Where training started from, on one line."""
    if not isinstance(value, Mapping):
        return text(value)
    return text(value.get("source") or value.get("file") or value.get("trained_with") or "other weights")


def _accuracy(manifest: Manifest, file: Path, name: str) -> Accuracy | None:
    """The best AP that the run wrote beside the weights; None for weights that were never evaluated."""
    told = manifest.info.provenance
    val = told.get("val")
    if val is None:
        return None
    if not isinstance(val, Mapping):
        raise BadInput(f"{str(file)!r}: its note of the validation is {type(val).__name__}, not a table: train it again")
    ap = 100 * finite(val.get("ap"), "AP of the validation", file, 0.0, 1.0)
    settings = read_yaml(file.parent / "settings.yaml") if (file.parent / "settings.yaml").is_file() and "trained_with" in told else {}
    recipe = told.get("recipe") if isinstance(told.get("recipe"), Mapping) else {}
    assert isinstance(recipe, Mapping)
    epochs, seed = recipe.get("epochs"), told.get("seed")
    data_sha, val_sha = text(told.get("data_sha256", ""), 64), text(settings.get("val_sha256", ""), 64)
    if settings and settings.get("data_sha256") != told.get("data_sha256"):
        val_sha = ""  # the settings beside it are of another run
    taught = settings.get("teacher")
    budget = TrainingBudget(
        text(told.get("data", "unknown data"), 60), data_sha, val_sha, epochs if isinstance(epochs, int) else None, dict(recipe), manifest.info.input_px,
        seed if isinstance(seed, int) else None, text(taught, 60) if taught else "", _start(told.get("started_from", "unknown weights")),
        (file.parent / "last.safetensors").is_file() if settings else True,
    )  # fmt: skip
    at = f"epoch {text(told.get('epoch', '?'), 10)} of {epochs if epochs is not None else '?'}"
    note = f"best of run {name}, after {at}" + ("" if budget.finished else "; the run has not finished")
    return Accuracy(ap, f"own-{(val_sha or 'data ' + data_sha)[:13]}", note, note, budget)
