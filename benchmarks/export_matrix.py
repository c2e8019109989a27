"""Exported files of several detectors in every format and precision: gap, AP, size and time, one JSON line a cell.

    python benchmarks/export_matrix.py --data DATA --input 64 --out rows.jsonl MODEL ...

A MODEL is a checkpoint, whose AP on the val split of DATA is measured before and after, or any other name that ``nas
export`` takes, with untrained weights, of which only the gap is. INT8 is calibrated on 100 images of the train split;
where it loses more than 0.5 AP, the fewest layers that prevent it stay in FP32. A cell that fails has the reason. Cells
that are in the file already are not measured again. Time is the best of 50 runs of the file in its runtime, one thread;
``ratio`` is that over the time of the detector's ONNX file in FP32, run by run in turns with it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import torch

from distill.data.dataset import DataSet
from distill.data.formats.readers import open_data
from distill.train.detect import DetectOptions, detect
from distill.train.evaluate import evaluate_detections
from distill.verify.calibration import Calibration, open_calibration
from distill.verify.comparison import file_ap
from distill.verify.int8_export import MAX_DROP, export_int8_verified, prepare_int8
from workbench.errors import BadInput
from zoo.detector import Detector
from zoo.export.formats import FORMATS, get_format
from zoo.export.formats.format import Runner
from zoo.export.options import ExportOptions
from zoo.export.scenes import prepared_scenes
from zoo.export.write import export, open_exported
from zoo.resolve import resolve_detector

PRECISIONS = ("FP32", "FP16", "INT8")
SKIPPED = ("tensorrt",)
"""Formats that need a GPU."""
RUNS = 50


def measure(
    detector: Detector, format_name: str, precision: str, path: Path, data: DataSet | None, calibration: Calibration,
    side: int,
) -> dict[str, Any]:  # fmt: skip
    """One cell: the file is written, compared with torch, evaluated if ``data`` is given, and timed."""
    options = ExportOptions(height=side, width=side, half=precision == "FP16", int8=precision == "INT8")
    kept: tuple[str, ...] = ()
    job = None
    if precision == "INT8":
        job = prepare_int8(detector, str(path), format_name, options, calibration)
        file, options = job.write((), lambda text: None)
    else:
        file = export(detector, path, format_name, options)
    runner = open_exported(path, format_name, options)
    row: dict[str, Any] = {"gap": max(gap.relative for gap in file.gaps.values())}
    if data is not None:
        row["ap"] = file_ap(detector, runner, options, data)
        row["torch"] = torch_ap(detector, data, side)
        if job is not None and row["torch"] - row["ap"] > MAX_DROP:
            verified = export_int8_verified(job, calibration, data)
            kept, row["ap_all_int8"] = verified.repaired, row["ap"]
            row |= {"ap": verified.check.comparison.file.summary["ap"], "layers": len(job.network.layers)}
            runner = open_exported(path, format_name, options)
    suffixes = get_format(format_name).companions
    row["mb"] = sum(one.stat().st_size for one in (path, *(path.with_suffix(suffix) for suffix in suffixes))) / 1e6
    return {**row, "kept_fp32": list(kept), **timed(detector, runner, path, side)}


def timed(detector: Detector, runner: Runner, path: Path, side: int) -> dict[str, float]:
    """Milliseconds of a run, and their ratio to those of the ONNX file in FP32, written where it is missing."""
    options = ExportOptions(height=side, width=side)
    plain = path.with_name(f"{detector.recipe.model}-FP32{get_format('onnx').suffix}")
    if not plain.exists():
        export(detector, plain, "onnx", options)
    runners, image = (runner, open_exported(plain, "onnx", options)), prepared_scenes(detector, 1, side, side, 1)[0]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(RUNS):
        for one, of_one in zip(runners, times, strict=True):
            began = time.perf_counter()
            one(image)
            of_one.append(time.perf_counter() - began)
    return {"ms": 1e3 * min(times[0]), "ratio": min(times[0]) / min(times[1])}


TORCH_AP: dict[int, float] = {}
"""AP of detectors already evaluated, by identity."""


def torch_ap(detector: Detector, data: DataSet, side: int) -> float:
    """AP of the detector in torch, computed once."""
    if id(detector) not in TORCH_AP:
        found = detect(detector, data, DetectOptions(side, workers=0))
        TORCH_AP[id(detector)] = float(evaluate_detections(data, found).summary["ap"] or 0.0)
    return TORCH_AP[id(detector)]


def main() -> None:
    """Measure all cells that the file of rows lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", required=True)
    parser.add_argument("--input", type=int, required=True)
    parser.add_argument("--images", type=int, help="AP on so many images of the val split (default: all)")
    parser.add_argument("--out", type=Path, required=True)
    formats = [name for name in FORMATS if name not in SKIPPED]
    parser.add_argument("--formats", nargs="+", choices=formats, default=formats)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    known = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    done = {(row["model"], row["format"], row["precision"]) for row in known}
    calibration, folder = open_calibration(args.data), args.out.with_suffix(".files")
    val = open_data(args.data, "val")
    val = dataclasses.replace(val, pictures=val.pictures[: args.images])
    for model in args.models:
        detector, trained = resolve_detector(model)
        for format_name in args.formats:
            for precision in args.precisions:
                if (model, format_name, precision) in done:
                    continue
                row: dict[str, Any] = {"model": model, "format": format_name, "precision": precision}
                path = folder / f"{detector.recipe.model}-{precision}{get_format(format_name).suffix}"
                data = val if trained else None
                try:
                    row["images"] = 0 if data is None else len(data)
                    row |= measure(detector, format_name, precision, path, data, calibration, args.input)
                except BadInput as error:
                    row["fails"] = str(error)
                with args.out.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(row) + "\n")
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
