"""A folder of detectors that nobody trained: small graphs with made-up, smooth accuracies and latencies."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np

from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder

SIZES = (64, 96, 128, 160, 192, 224)
FAMILIES = ("alpha1", "beta2")


def network(name: str, width: int, depth: int) -> Graph:
    """Three strides and some layers at the last."""
    g = GraphBuilder(3)
    x = -1
    for i in range(3):
        x = g.conv(x, width << i, 3, 2, act="silu")
    for _ in range(depth):
        x = g.conv(x, width << 2, 3, act="silu")
    return g.finish([x], name)


def folder(path: Path, noise: float = 0.0, seed: int = 0) -> Path:
    """24 architectures of two families at six sizes. Accuracy rises with width, depth and size; latency is that of a
    device on which depth is dear and another on which width is."""
    rng = np.random.default_rng(seed)
    accuracy, latency = ["arch,input_px,voc_scratch_map50_95,other_map"], ["arch,input_px,dear_depth_ms,dear_width_ms"]
    with gzip.open(path / "graphs.jsonl.gz", "wt") as file:
        for family in FAMILIES:
            for width in (4, 6, 8, 12):
                for depth in (1, 2, 4):
                    name = f"{family}w{width}d{depth}"
                    file.write(json.dumps(network(name, width, depth).to_json()) + "\n")
                    for px in SIZES:
                        merit = 0.5 * math.log(width) + 0.3 * math.log(depth) + 0.8 * math.log(px / 64) + (family == "beta2") * 0.1
                        value = 1 - math.exp(-0.3 * (1 + merit)) + noise * rng.standard_normal()
                        accuracy.append(f"{name},{px},{value:.6f},{value / 2:.6f}" if width > 4 else f"{name},{px},{value:.6f},")
                        base = (px / 64) ** 2
                        latency.append(f"{name},{px},{base * (1 + depth + width / 16):.5f},{base * (1 + depth / 8 + width):.5f}")
    (path / "accuracy.csv").write_text("\n".join(accuracy) + "\n")
    (path / "latency.csv").write_text("\n".join(latency) + "\n")
    return path
