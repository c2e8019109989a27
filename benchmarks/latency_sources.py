"""Points of several publishers: T4, Jetson Orin, Raspberry Pi 5, Hailo-8 and Rockchip NPUs.

What a row's text does not say is said here: which graph a publisher's name stands for, which rows were measured the
same way (one level), and which were not taken and why. Nothing is fitted here; as a script it prints how far
publishers disagree about the same network:

    python benchmarks/latency_sources.py           # T4
    python benchmarks/latency_sources.py --pi5     # Raspberry Pi 5, ONNX Runtime
"""

from __future__ import annotations

import argparse
import csv
import gzip
import itertools
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from nas.devices.measured.networks import MeasuredNetwork, read_measured
from nas.devices.measured.op_table import costed
from search_spaces.graph import Graph

SHARED = {"folder": Path("../shared")}
SAME = {
    "RTDETRv2-s": "RT-DETR-r18", "RTDETRv2-l": "RT-DETR-r50", "RTDETRv2-x": "RT-DETR-r101",
    "RT-DETRv2-r18": "RT-DETR-r18", "RT-DETRv2-r34": "RT-DETR-r34",
    "RT-DETRv2-r50": "RT-DETR-r50", "RT-DETRv2-r101": "RT-DETR-r101",
}  # fmt: skip
"""Networks under a second name, equal but for details of the decoder."""
RELATED = {
    "RTDETRv2": "RT-DETR", "RT-DETRv2": "RT-DETR", "YOLOv5u": "YOLOv8", "RF-DETR": "LW-DETR",
    "EdgeCrafter": "DEIMv2", "PP-YOLOE+": "PP-YOLOE", "yolo5": "YOLOv8", "yolo8": "YOLOv8",
}  # fmt: skip
"""Families that share blocks, backbone or head with another: left out together."""


def sizes(form: str, letters: str, graph: str) -> dict[str, str]:
    """Graph by a publisher's name for each size: ``*`` in ``form`` and ``graph`` is the letter."""
    return {form.replace("*", letter): graph.replace("*", letter.lower()) for letter in letters}


RT_DETR = {
    "RT-DETR-R18": "RT-DETR-r18", "RT-DETR-R34": "RT-DETR-r34", "RT-DETR-R50-m": "RT-DETR-r50m",
    "RT-DETR-R50": "RT-DETR-r50", "RT-DETR-R101": "RT-DETR-r101", "RT-DETR-HGNetv2-X": "RT-DETR-x",
}  # fmt: skip
DEIM = {
    "DEIM-RT-DETRv2-S": "RT-DETRv2-r18", "DEIM-RT-DETRv2-M": "RT-DETRv2-r34", "DEIM-RT-DETRv2-L": "RT-DETRv2-r50",
    "DEIM-RT-DETRv2-X": "RT-DETRv2-r101",
}  # fmt: skip
LW_DETR = {f"LW-DETR-{size[0].upper()}": f"LW-DETR-{size}" for size in ("tiny", "small", "large", "xlarge")}
PADDLE = " (PaddleYOLO)"
T4_ROWS: dict[str, tuple[str, str, Mapping[str, str]]] = {
    # source (owner of the repository, or what it publishes):
    #     (beginning of the column source, text in runtime or note, graph by the publisher's name)
    "tinyvision": (
        "tinyvision/DAMO-YOLO@319572ee:README", "",
        {"DAMO-YOLO-T": "DAMO-YOLOt", "DAMO-YOLO-S": "DAMO-YOLOs", "DAMO-YOLO-L": "DAMO-YOLOl"},
    ),
    "Deci-AI": (
        "Deci-AI/super-gradients", "xcluding IO|excludes IO",
        sizes("YOLO-NAS-*", "SML", "YOLO-NAS-*") | sizes("PP-YOLOE-* (SuperGradients)", "SMX", "PP-YOLOE+-*"),
    ),
    "THU-MIG": (
        "ultralytics/ultralytics@00772c", "Latency-forward",
        sizes("YOLOv8* (forward)", "nsmlx", "YOLOv8*") | sizes("YOLOv10* (forward)", "nsmlx", "YOLOv10*")
        | {f"{name} (forward)": graph for name, graph in RT_DETR.items()},
    ),
    "open-mmlab": (
        "open-mmlab/mmyolo", "",
        sizes("YOLOv8-*", "nsmlx", "YOLOv8*") | sizes("YOLOX-*", "slx", "YOLOX*")
        | sizes("PP-YOLOE+-*", "smx", "PP-YOLOE+-*")
        | {"YOLOX-tiny": "YOLOX-tiny", "YOLOv7-tiny": "YOLOv7-tiny", "YOLOv7-l": "YOLOv7l", "YOLOv7-x": "YOLOv7x"},
    ),
    "PaddlePaddle": ("PaddlePaddle/PaddleDetection", "TensorRT 8.6.0", RT_DETR),
    "lyuwenyu": ("lyuwenyu/RT-DETR@068dfde6:README", "", RT_DETR),
    "DEIM": ("Intellindust-AI-Lab/DEIM@", "", DEIM),
    "EdgeCrafter": ("Intellindust-AI-Lab/EdgeCrafter", "", sizes("ECDet-*", "SMX", "EdgeCrafter-*")),
    "Atten4Vis": ("Atten4Vis/LW-DETR", "", {graph: graph for graph in LW_DETR.values()}),
    "roboflow": (
        "roboflow/rf-detr@35ac6ab6", "TensorRT 10.4",
        {f"{name} (Roboflow SAB)": graph for name, graph in (
            LW_DETR | sizes("YOLO26-*", "NMLX", "YOLO26*") | sizes("RF-DETR-*", "NSL", "RF-DETR-*")).items()},
    ),
    "iMoonLab": (
        "iMoonLab/yolov13", "",
        sizes("YOLO11-*", "NSLX", "YOLO11*") | sizes("YOLOv12-*", "NSLX", "YOLO12*")
        | sizes("YOLOv13-*", "NSX", "YOLOv13*"),
    ),
}  # fmt: skip
"""T4, FP16, batch 1: rows of ``facts/published_latency_other_devices.csv`` by level."""
T4_NOT_FITTED: dict[str, tuple[str, str, Mapping[str, str]]] = {
    "PaddlePaddle (PaddleYOLO)": (
        "PaddlePaddle/PaddleYOLO", "",
        {name + PADDLE: graph for name, graph in (
            sizes("YOLOv8-*", "nsmlx", "YOLOv8*") | sizes("YOLOX-*", "slx", "YOLOX*")
            | sizes("PP-YOLOE+_*", "smx", "PP-YOLOE+-*") | sizes("YOLOv5u-*", "nmx", "YOLOv5*u")
            | sizes("YOLOv7-*", "LX", "YOLOv7*") | {"YOLOX-nano": "YOLOX-nano", "YOLOX-tiny": "YOLOX-tiny"}).items()},
    ),
    "Deci-AI (YOLOX)": (
        "Deci-AI/super-gradients", "xcluding IO", sizes("YOLOX-* (SuperGradients)", "sl", "YOLOX*"),
    ),
}  # fmt: skip
"""Rows that are shown beside the others but fitted by nothing. PaddleYOLO's table contradicts itself: one decimal and
two, YOLOX-nano at 416 px slower than YOLOv8n at 640: two sessions at least. SuperGradients' YOLOX figures are 11 to
40 % above everybody's, unlike its PP-YOLOE."""
ULTRALYTICS = {"PP-YOLOE+s": "PP-YOLOE+-s", "PP-YOLOE+m": "PP-YOLOE+-m", "PP-YOLOE+x": "PP-YOLOE+-x"}
"""Networks of the Ultralytics table whose graphs are in the atlas only."""


def t4_points(not_fitted: bool = False) -> list[MeasuredNetwork]:
    """T4, TensorRT, FP16, batch 1, all publishers; with ``not_fitted`` also those that serve no fit."""
    _, points = read_measured(SHARED["folder"] / "t4", "t4_trt_fp16_ms")
    # The table copies YOLO12's figures from its authors.
    source = {"YOLO12": "sunsmarterjie"}
    found = [_point(p.name, p.input_px, p.ms, source.get(p.family, "ultralytics"), p.family) for p in points]
    for row in _rows("facts/published_detectors.csv"):
        if row["model"] in ULTRALYTICS:
            found.append(_point(ULTRALYTICS[row["model"]], 640, float(row["t4_trt10_fp16_ms"]), "ultralytics"))
    for level, (source, text, names) in (T4_ROWS | (T4_NOT_FITTED if not_fitted else {})).items():
        seen = set()
        for row in _rows("facts/published_latency_other_devices.csv"):
            graph = names.get(row["model"], "")
            if not graph or graph in seen or not _is_t4(row) or not row["source"].startswith(source):
                continue
            if any(part in row["runtime"] + row["note"] for part in text.split("|")):
                seen.add(graph)
                found.append(_point(graph, int(row["input_px"] or 640), float(row["latency_ms"]), level))
    return found


def _is_t4(row: Mapping[str, str]) -> bool:
    """Whether a row is of a T4 at batch 1 and half precision, or does not say otherwise."""
    device = "T4" in row["device"] or row["device"].startswith("(not stated")
    return device and row["batch"] in ("", "1") and row["precision"] not in ("INT8", "FP32")


HARNESS = "YOLO11", "YOLO26", "YOLOv5u", "YOLOv8"
"""Families that the atlas's laboratory ran through Ultralytics, with its pre- and post-processing."""
WITH_NMS = "YOLOX", "PicoDet"
"""Families of its own harness that end in NMS on the host."""
ALONE = "atlas"


def atlas_points(column: str) -> list[MeasuredNetwork]:
    """Points of the atlas's laboratory: the network alone, and totals with three kinds of work on the host."""
    found = []
    for row in _rows("atlas/latency.csv"):
        family = row["family"]
        host = "of Ultralytics" if family in HARNESS else "and NMS" if family in WITH_NMS else "without NMS"
        for part, level in (("inference", ALONE), ("total", f"{ALONE}, with host work {host}")):
            ms = row[f"{column}_{part}_ms"]
            if ms:
                found.append(_point(row["model"], int(row["input_px"]), float(ms), level, family))
    return found


def pi5_points() -> list[MeasuredNetwork]:
    """Raspberry Pi 5, ONNX Runtime, FP32: two laboratories and the Ultralytics documentation."""
    _, points = read_measured(SHARED["folder"] / "yolobench", "raspberrypi5_cpu_ort_fp32_ms")
    bench = [replace(p, source="yolobench", family=RELATED.get(p.family, p.family)) for p in points]
    return atlas_points("raspberrypi5_ort_fp32") + bench + _documented("ONNX")


def ncnn_points() -> list[MeasuredNetwork]:
    """Raspberry Pi 5, NCNN: the atlas's laboratory and the Ultralytics documentation."""
    return atlas_points("raspberrypi5_ncnn_fp32") + _documented("NCNN")


def orin_points() -> list[MeasuredNetwork]:
    """Jetson Orin with 8 GB, TensorRT, FP16: the atlas's laboratory."""
    return atlas_points("jetson_orin_trt_fp16")


def hailo_points() -> list[MeasuredNetwork]:
    """Hailo-8: 1000 / FPS at batch 8. At batch 1 networks of several contexts pay for reloading the chip."""
    return [
        _point(row["graph"], int(row["input_px"]), float(row["ms"]), "hailo-ai")
        for row in _rows("atlas/latency_facts.csv")
        if row["device"] == "hailo_hailo8" and row["batch"] == "8" and row["graph"]
    ]


def rockchip_points(chip: str) -> list[MeasuredNetwork]:
    """NPU of a Rockchip chip, one core, INT8: 1000 / FPS of the runtime. Its networks are of Rockchip's own forks."""
    return [
        _point(row["graph"], int(row["input_px"]), float(row["ms"]), "airockchip")
        for row in _rows("atlas/latency_facts.csv")
        if row["device"].startswith(f"rockchip {chip}") and row["graph"]
    ]


def _documented(runtime: str) -> list[MeasuredNetwork]:
    """YOLO11 on a Raspberry Pi 5 in the Ultralytics documentation: the network alone."""
    return [
        _point(row["graph"], int(row["input_px"]), float(row["ms"]), "ultralytics")
        for row in _rows("atlas/latency_facts.csv")
        if row["device"] == "Raspberry Pi 5" and row["runtime"] == runtime and row["graph"]
    ]


@cache
def _rows(path: str) -> list[dict[str, str]]:
    with (SHARED["folder"] / path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@cache
def _graphs() -> dict[str, Graph]:
    """Graphs by name; those of ``t4`` first, which have the names of its table."""
    graphs: dict[str, Graph] = {}
    for folder in ("atlas", "t4"):
        with gzip.open(SHARED["folder"] / folder / "graphs.jsonl.gz", "rt", encoding="utf-8") as lines:
            graphs |= {graph.name: graph for graph in (Graph.from_json(json.loads(line)) for line in lines)}
    return graphs


@cache
def _families() -> dict[str, str]:
    return {row["arch"]: row["family"] for row in _rows("atlas/accuracy.csv")} | {
        row["model"]: row["family"] for row in _rows("t4/latency.csv")
    }


@cache
def _point(graph: str, px: int, ms: float, source: str, family: str = "") -> MeasuredNetwork:
    family = family or _families()[graph]
    network, family = _graphs()[graph], RELATED.get(family, family)
    return MeasuredNetwork(graph, family, px, ms, network, costed(network.table(px)), source=source)


def disagreement(points: Sequence[MeasuredNetwork]) -> list[tuple[str, str, int, float, float, float]]:
    """Two sources, how many networks both have, and the first's time over the second's: median and extremes."""
    times: dict[str, dict[tuple[str, int], float]] = {}
    for p in points:
        times.setdefault(p.source, {})[SAME.get(p.name, p.name), p.input_px] = p.ms
    rows = []
    for first, second in itertools.combinations(times, 2):
        ratios = [times[first][key] / times[second][key] for key in times[first].keys() & times[second].keys()]
        if ratios:
            rows.append((first, second, len(ratios), statistics.median(ratios), min(ratios), max(ratios)))
    return rows


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pi5", action="store_true", help="the Raspberry Pi 5 instead of the T4")
    parser.add_argument("--shared", type=Path, default=SHARED["folder"], help="folder with t4, facts and atlas")
    args = parser.parse_args()
    SHARED["folder"] = args.shared
    print("| source | beside | networks | median ratio | lowest | highest |")
    print("|---|---|---|---|---|---|")
    for first, second, count, middle, low, high in disagreement(pi5_points() if args.pi5 else t4_points(True)):
        print(f"| {first} | {second} | {count} | {middle:.2f} | {low:.2f} | {high:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
