"""Rows of our own checkpoints: the AP that they reached in training, and the budget of that training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.comparison.rows import TRAINED, Accuracy, ComparisonRow, Origin, TrainingBudget
from nas.comparison.sources.costs import compared_costs
from nas.comparison.sources.files import finite, one_line, read_yaml
from nas.comparison.sources.models import nms_of
from search_spaces.architecture import Architecture
from search_spaces.lowering import lower
from search_spaces.published import PUBLISHED
from workbench.errors import BadInput, missing_package
from workbench.files import file_sha256
from zoo.weights.licence import CUT_FROM, NOT_STATED, OWN, PARENT, notice, own_licence

if TYPE_CHECKING:
    from nas.devices.profile import DeviceProfile
    from search_spaces.graph import Graph
    from zoo.weights.manifest import Manifest

BEST, LAST = "best.safetensors", "last.safetensors"


def is_training(folder: Path) -> bool:
    """Whether a folder is a training run that has evaluated at least once."""
    return (folder / BEST).is_file()


def checkpoint_row(path: Path, profiles: Sequence[DeviceProfile]) -> ComparisonRow:
    """The best weights of a training run, or one checkpoint file, at the input side of its training."""
    try:
        from zoo.weights.checkpoint import load, read_manifest
    except ModuleNotFoundError as error:
        raise missing_package("reading a checkpoint", error.name, "torch") from error
    file = path / BEST if path.is_dir() else path
    load(file)  # refuses weights that are not those of the network it claims, and spoilt ones
    manifest = read_manifest(file)
    info, name = manifest.info, _name(path)
    graph, family, nms = _network(manifest)
    arch = None if manifest.recipe.cuts else manifest.recipe.architecture
    costs = compared_costs(graph, info.input_px, profiles)
    accuracy = _accuracy(manifest, file, name)
    network = one_line(manifest.recipe.model) + (", cut" if manifest.recipe.cuts else "")
    facts = [("network", network), ("classes", str(manifest.recipe.classes))]
    for key in ("trained_with", "started_from"):
        if key in info.provenance:
            facts.append((key.replace("_", " "), _start(info.provenance[key])))
    for source in info.lineage:
        role = f", its {source['role']}" if source.get("role") else ""
        facts.append(("lineage", one_line(f"{source.get('model')} under {source.get('licence')}{role}")))
    licence = notice(info.provenance, info.lineage)
    facts += [("licence", one_line(licence, 400))] if licence else []
    return ComparisonRow(
        name=name,
        kind=TRAINED,
        family=family,
        input_px=info.input_px,
        params=costs.params,
        flops=costs.flops,
        nms=nms,
        licence=_licence(manifest),
        values=costs.values,
        accuracy=accuracy,
        source="training" if accuracy else "checkpoint",
        digest="" if arch is None else arch.digest(),
        facts=tuple(facts),
        sha256=file_sha256(file),
        origin=_origin(manifest),
    )


def _origin(manifest: Manifest) -> Origin | None:
    """Where a cut network comes from; None for a network that is not cut."""
    if not manifest.recipe.cuts:
        return None
    cut_from = manifest.info.provenance.get(CUT_FROM)
    cut_from = cut_from if isinstance(cut_from, Mapping) else {}
    parents = [entry.get("sha256") for entry in manifest.info.lineage if entry.get("role") == PARENT]
    nearest_first = dict.fromkeys([cut_from.get("sha256"), *reversed(parents)])
    model = one_line(cut_from.get("model") or manifest.recipe.model, 60)
    return Origin(model, tuple(sha256 for sha256 in nearest_first if isinstance(sha256, str)))


def _network(manifest: Manifest) -> tuple[Graph, str, str]:
    """Graph, family and NMS of a checkpoint's network."""
    from zoo.factory import family_of
    from zoo.pruning.summary import uncut_network

    recipe, arch = manifest.recipe, manifest.recipe.architecture
    if arch is None:
        family = family_of(recipe.model)[0].name
    else:
        published = _anonymous(arch) in map(_anonymous, PUBLISHED.values())
        family = "damo-yolo" if published else "searched"
        if not recipe.cuts:
            return lower(arch), family, nms_of(manifest.branch == "one_to_one")
    detector = uncut_network(recipe)
    detector.recipe = recipe  # graph() builds the network anew, and cuts it
    detector.choose_branch(manifest.branch)
    return detector.graph(manifest.info.input_px), family, nms_of(detector.end2end)


def _anonymous(arch: Architecture) -> Architecture:
    """The architecture without what a run and its data change: the name and the number of classes."""
    head = None if arch.head is None else dataclasses.replace(arch.head, classes=1)
    return dataclasses.replace(arch, name="", head=head)


def _name(path: Path) -> str:
    """The folder of a run for its best weights, marked for its last; the file's own name for other checkpoints."""
    resolved = path.resolve()
    if resolved.is_dir():
        return resolved.name
    if resolved.stem == "best":
        return resolved.parent.name
    return f"{resolved.parent.name} (last)" if resolved.stem == "last" else resolved.stem


def _licence(manifest: Manifest) -> str:
    """The licence of the weights, and those of the weights that they were trained from."""
    provenance = manifest.info.provenance
    licence = own_licence(provenance)
    sources = [
        source
        for source in manifest.info.lineage
        if licence == OWN or source.get("sha256") != provenance.get("sha256")
    ]
    names = [
        f"{one_line(source.get('model', 'unknown'), 40)} ({_licence_text(source.get('licence'))})" for source in sources
    ]
    return _licence_text(licence) + (f", from {', '.join(dict.fromkeys(names))}" if names else "")


def _licence_text(licence: Any) -> str:
    if licence == OWN:
        return "yours"
    return "licence not stated" if licence in (None, "", NOT_STATED) else one_line(licence, 40)


def _start(value: Any) -> str:
    """Where training started from, on one line."""
    if not isinstance(value, Mapping):
        return one_line(value)
    cut_from = value.get(CUT_FROM)
    if isinstance(cut_from, Mapping) and not value.get("trained_with"):
        return one_line(f"weights cut from {cut_from.get('model')}")
    return one_line(value.get("source") or value.get("file") or value.get("trained_with") or "other weights")


def _accuracy(manifest: Manifest, file: Path, name: str) -> Accuracy | None:
    """The best AP that the run wrote beside the weights; None for weights that were never evaluated."""
    val = manifest.info.provenance.get("val")
    if val is None:
        return None
    if not isinstance(val, Mapping):
        raise BadInput(f"{str(file)!r}: its validation record is {type(val).__name__}, not a mapping: train it again")
    ap = 100 * finite(val.get("ap"), "AP of the validation", file, 0.0, 1.0)
    budget = _budget(manifest, file)
    epoch = one_line(manifest.info.provenance.get("epoch", "?"), 10)
    at = f"epoch {epoch} of {budget.epochs if budget.epochs is not None else '?'}"
    note = f"best of run {name}, after {at}" + ("" if budget.finished else "; the run has not finished")
    validation_set = budget.val_sha256 or f"data {budget.data_sha256}"
    return Accuracy(ap, f"own-{validation_set[:13]}", note, note, budget)


def _budget(manifest: Manifest, file: Path) -> TrainingBudget:
    """The training behind a checkpoint, from its header and the ``settings.yaml`` beside it."""
    provenance = manifest.info.provenance
    settings_file = file.parent / "settings.yaml"
    settings = read_yaml(settings_file) if settings_file.is_file() and "trained_with" in provenance else {}
    recipe = provenance.get("recipe") if isinstance(provenance.get("recipe"), Mapping) else {}
    assert isinstance(recipe, Mapping)
    epochs, seed, teacher = recipe.get("epochs"), provenance.get("seed"), settings.get("teacher")
    same_data = settings.get("data_sha256") == provenance.get("data_sha256")  # else the settings are of another run
    return TrainingBudget(
        data=one_line(provenance.get("data", "unknown data"), 60),
        data_sha256=one_line(provenance.get("data_sha256", ""), 64),
        val_sha256=one_line(settings.get("val_sha256", ""), 64) if same_data else "",
        epochs=epochs if isinstance(epochs, int) else None,
        recipe=dict(recipe),
        input_px=manifest.info.input_px,
        seed=seed if isinstance(seed, int) else None,
        teacher=one_line(teacher, 60) if teacher else "",
        started_from=_start(provenance.get("started_from", "unknown weights")),
        finished=(file.parent / LAST).is_file() if settings else True,
    )
