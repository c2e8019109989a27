"""Checkpoints as a training leaves them, without the training."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill.train.recipe import load_recipe


def trained(
    folder: Path,
    ap: float | None,
    *,
    model: str = "damo-yolo-ns",
    val_sha256: str = "v" * 64,
    finished: bool = True,
    **changes: Any,
) -> Path:
    """A training run's folder with a true checkpoint that says it reached ``ap`` (0..1)."""
    pytest.importorskip("torch")
    from zoo.factory import build
    from zoo.weights.checkpoint import save

    recipe = load_recipe("small", {"epochs": changes.pop("epochs", 12)})
    detector = build(model, 3)
    provenance = {
        "trained_with": "nas-workbench",
        "data": "boxes",
        "data_sha256": "d" * 64,
        "started_from": "random weights",
        "epoch": 9,
        "recipe": recipe.to_dict(),
        "seed": 0,
    }
    lineage = changes.pop("lineage", ())
    if ap is not None:
        provenance["val"] = {"ap": ap, "ap50": 2 * ap}
    detector.info = dataclasses.replace(detector.info, input_px=96, provenance=provenance | changes, lineage=lineage)
    folder.mkdir(parents=True)
    save(detector, folder / "best.safetensors")
    if finished:
        save(detector, folder / "last.safetensors")
    (folder / "settings.yaml").write_text(
        yaml.safe_dump({"data_sha256": "d" * 64, "val_sha256": val_sha256, "input_px": 96})
    )
    return folder
