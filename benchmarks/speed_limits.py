"""Speed limits that the code is held to, measured on this machine: prints each with its limit.

    python benchmarks/speed_limits.py            # exit code 1 where a limit is exceeded
    python benchmarks/speed_limits.py --quick    # a tenth of the work: shows that the script runs

``nas --help`` is timed by the wall clock, the best of five; everything else by processor time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from nas.devices.profile import load_device
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from workbench.console import table


def help_seconds(repeats: int) -> float:
    """Wall-clock seconds of ``nas --help``, the best of ``repeats``."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "nas.cli", "--help"], check=True, capture_output=True)
        best = min(best, time.perf_counter() - start)
    return best


def coco_seconds(images: int, folder: Path) -> float:
    """Seconds to read a COCO file with ``images`` images and seven polygons each."""
    from distill.data.formats.readers import open_data

    rng = np.random.default_rng(0)
    (folder / "images" / "train").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for number in range(images):
        (folder / "images" / "train" / f"{number}.jpg").touch()
    corners, polygon = rng.integers(0, 300, (7 * images, 2)).tolist(), rng.random(20).round(2).tolist()
    data = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": 640, "height": 480} for n in range(images)],
        "annotations": [
            {
                "id": n + 1,
                "image_id": n // 7,
                "category_id": 1,
                "bbox": [x, y, 20, 30],
                "area": 100,
                "segmentation": [polygon],
                "iscrowd": 0,
            }
            for n, (x, y) in enumerate(corners)
        ],
        "categories": [{"id": 1, "name": "object"}],
    }
    (folder / "annotations" / "train.json").write_text(json.dumps(data))
    start = time.process_time()
    dataset = open_data(folder)
    seconds = time.process_time() - start
    assert len(dataset) == images
    return seconds


def ops_per_second(device: str, candidates: int) -> float:
    """Ops of a population that the latency model of ``device`` predicts in a second."""
    rng = np.random.default_rng(0)
    narrow, inner, wide = (rng.integers(8, 400, candidates) for _ in range(3))
    builder = GraphBuilder(3)
    x = builder.conv(-1, narrow, 3, 2, act="silu")
    y = builder.conv(builder.conv(x, inner, 1, act="relu"), narrow, 3)
    x = builder.conv(builder.join("concat", builder.join("add", x, y), x), wide, 1)
    ops = Graph(builder.ops, builder.inputs, [x]).table(320)
    model = load_device(device).model
    model.op_ms(ops)
    start, calls = time.process_time(), 0
    while time.process_time() - start < 0.5:
        model.op_ms(ops)
        calls += 1
    return calls * ops.count.size / (time.process_time() - start)


def trace_seconds() -> float:
    """Seconds to build and trace the largest model of the zoo on the meta device."""
    import torch

    from zoo.factory import build

    build("damo-yolo-ns")  # excludes torch's own first-use costs
    start = time.process_time()
    with torch.device("meta"):
        build("yolo26x").graph(640)
    return time.process_time() - start


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work; no limit fails")
    args = parser.parse_args()
    images = 2_000 if args.quick else 20_000
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            ("nas --help, s", help_seconds(1 if args.quick else 5), 0.3, True),
            ("build and trace yolo26x, s", trace_seconds(), 3.0, True),
            ("20,000 COCO images with 140,000 polygons, s", coco_seconds(images, Path(folder)), 8.0, True),
            ("ops of 50,000 candidates predicted a second, t4", ops_per_second("t4", 50_000), 1e6, False),
        ]
    exceeded = [name for name, value, limit, at_most in rows if (value > limit) is at_most and value != limit]
    lines = [[name, value, f"{'at most' if at_most else 'at least'} {limit:g}"] for name, value, limit, at_most in rows]
    print(table(["what", "measured", "limit"], lines))
    if exceeded and not args.quick:
        print(f"exceeded: {', '.join(exceeded)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
