"""What a data set holds: counts by split and class, and a sheet of images with their boxes."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.data.dataset import DataSet
from distill.data.formats.readers import open_splits, silent
from workbench.console import table
from zoo.draw import draw
from zoo.images import read_image
from zoo.weights.text import printable

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_TILES = 16
"""Images on a sheet."""
TILE_PX = 320
COLUMNS = 4


@dataclass(frozen=True, eq=False)
class DataOverview:
    """The splits of a data set."""

    path: Path
    splits: Mapping[str, DataSet]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {"path": str(self.path), "splits": {name: split_counts(data) for name, data in self.splits.items()}}

    def to_records(self) -> list[dict[str, Any]]:
        """One row a class: ``class``, ``number``, ``id`` in the data, and the objects in every split."""
        counts = {name: split_counts(data)["classes"] for name, data in self.splits.items()}
        rows: dict[str, dict[str, Any]] = {}
        for split, classes in counts.items():
            for entry in classes:
                row = rows.setdefault(entry["name"], {
                    "class": entry["name"], "number": entry["number"], "id": entry["id"],
                    **{f"objects in {name}": None for name in counts},
                })  # fmt: skip
                row[f"objects in {split}"] = entry["objects"]
        return list(rows.values())

    def split_table(self) -> str:
        """One line a split."""
        header = ["split", "images", "empty", "objects", "crowds", "least px", "most px", "clipped", "dropped"]
        rows = []
        for name, data in self.splits.items():
            counts = split_counts(data)
            handled = counts["handled"]
            values = [counts[key] for key in ("images", "empty", "objects", "crowds", "least_px", "most_px")]
            rows.append([name, *values, handled["outside"], handled["degenerate"]])
        return table(header, rows)

    def class_table(self) -> str:
        """One line a class."""
        header = ["class", "number", "id in the data", *(f"objects in {name}" for name in self.splits)]
        return table(header, [[printable(row["class"]), *list(row.values())[1:]] for row in self.to_records()])

    def __str__(self) -> str:
        return f"{self.path}\n{self.split_table()}\n\n{self.class_table()}"


def overview(path: str | Path, log: Callable[[str], None] = silent) -> DataOverview:
    """Open all splits of the data at ``path``; ``log`` takes lines of progress."""
    return DataOverview(Path(path), open_splits(path, log))


def split_counts(data: DataSet) -> dict[str, Any]:
    """Images, objects, image sides in pixels and objects by class of one split."""
    crowd = np.concatenate([picture.crowd for picture in data.pictures])
    labels = np.concatenate([picture.labels for picture in data.pictures])[~crowd]
    objects = np.bincount(labels, minlength=len(data.classes)).tolist()
    sides = [side for picture in data.pictures for side in (picture.width, picture.height)]
    return {
        "images": len(data), "empty": sum(not len(picture.labels) for picture in data.pictures),
        "objects": len(labels), "crowds": int(crowd.sum()), "least_px": min(sides), "most_px": max(sides),
        "handled": dict(data.handled),
        "classes": [
            {"name": name, "number": number, "id": original_id, "objects": count}
            for number, (name, original_id, count) in enumerate(
                zip(data.classes.names, data.classes.original_ids, objects, strict=True)
            )
        ],
    }  # fmt: skip


def sample_sheet(data: DataSet, seed: int = 0) -> Image:
    """Up to ``MAX_TILES`` random images with their boxes side by side, those with objects first."""
    from PIL import Image

    order = list(range(len(data)))
    random.Random(seed).shuffle(order)
    indices = sorted(order, key=lambda index: not len(data.pictures[index].labels))[:MAX_TILES]
    columns = min(COLUMNS, len(indices))
    sheet = Image.new("RGB", (columns * TILE_PX, -(-len(indices) // columns) * TILE_PX), "white")
    names = [f"{name} (ignored)" if ignored else name for ignored in (False, True) for name in data.classes.names]
    for tile, index in enumerate(indices):
        picture = data.pictures[index]
        image = Image.fromarray(read_image(picture.file))
        scale = TILE_PX / max(image.size)
        small = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
        labels = picture.labels + len(data.classes) * picture.crowd
        drawn = draw(np.asarray(small), picture.boxes * scale, None, labels, names)
        sheet.paste(drawn, (tile % columns * TILE_PX, tile // columns * TILE_PX))
    return sheet
