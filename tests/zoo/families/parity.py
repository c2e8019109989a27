"""The official numbers that our detectors are held against, and the deterministic weights they were measured with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FOLDERS = (
    Path(__file__).resolve().parents[4] / "shared" / "parity",
    Path(__file__).resolve().parents[2] / "data" / "parity",
)
"""Where fixtures lie: beside the project where the shared folder is present."""


def fixture_files() -> list[Path]:
    """Every detector fixture that can be found."""
    found: dict[str, Path] = {}
    for folder in FOLDERS:
        for path in sorted(folder.glob("*.json")):
            if path.stem != "tinynas_scores":
                found.setdefault(path.stem, path)
    return list(found.values())


def read_fixture(path: Path) -> dict[str, Any]:
    """One fixture."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _random(key: str) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")))


def _value(name: str, shape: list[int], dtype: str) -> np.ndarray:
    """The value of one checkpoint tensor, decided by its name alone."""
    if dtype.startswith("int"):
        return np.zeros(shape, dtype)
    random = _random(name)
    if len(shape) >= 2:
        return (random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(dtype)
    if name.endswith(("running_var", "weight")):
        return random.uniform(0.5, 1.5, shape).astype(dtype)
    return np.asarray(0.1 * random.standard_normal(shape)).astype(dtype)


def official_tensors(fixture: dict[str, Any]) -> dict[str, Tensor]:
    """The official checkpoint's tensors, by their official names."""
    constants = fixture["constants"]
    return {
        name: torch.from_numpy(
            np.array(constants[name], dtype).reshape(shape) if name in constants else _value(name, shape, dtype)
        )
        for name, shape, dtype in fixture["tensors"]
    }


def image(fixture: dict[str, Any]) -> Tensor:
    """The input batch ``[1, 3, h, w]``."""
    return random_image("image:" + fixture["model"], fixture["input_shape"], fixture["input_scale"])


def random_image(key: str, shape: list[int], scale: float) -> Tensor:
    """A deterministic image ``[1, 3, h, w]``, decided by its key alone."""
    value = _random(key).random(shape, dtype=np.float32)
    return torch.from_numpy((value * scale).astype(np.float32))


def gaps(fixture: dict[str, Any], outputs: dict[str, Tensor]) -> dict[str, float]:
    """For every output of the fixture that is here, the largest gap of its sampled numbers over max(1, absmax).

    Of RT-DETR two neighbouring queries may have changed places: in one fixture they differ by 1.5e-6 where they are
    ranked, and the official code itself swaps such pairs between one thread and two. So do we, on some processors.
    """
    found = {}
    for wanted in fixture["outputs"]:
        if wanted["name"] not in outputs:
            continue
        ours = outputs[wanted["name"]]
        assert list(ours.shape) == wanted["shape"], f"{wanted['name']}: {list(ours.shape)} for {wanted['shape']}"
        if wanted["name"] == "end2end":
            worst = _gap_of_rows(wanted, ours[0].double().numpy())
        elif wanted["name"].startswith("pred_"):
            worst = _gap_of_neighbours(wanted, ours[0].double().numpy())
        else:
            values = ours.reshape(-1)[torch.tensor(wanted["index"])].double().numpy()
            worst = float(np.abs(values - np.array(wanted["value"])).max())
        found[wanted["name"]] = worst / max(1.0, wanted["absmax"])
    return found


def _gap_of_rows(wanted: dict[str, Any], ours: np.ndarray) -> float:
    """The largest gap of sampled numbers to ours ``[n, 6]``, when rows of equal score may change places.

    Half of a fixture's rows stand within float32 rounding of the next one's score, and rounding differs from one
    processor and number of threads to another: among equals, order is chance.
    """
    worst = 0.0
    for index, value in zip(wanted["index"], wanted["value"], strict=True):
        row, column = divmod(index, 6)
        ties = np.abs(ours[:, 4] - ours[row, 4]) <= 1e-6
        worst = max(worst, float(np.abs(ours[ties, column] - value).min()))
    return worst


def _gap_of_neighbours(wanted: dict[str, Any], ours: np.ndarray) -> float:
    """The largest gap of sampled numbers to ours ``[queries, n]``, each against its own row and the rows beside it."""
    worst = 0.0
    for index, value in zip(wanted["index"], wanted["value"], strict=True):
        row, column = divmod(index, ours.shape[1])
        worst = max(worst, float(np.abs(ours[max(0, row - 1) : row + 2, column] - value).min()))
    return worst
