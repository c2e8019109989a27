"""A folder in which every command of the pages finds what it names: small data, and networks under the pages' names."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import torch
from PIL import Image

from nas.cli import main
from search_spaces.architecture import Architecture
from tests.docs.pages import ROOT
from tests.nas.devices.test_latency_fit import write as write_latencies
from tests.nas.evidence import trained
from tests.zoo.weights import official_files
from zoo.detector import Detector, Recipe
from zoo.factory import build, build_recipe
from zoo.families import find_family
from zoo.weights.checkpoint import load, save

CHECKPOINTS = {
    "yolox-s": "yolox-s",
    "yolox_s": "yolox-s",
    "yolox-tiny": "yolox-tiny",
    "yolox-m": "yolox-m",
    "yolox-l": "yolox-l",
    "yolo26n": "yolo26n",
    "damo-yolo-l": "damo-yolo-l",
    "damo-yolo-s": "damo-yolo-s",
    "rtdetrv2-s": "rtdetrv2-s",
    "rtdetrv2-x": "rtdetrv2-x",
}
"""File to model. Fresh weights will do, with the classes of my-data: a teacher that shares none of them is refused."""
SEARCHES = ("search", "pico", "A", "B")
"""Copies of the one search, which is called NAME."""
TRAININGS = ("train-best-my-data", "train-search-my-data", "train-damo-yolo-l-my-data", "pico-shapes")
"""Copies of the one training, whose checkpoints pages name."""
DATA = ("shapes", "big", "photos", "digits", "DIGITS")
"""Copies of my-data."""


def nas(*words: str) -> None:
    """One command, which must end well."""
    code = main(words)
    if code:
        raise AssertionError(f"nas {' '.join(words)} ended with {code}")


def official(detector: Detector) -> dict[str, torch.Tensor]:
    """Weights by their official names."""
    one = find_family(detector.family)
    return {one.official_name(name): value for name, value in detector.state_dict().items()}


def furnish(here: Path) -> None:
    """Fill ``here``, which is the working folder, and ``shared`` beside it."""
    devices(here / "devices")
    measurements(here.parent / "shared")
    benched()
    searches()
    data()
    detectors(here)
    for part in range(4):
        nas("eval", "best.safetensors", "--data", "big", "--shard", f"{part}/4", "--out", f"part{part}.json", "--quiet")


def benched() -> None:
    """Files of measurements that pages write and read."""
    for file in ("mine.jsonl.gz", "measured.jsonl.gz"):
        networks = ("damo-yolo-ns", "yolox-nano", "yolo11n")
        nas("bench", *networks, "--input", "64", "--seconds", "0.1", "--rounds", "3", "--out", file, "--source", "lab")


def devices(folder: Path) -> None:
    """A profile of this machine, which calibration would make; and where CONTRIBUTING.md puts a new one."""
    folder.mkdir()
    Path("nas/latency/devices").mkdir(parents=True)
    text = (ROOT / "nas" / "devices" / "profiles" / "intel-i7-10875h.yaml").read_text(encoding="utf-8")
    (folder / "cpu.yaml").write_text(text.replace("name: intel-i7-10875h", "name: cpu", 1), encoding="utf-8")


def measurements(shared: Path) -> None:
    """Small stand-ins for what pages call ../shared: latencies, and detectors with their accuracies."""
    for name in ("t4", "yolobench"):
        (shared / name).mkdir(parents=True)
    write_latencies(shared / "t4")
    latencies = shared / "t4" / "latency.csv"
    latencies.write_text(latencies.read_text().replace("my_ms", "t4_trt_fp16_ms"))
    trained.folder(shared / "yolobench")
    for file in ("accuracy.csv", "latency.csv"):
        path = shared / "yolobench" / file
        path.write_text(path.read_text().replace(",224,", ",320,"))
    atlas(shared / "atlas")


def atlas(folder: Path) -> None:
    """Detectors in the layout of the atlas: one input size, COCO columns, two recipes."""
    folder.mkdir()
    trained.folder(folder)
    for file, old, new in (
        ("accuracy.csv", "voc_scratch_map50_95,other_map", "coco_val_map50_95,coco_only_map50_95"),
        ("latency.csv", "dear_depth_ms,dear_width_ms", "jetson_orin_trt_fp16_total_ms,raspberrypi5_ort_fp32_total_ms"),
    ):
        header, *rows = (folder / file).read_text().replace(old, new).splitlines()
        (folder / file).write_text("\n".join([header, *(row for row in rows if ",160," in row)]) + "\n")
    trainings = ["graph,input_px,coco_val_map50_95,recipe,source"]
    for row in (folder / "accuracy.csv").read_text().splitlines()[1:]:
        name, px, ap, coco_only = row.split(",")
        recipe = "scratch 300e" if coco_only else "scratch 300e; distilled"
        trainings.append(f"{name},{px},{ap},{recipe},someone/nets@1:README.md")
    (folder / "trainings.csv").write_text("\n".join(trainings) + "\n")


def searches() -> None:
    """Spaces, and a search under all its names."""
    shutil.copy(ROOT / "search_spaces" / "spaces" / "res.yaml", "my-space.yaml")
    shutil.copy(ROOT / "docs" / "tutorial" / "pico.yaml", "pico.yaml")
    nas("search", "--budget", "3ms", "--device", "t4", "--name", "NAME", "--quiet")
    for name in SEARCHES:
        shutil.copytree("runs/NAME", f"runs/{name}")


def data() -> None:
    """Drawn pictures under all their names, and single ones."""
    nas("data", "synth", "my-data", "--images", "20", "--quiet")
    for name in DATA:
        shutil.copytree("my-data", name)
    for path in ("photo.jpg", "photos/one.jpg"):
        Image.open(next(Path("my-data/images/val").iterdir())).convert("RGB").save(path)


def detectors(here: Path) -> None:
    """A trained network, fresh ones, and files as their authors publish them."""
    # after one step norms measured over these 16 pictures amplify any other one, up to infinity: no file could be held
    # against that
    hardly = ("--epochs", "1", "--input", "64", "--set", "bn_calibration_images=0")
    nas("train", "yolox-nano", "--data", "my-data", *hardly, "--data-workers", "0", "--name", "first", "--quiet")
    shutil.copy("runs/first/best.safetensors", "best.safetensors")
    for name in TRAININGS:
        shutil.copytree("runs/first", f"runs/{name}")
    names = load(here / "best.safetensors").info.class_names
    for file, model in CHECKPOINTS.items():
        fresh = build(model, len(names))
        fresh.info = dataclasses.replace(fresh.info, class_names=names)
        save(fresh, here / f"{file}.safetensors")
    nas("export", "yolox-nano", "--format", "onnx", "--input", "320", "--out", "yolo.onnx", "--quiet")
    shutil.copy("yolo.onnx", "pico.onnx")
    official_files.save_plain(here / "yolox_s.pth", official(build("yolox-s")))
    shutil.copy("yolox_s.pth", "my_yolox.pth")
    (here / "classes.txt").write_text("\n".join(f"kind {i}" for i in range(80)) + "\n")
    official_files.save_pickled_model(
        here / "yolo11n.pt", official(build("yolo11n")), names={i: f"kind {i}" for i in range(80)}
    )
    found = Architecture.load("runs/NAME/best.yaml")
    official_files.save_plain(here / "mine.pth", official(build_recipe(Recipe("mine", 80, found))))
