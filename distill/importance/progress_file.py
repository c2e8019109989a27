"""What a measurement has summed up so far, in one file: a cache once it is complete, and a place to resume before.

The file is replaced as a whole after every batch and has a checksum. Numbers are written so that they are read back to
the same bits. A file that is damaged, or of other weights, data or settings, counts as none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workbench.files import write_atomic


@dataclass(slots=True)
class Sums:
    """Sums over images so far, each batch's mean times its number of images."""

    batches: int
    """Batches that are done."""
    loss: float
    units: np.ndarray
    """float64 ``[units]``."""
    blocks: np.ndarray
    """float64 ``[blocks]``."""
    stacks: dict[str, np.ndarray]
    """float64 ``[layers]`` by path."""

    @staticmethod
    def zero(units: int, blocks: int, stacks: Mapping[str, int]) -> Sums:
        """Nothing is done yet."""
        return Sums(0, 0.0, np.zeros(units), np.zeros(blocks), {path: np.zeros(n) for path, n in stacks.items()})


class ProgressFile:
    """The sums of one measurement. ``key`` says everything that they depend on."""

    def __init__(self, folder: Path | None, key: Mapping[str, Any], log: Callable[[str], None]) -> None:
        self.key, self.log = json.loads(json.dumps(key)), log  # as it is read back
        digest = hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()[:16]
        self.path = None if folder is None else folder / f"importance-{key['method']}-{digest}.json"

    def read(self, start: Sums) -> Sums:
        """The sums in the file, or ``start``, of the same shapes, where there is none that can be used."""
        if self.path is None or not self.path.exists():
            return start
        try:
            record = json.loads(self.path.read_text(encoding="utf-8"))
            if record["sum"] != _checksum(record["key"], record["data"]):
                raise ValueError("its checksum is wrong")
            if record["key"] != self.key:
                raise ValueError("it is of other weights, data or settings")
            data = record["data"]
            found = Sums(
                int(data["batches"]), float(data["loss"]), np.array(data["units"], dtype=np.float64),
                np.array(data["blocks"], dtype=np.float64),
                {path: np.array(values, dtype=np.float64) for path, values in data["stacks"].items()},
            )  # fmt: skip
            if _shapes(found) != _shapes(start):
                raise ValueError("it is of another network")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            self.log(f"{self.path} cannot be used ({reason}): importance is measured again")
            return start
        return found

    def write(self, sums: Sums) -> None:
        """Replace the file."""
        if self.path is None:
            return
        data = {
            "batches": sums.batches, "loss": sums.loss, "units": sums.units.tolist(), "blocks": sums.blocks.tolist(),
            "stacks": {path: values.tolist() for path, values in sums.stacks.items()},
        }  # fmt: skip
        record = {"sum": _checksum(self.key, data), "key": self.key, "data": data}
        write_atomic(self.path, json.dumps(record, allow_nan=False))


def _checksum(key: Any, data: Any) -> str:
    return hashlib.sha256(json.dumps([key, data], sort_keys=True).encode()).hexdigest()


def _shapes(sums: Sums) -> list[Any]:
    return [len(sums.units), len(sums.blocks), {path: len(values) for path, values in sums.stacks.items()}]
