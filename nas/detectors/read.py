"""Read the atlas: every ``--data`` by the reader of its kind, combined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from nas.detectors.atlas import Atlas, combined
from nas.detectors.sources.folder import read_folder
from nas.detectors.sources.own_trainings import RECORD, read_own_trainings
from nas.detectors.sources.zoo_cards import ZOO, read_zoo
from workbench.console import Progress
from workbench.errors import BadInput


def _zoo(data: str, progress: Progress | None) -> Atlas:
    return read_zoo(progress)


def _own(data: str, progress: Progress | None) -> Atlas:
    return read_own_trainings(data)


def _folder(data: str, progress: Progress | None) -> Atlas:
    return read_folder(data)


SOURCES: dict[str, Callable[[str, Progress | None], Atlas]] = {"zoo": _zoo, "own trainings": _own, "folder": _folder}
"""Reader by kind of source."""


def kind_of(data: str) -> str:
    """Which of ``SOURCES`` reads this ``--data``."""
    if data == ZOO:
        return "zoo"
    return "own trainings" if (Path(data) / RECORD).exists() else "folder"


def read_atlas(data: Sequence[str], progress: Progress | None = None) -> Atlas:
    """Read ``zoo`` and folders of trained detectors, each once, into one atlas."""
    places = [item if item == ZOO else str(Path(item).resolve()) for item in data]
    for at, place in enumerate(places):
        if place in places[:at]:
            raise BadInput(f"--data {data[at]} is named twice")
    if not data:
        raise BadInput("the atlas has no data: name a folder with --data, or zoo")
    parts = [SOURCES[kind_of(item)](item, progress) for item in data]
    return parts[0] if len(parts) == 1 else combined(parts)
