"""A folder in which every command of the pages finds what it names: small data, and networks under the pages' names."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from PIL import Image

from nas.cli import main
from search_spaces.architecture import Architecture
from tests.docs.pages import ROOT
from tests.zoo import official_files
from zoo.checkpoint import load, save
from zoo.detector import Detector, Recipe
from zoo.families import build, build_recipe, family

CHECKPOINTS = {"yolox-s": "yolox-s", "yolox_s": "yolox-s", "yolo26n": "yolo26n", "damo-yolo-l": "damo-yolo-l", "rtdetrv2-x": "rtdetrv2-x"}
"""File to model; fresh weights will do."""
RUNS = ("search", "A", "B")
"""Copies of the one search, which is called NAME."""
TRAINED = ("train-best-my-data", "train-damo-yolo-l-my-data")
"""Runs of training whose checkpoint a page names."""


def nas(*words: str) -> None:
    """One command, which must end well."""
    code = main(words)
    if code:
        raise AssertionError(f"nas {' '.join(words)} ended with {code}")


def official(detector: Detector) -> dict[str, torch.Tensor]:
    """Weights by their official names."""
    one = family(detector.family)
    return {one.official_name(name): value for name, value in detector.state_dict().items()}


def furnish(here: Path) -> None:
    """Fill ``here``, which is the working folder."""
    nas("search", "--budget", "3ms", "--device", "t4", "--name", "NAME", "--quiet")
    for name in RUNS:
        shutil.copytree("runs/NAME", f"runs/{name}")
    shutil.copy(ROOT / "search_spaces" / "res.yaml", "my-space.yaml")
    shutil.copy(ROOT / "docs" / "tutorial" / "pico.yaml", "pico.yaml")
    nas("data", "synth", "my-data", "--images", "24", "--quiet")
    for name in ("big", "photos"):
        shutil.copytree("my-data", name)
    for path in ("photo.jpg", "photos/one.jpg"):
        Image.open(next(Path("my-data/images/val").iterdir())).convert("RGB").save(path)
    nas("train", "yolox-nano", "--data", "my-data", "--epochs", "1", "--input", "64", "--workers", "0", "--name", "first", "--quiet")
    shutil.copy("runs/first/best.safetensors", "best.safetensors")
    for name in TRAINED:
        shutil.copytree("runs/first", f"runs/{name}")
    for file, model in CHECKPOINTS.items():
        save(build(model), here / f"{file}.safetensors")
    nas("export", "yolox-nano", "--format", "onnx", "--input", "320", "--out", "yolo.onnx", "--quiet")
    official_files.save_plain(here / "yolox_s.pth", official(load(here / "yolox_s.safetensors")))
    shutil.copy("yolox_s.pth", "my_yolox.pth")
    (here / "classes.txt").write_text("\n".join(f"kind {i}" for i in range(80)) + "\n")
    official_files.save_pickled_model(here / "yolo11n.pt", official(build("yolo11n")), names={i: f"kind {i}" for i in range(80)})
    found = Architecture.load("runs/NAME/best.yaml")
    official_files.save_plain(here / "mine.pth", official(build_recipe(Recipe("mine", 80, found))))
    for part in range(4):
        nas("eval", "best.safetensors", "--data", "big", "--shard", f"{part}/4", "--out", f"part{part}.json", "--quiet")
