"""Detectors trained by ``nas bench-scores --train``: the same folder, with ``trained.jsonl`` and ``settings.yaml``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.detectors.atlas import Atlas
from nas.detectors.recipes import parse_recipe
from nas.detectors.sources.folder import read_folder
from workbench.doors.yaml import read_yaml

RECORD = "trained.jsonl"
SOURCE = "own training"


def read_own_trainings(folder: str) -> Atlas:
    """Every architecture is an entry: its mean AP over the seeds, the seeds beside it, and the run's recipe."""
    atlas = read_folder(folder)
    tag = _tag(_settings(Path(folder) / "settings.yaml"))
    entries = [
        replace(entry, recipe=parse_recipe(tag, entry.family), source=SOURCE, licence="yours")
        for entry in atlas.entries
    ]
    return replace(atlas, entries=tuple(entries))


def _settings(path: Path) -> dict[str, Any]:
    """The run's settings; empty without the file."""
    if not path.exists():
        return {}
    settings = read_yaml(path, "settings")
    return settings if isinstance(settings, dict) else {}


def _tag(settings: dict[str, Any]) -> str:
    """``scratch 3e``: such trainings begin with random weights."""
    recipe = settings.get("recipe")
    epochs = recipe.get("epochs") if isinstance(recipe, dict) else None
    return f"scratch {epochs}e" if isinstance(epochs, int) else "scratch"
