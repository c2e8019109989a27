"""The programs of docs/deploy print the boxes of ``nas predict``, on 50 pictures of odd sizes."""

from __future__ import annotations

import copy
import functools
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from PIL import Image
from torch import nn

from nas.api.predict import PredictResult, predict
from tests.docs.pages import ROOT
from tests.zoo.export.lively import LIVELY, PX, lively
from zoo.detector import Detector
from zoo.export.contract import read_contract
from zoo.export.formats import FORMATS
from zoo.export.options import ExportOptions
from zoo.export.scenes import prepared_scenes, sample_images
from zoo.export.write import export
from zoo.weights.checkpoint import save

PROGRAMS = ROOT / "docs" / "deploy"
PICTURES = 50
SCORE = 0.3
PACKAGES = {"onnx": "onnxruntime", "torchscript": "torch", "litert": "litert_torch"}
"""Packages that formats of another name need."""
CASES = {
    "onnx": ("onnx", "yolox-nano", "decoded"),  # letterbox in the corner, BGR
    "onnx, end to end": ("onnx", "yolo26n", "end2end"),  # letterbox in the middle
    "onnx, nms": ("onnx", "damo-yolo-ns", "nms"),  # stretched
    "onnx, antialias": ("onnx", "rtdetrv2-s", "end2end"),
    "openvino": ("openvino", "yolo11n", "decoded"),
    "torchscript": ("torchscript", "yolo26n", "end2end"),
    "torchscript, boxes": ("torchscript", "yolo11n", "decoded"),
    "ncnn": ("ncnn", "yolox-nano", "decoded"),
    "litert": ("litert", "yolox-nano", "decoded"),
    "litert, end to end": ("litert", "yolo26n", "end2end"),
}
SLOW = set(CASES) - {"onnx"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of odd sizes, each as PNG and as PPM."""
    folder, sizes = tmp_path_factory.mktemp("pictures"), random.Random(0)
    for number in range(PICTURES):
        height, width = (2 * sizes.randrange(20, 150) + 1 for _ in range(2))
        image = Image.fromarray(sample_images(1, height, width, seed=number)[0])
        image.save(folder / f"{number:02}.png")
        image.save(folder / f"{number:02}.ppm")
    return folder


@functools.cache
def certain(model: str) -> Detector:
    """A detector with random weights that finds some objects above the threshold, other ones in other pictures.

    Batch norms get the statistics of scenes, without which deep random networks answer every picture alike; then the
    biases of the class scores are raised until one box in twenty is above the threshold.
    """
    detector = copy.deepcopy(lively(model))
    images = prepared_scenes(detector, 16, PX, PX, 1, seed=5)[0]
    norms = [module for module in detector.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        detector(images)
        detector.eval()
        biases = [value for name, value in detector.named_parameters() if re.fullmatch(LIVELY[detector.family], name)]
        for _ in range(8):
            best = detector.decode(detector(images), (PX, PX))[1].amax(-1).flatten()
            shift = torch.logit(torch.tensor(SCORE)) - torch.logit(best.clamp(1e-6, 1 - 1e-6)).quantile(0.95)
            for bias in biases:
                bias += shift
    return detector


def exported(kind: str, model: str, form: str, folder: Path) -> tuple[Path, Path]:
    """A checkpoint that finds objects, and its exported file."""
    checkpoint, path = folder / "x.safetensors", folder / ("x" + FORMATS[kind].suffix)
    save(certain(model), checkpoint)
    export(certain(model), path, kind, ExportOptions(form, PX, PX))
    return checkpoint, path


def predicted(checkpoint: Path, path: Path, form: str, pictures: Path) -> PredictResult:
    """What ``nas predict`` finds: with the checkpoint, or with a file that selects objects itself.

    Such a file gives a box under every class above the threshold, the checkpoint under its best alone.
    """
    if form == "decoded":
        return predict(checkpoint, pictures, score=SCORE, input_px=PX, quiet=True)
    multi_label = read_contract(path)["selection"]["multi_label"]
    return predict(path, pictures, score=SCORE, multi_label=multi_label, quiet=True)


def printed(command: list[str | Path]) -> dict[str, list[tuple[str, float, list[float]]]]:
    """What a program prints: class, score and box of every object, by the picture's name without suffix."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    found: dict[str, list[tuple[str, float, list[float]]]] = {}
    for line in done.stdout.splitlines():
        file, name, score, *box = line.split("\t")
        found.setdefault(Path(file).stem, []).append((name, float(score), list(map(float, box))))
    return found


def assert_same(found: dict[str, list[tuple[str, float, list[float]]]], ours: PredictResult) -> None:
    """Every object of ``nas predict`` is printed once, of its class, its box within a pixel, and no other."""
    assert len(ours) == PICTURES and sum(len(image.objects) for image in ours) >= 2 * PICTURES
    assert len({(image.height, image.width) for image in ours}) > PICTURES * 0.9
    for image in ours:
        left = list(found.get(Path(image.image).stem, []))
        assert len(left) == len(image.objects), image.image
        for wanted in image.objects:
            same = [one for one in left if one[0] == wanted.label and abs(one[1] - wanted.score) < 1e-3]
            distances = [np.abs(np.subtract(one[2], wanted.box)).max() for one in same]
            assert distances and min(distances) < 1, (image.image, wanted, left)
            left.remove(same[int(np.argmin(distances))])


@pytest.mark.parametrize("case", [pytest.param(c, marks=pytest.mark.slow) if c in SLOW else c for c in CASES])
def test_python_programs(case: str, pictures: Path, tmp_path: Path) -> None:
    kind, model, form = CASES[case]
    pytest.importorskip(PACKAGES.get(kind, kind))
    checkpoint, path = exported(kind, model, form, tmp_path)
    program = PROGRAMS / f"detect_{'onnxruntime' if kind == 'onnx' else kind}.py"
    found = printed([sys.executable, program, path, *sorted(pictures.glob("*.png"))])
    assert_same(found, predicted(checkpoint, path, form, pictures))


def compiled(program: str, sdk: str, tmp_path: Path) -> Path:
    """A C++ program, compiled with the headers and the library in the folder that a variable of the shell names."""
    folder, compiler = os.environ.get(sdk), shutil.which("g++") or shutil.which("clang++")
    if not folder or compiler is None:
        pytest.skip(f"a C++ compiler and {sdk}=FOLDER with include/ and lib/ are needed")
    library = next(iter(sorted(Path(folder, "lib").glob("lib*.*"))))
    binary = tmp_path / program
    flags = ["-std=c++17", "-O2", "-Wall", "-fopenmp", f"-I{folder}/include", f"-I{folder}/include/ncnn"]
    command = [compiler, *flags, PROGRAMS / f"{program}.cpp", library, f"-Wl,-rpath,{library.parent}", "-o", binary]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "warning: " not in done.stderr.replace(f"{folder}/include", "")
    return binary


@pytest.mark.slow
@pytest.mark.parametrize("program,sdk,kind,model,form", [
    ("detect_onnxruntime", "ONNXRUNTIME_SDK", "onnx", "yolox-nano", "decoded"),
    ("detect_onnxruntime", "ONNXRUNTIME_SDK", "onnx", "yolo11n", "decoded"),
    ("detect_onnxruntime", "ONNXRUNTIME_SDK", "onnx", "yolo26n", "end2end"),
    ("detect_onnxruntime", "ONNXRUNTIME_SDK", "onnx", "rtdetrv2-s", "end2end"),
    ("detect_ncnn", "NCNN_SDK", "ncnn", "yolox-nano", "decoded"),
    ("detect_ncnn", "NCNN_SDK", "ncnn", "damo-yolo-ns", "decoded"),
])  # fmt: skip
def test_cpp_programs(
    program: str, sdk: str, kind: str, model: str, form: str, pictures: Path, tmp_path: Path
) -> None:
    binary = compiled(program, sdk, tmp_path)
    if kind == "ncnn":
        pytest.importorskip("ncnn")
    checkpoint, path = exported(kind, model, form, tmp_path)
    found = printed([binary, path, *sorted(pictures.glob("*.ppm"))])
    assert_same(found, predicted(checkpoint, path, form, pictures))


def test_programs_import_nothing_of_ours() -> None:
    for program in PROGRAMS.glob("*.py"):
        text = program.read_text(encoding="utf-8")
        for package in ("nas", "distill", "zoo", "search_spaces", "workbench"):
            assert f"import {package}\n" not in text and f"from {package}" not in text, program.name


def test_a_file_of_another_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx.json").write_text(json.dumps({"layout": "ultralytics"}))
    code = "from boxes import read_contract; import sys; read_contract(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.onnx")], cwd=PROGRAMS, capture_output=True,
                          text=True, timeout=60)  # fmt: skip
    assert done.returncode == 1 and "--layout nas" in done.stderr
