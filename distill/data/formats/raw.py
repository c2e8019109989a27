"""What the files of a data set say, before it is checked.

Formats make ``RawAnnotations`` and ``check.faults`` looks for faults in them. ``readers.open_data`` refuses errors and
makes a ``DataSet``; ``check.doctor`` reports the faults; ``check.repair`` writes a copy without them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distill.data.formats.findings import Finding
from distill.data.formats.paths import DataFiles


@dataclass(frozen=True, slots=True)
class Source:
    """Where a split is."""

    form: str
    """Name of its format."""
    name: str
    """``train``, ``val``, ``test``, or empty where no name says which."""
    root: Path
    """The data's folder; resolved, without symbolic links."""
    file: Path
    """The annotation file, or what lists the split."""
    images: tuple[Path, ...] = ()
    """Folders in which images are looked for, in this order."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What else the format needs."""
    named: tuple[Path, ...] = ()
    """Folders outside of ``root`` that the file which the user gave names."""

    def data_files(self) -> DataFiles:
        """The files that annotations may refer to: those below ``root`` and ``named``."""
        return DataFiles(self.root, *self.named)


@dataclass(frozen=True, slots=True)
class Category:
    """A category as the data have it."""

    id: int
    name: str
    parent: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class RawAnnotations:
    """A split as its files have it, in columns: m images, n annotations."""

    source: Source
    categories: tuple[Category, ...]
    ids: np.ndarray
    """int64 ``[m]``, the data's own image ids."""
    files: tuple[Path | None, ...]
    """Absolute and inside the root; None where there is no such file or it may not be used."""
    image_names: tuple[str, ...]
    """Each image's name in the data, for examples."""
    sizes: np.ndarray
    """int64 ``[m, 2]``, width and height in pixels; 0 where unknown."""
    boxes: np.ndarray
    """float64 ``[n, 4]``, x1, y1, x2, y2 in pixels, as stated: not clipped, possibly not finite."""
    image: np.ndarray
    """int64 ``[n]``, index of the image, -1 where there is none."""
    category: np.ndarray
    """int64 ``[n]``, the data's own category ids."""
    crowd: np.ndarray
    """bool ``[n]``."""
    areas: np.ndarray
    """float64 ``[n]``, square pixels; NaN where none is stated."""
    annotation_ids: np.ndarray
    """int64 ``[n]``, -1 where the data have none."""
    findings: tuple[Finding, ...]
    """What was wrong while reading."""

    def __len__(self) -> int:
        return len(self.ids)


def columns(
    boxes: Iterable[Any], image: Iterable[int], category: Iterable[int], crowd: Iterable[bool],
    areas: Iterable[float], ids: Iterable[int],
) -> dict[str, np.ndarray]:  # fmt: skip
    """The annotation columns of ``RawAnnotations`` from lists or arrays; ``boxes`` is flat or ``[n, 4]``."""
    return {
        "boxes": np.asarray(boxes, dtype=np.float64).reshape(-1, 4),
        "image": np.asarray(image, dtype=np.int64),
        "category": np.asarray(category, dtype=np.int64),
        "crowd": np.asarray(crowd, dtype=bool),
        "areas": np.asarray(areas, dtype=np.float64),
        "annotation_ids": np.asarray(ids, dtype=np.int64),
    }
