"""Write a detector for deployment, folded, and measure how far it strays from torch. Exit code 1 when it drifts.

MODEL is one of our checkpoints (.safetensors), an architecture YAML, a run folder, or a name of `nas zoo` (the last
three with fresh, untrained weights: enough for timing).

examples:
  nas export best.safetensors --format onnx
  nas export yolo26n.safetensors --format onnx --end2end
  nas export yolox-s.safetensors --format openvino --nms --input 416
  nas export runs/NAME --format tinynas > structure.txt
"""

from __future__ import annotations

import argparse

HELP = "write ONNX, OpenVINO, TorchScript, TensorRT or TinyNAS text, with the gap measured"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas export``."""
    parser.add_argument("model", metavar="MODEL", help="checkpoint, architecture YAML, run folder or model name")
    parser.add_argument("--format", required=True, choices=("onnx", "openvino", "torchscript", "tensorrt", "tinynas"), help="what to write")
    parser.add_argument("--out", metavar="FILE", help="file to write (default: the model's name, here)")
    parser.add_argument("--input", metavar="PX", help="input side, or HEIGHTxWIDTH (default: the model's own)")
    parser.add_argument("--batch", type=int, default=1, help="images a run (default: %(default)s)")
    parser.add_argument("--dynamic", action="store_true", help="leave batch and sides open (onnx, openvino)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--nms", action="store_true", help="put non-maximum suppression inside (onnx, openvino; batch 1)")
    form.add_argument("--end2end", action="store_true", help="detections from an NMS-free model, no suppression inside")
    parser.add_argument("--branch", help="branch of a head that has two: one_to_one or one_to_many")
    parser.add_argument("--opset", type=int, default=17, help="ONNX operator set (default: %(default)s)")
    parser.add_argument("--half", action="store_true", help="FP16 weights (openvino, tensorrt)")
    parser.add_argument("--tolerance", type=float, metavar="SHARE", help="largest gap: boxes in input sides, scores as they are (default: 0.001, with --half 0.02)")
    parser.add_argument("--seed", type=int, default=0, help="seed of untrained weights (default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Write the file, print its gap."""
    import dataclasses
    import math

    from nas.console import Progress, print_json, table

    if args.format == "tinynas":
        return _tinynas(args)
    from nas.resolve import resolve_detector
    from zoo.export import FORMATS, Options, export

    detector, trained = resolve_detector(args.model, args.seed)
    if args.branch:
        detector.choose_branch(args.branch)
    height, width = _size(args.input) if args.input else (detector.info.input_px,) * 2
    form = "nms" if args.nms else "end2end" if args.end2end else "decoded"
    options = Options(form, height, width, args.batch, args.dynamic, args.opset, args.half, args.tolerance)
    name = args.out or _file_stem(args.model, detector.recipe.model) + FORMATS[args.format].suffix
    progress = Progress(args.quiet)
    written = export(detector, name, args.format, options, lambda text: progress.show(text, force=True))
    progress.done()
    if args.json:
        settings = {**dataclasses.asdict(options), "tolerance": written.tolerance}
        gaps = {
            output: {key: value if not isinstance(value, float) or math.isfinite(value) else None for key, value in dataclasses.asdict(gap).items()}
            for output, gap in written.gaps.items()
        }
        print_json({"file": str(written.path), "format": args.format, **settings, "trained": trained, "gaps": gaps, "faithful": written.faithful})
        return 0 if written.faithful else 1
    rows = [[output, "-" if gap.fault else f"{gap.absolute:.2e}", "-" if gap.fault else f"{gap.relative:.2e}", gap.rows] for output, gap in written.gaps.items()]
    print(table(["output", "largest gap", "relative", "rows compared"], rows))
    size = sum(written.path.with_suffix(suffix).stat().st_size for suffix in (written.path.suffix, *FORMATS[args.format].beside))
    weights = ("" if trained else ", untrained weights") + (", FP16" if args.half else "")
    print(f"\n{detector.recipe.model}{weights}: wrote {written.path} ({size / 1e6:.1f} MB, {form}, {args.batch} x 3 x {height} x {width}{', open sizes' if args.dynamic else ''})")
    for output, gap in written.gaps.items():
        if gap.fault:
            print(f"{output}: {gap.fault}")
    verdict = "agrees with torch" if written.faithful else "DRIFTS from torch"
    print(f"{verdict}: a relative gap up to {written.tolerance:g} is allowed")
    return 0 if written.faithful else 1


def _file_stem(text: str, model: str) -> str:
    """The name of the file to write: a checkpoint's own, else the model's, of plain characters."""
    import re
    from pathlib import Path

    stem = Path(text).stem if Path(text).suffix == ".safetensors" else model
    return re.sub(r"[^\w.+-]+", "-", stem).strip("-.") or "model"


def _size(text: str) -> tuple[int, int]:
    """``640`` or ``480x640`` as (height, width) in pixels."""
    from search_spaces.errors import BadInput

    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise BadInput(f"--input {text!r} must be a side in pixels such as 640, or HEIGHTxWIDTH such as 480x640")
    return int(parts[0]), int(parts[-1])


def _tinynas(args: argparse.Namespace) -> int:
    """The structure text that the official DAMO-YOLO code reads."""
    from nas.resolve import resolve_subject
    from search_spaces.errors import BadInput
    from search_spaces.files import write_atomic
    from search_spaces.tinynas_text import to_text

    arch = resolve_subject(args.model).arch
    if arch is None:
        raise BadInput(f"{args.model!r} has no architecture of this workbench: only DAMO-YOLO-style detectors have a TinyNAS text")
    text = to_text(arch, "damo")
    if args.out:
        write_atomic(args.out, text)
        print(f"wrote {args.out}")
    else:
        print(text, end="")
    return 0
