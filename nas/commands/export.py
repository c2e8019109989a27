"""Write a detector for deployment, folded, and measure how far it strays from torch. Exit code 1 when it drifts.

MODEL is one of our checkpoints (.safetensors), an architecture YAML, a run folder, or a name of `nas zoo` (the last
three with fresh, untrained weights: enough for timing).

examples:
  nas export best.safetensors --format onnx
  nas export yolo26n.safetensors --format onnx --end2end
  nas export yolox-s.safetensors --format openvino --nms --input 416
  nas export best.safetensors --format onnx --half --verify my-data
  nas export runs/NAME --format tinynas > structure.txt

With --verify the file is a test: torch and the file see the val split of your data, and the exit code is 1 when AP
drifts. Layers that FP16 breaks are searched for and put into FP32 first.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distill.verify.verified_export import VerifiedExport
    from workbench.console import Progress
    from zoo.detector import Detector
    from zoo.export.options import ExportOptions

HELP = "write ONNX, OpenVINO, TorchScript, TensorRT or TinyNAS text, with the gap measured"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas export``."""
    from zoo.export.formats import FORMATS

    parser.add_argument("model", metavar="MODEL", help="checkpoint, architecture YAML, run folder or model name")
    parser.add_argument("--format", required=True, choices=(*FORMATS, "tinynas"), help="what to write")
    parser.add_argument("--out", metavar="FILE", help="file to write (default: the model's name, here)")
    parser.add_argument("--input", metavar="PX", help="input side, or HEIGHTxWIDTH (default: the model's own)")
    parser.add_argument("--batch", type=int, default=1, help="images a run (default: %(default)s)")
    parser.add_argument("--dynamic", action="store_true", help="leave batch and sides open (onnx, openvino)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--nms", action="store_true", help="put non-maximum suppression inside (onnx, openvino; batch 1)")
    form.add_argument("--end2end", action="store_true", help="detections from an NMS-free model, no suppression inside")
    parser.add_argument("--branch", help="branch of a head that has two: one_to_one or one_to_many")
    parser.add_argument("--opset", type=int, default=17, help="ONNX operator set (default: %(default)s)")
    parser.add_argument("--half", action="store_true", help="FP16 weights (onnx, openvino, tensorrt); onnx and tensorrt compute in FP16 too")
    parser.add_argument("--fp32-layers", nargs="+", default=[], metavar="LAYER", help="layers that stay in FP32 with --half, by their names in torch")
    parser.add_argument("--verify", metavar="DATA", help="compare AP on the val split of DATA before and after, and repair what FP16 breaks")
    parser.add_argument("--ap-tolerance", type=float, metavar="AP", help="largest change of AP, 0 to 1 (default: 0.001, with --half 0.005)")
    parser.add_argument("--tolerance", type=float, metavar="SHARE", help="largest gap: boxes in input sides, scores as they are (default: 0.001, with --half 0.02)")
    parser.add_argument("--seed", type=int, default=0, help="seed of untrained weights (default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Write the file, print its gap."""
    from workbench.console import Progress, print_json, table
    from workbench.errors import BadInput

    if args.ap_tolerance is not None and args.verify is None:
        raise BadInput("--ap-tolerance says how far AP may change, which --verify DATA measures: give both or neither")
    if args.format == "tinynas":
        if args.verify is not None:
            raise BadInput("--verify: a TinyNAS text is a structure and cannot run; verify another format")
        return _tinynas(args)
    from zoo.export.formats import FORMATS
    from zoo.export.options import ExportOptions
    from zoo.export.write import export
    from zoo.resolve import resolve_detector

    detector, trained = resolve_detector(args.model, args.seed)
    if args.branch:
        detector.choose_branch(args.branch)
    height, width = _size(args.input) if args.input else (detector.info.input_px,) * 2
    form = "nms" if args.nms else "end2end" if args.end2end else "decoded"
    options = ExportOptions(
        form, height, width, args.batch, args.dynamic, args.opset, args.half, args.tolerance, tuple(args.fp32_layers)
    )
    name = args.out or _file_stem(args.model, detector.recipe.model) + FORMATS[args.format].suffix
    progress = Progress(args.quiet)
    verified: VerifiedExport | None = None
    try:
        if args.verify is None:
            file = export(detector, name, args.format, options, lambda text: progress.show(text, force=True))
        else:
            verified = _verified(detector, name, args, options, progress)
            file = verified.check.file
    finally:
        progress.done()
    passed = file.within_tolerance if verified is None else not verified.drifts
    if args.json:
        settings = {**options.to_dict(), "keep": [*options.fp32_layers, *(verified.repaired if verified else ())]}
        report = {"file": str(file.path), "format": args.format, **settings, "trained": trained, **file.to_dict()}
        print_json({**report, "verify": verified and verified.to_dict()})
        return 0 if passed else 1
    print(table(*file.to_table()))
    suffixes = (file.path.suffix, *FORMATS[args.format].companions)
    megabytes = sum(file.path.with_suffix(suffix).stat().st_size for suffix in suffixes) / 1e6
    weights = ("" if trained else ", untrained weights") + (", FP16" if args.half else "")
    shape = f"{args.batch} x 3 x {height} x {width}" + (", open sizes" if args.dynamic else "")
    print(f"\n{detector.recipe.model}{weights}: wrote {file.path} ({megabytes:.1f} MB, {form}, {shape})")
    print(file.verdict())
    if verified is not None:
        print(f"\n{verified.check.comparison.images} images of {args.verify} (val)\n{verified}")
    return 0 if passed else 1


def _verified(
    detector: Detector, name: str, args: argparse.Namespace, options: ExportOptions, progress: Progress
) -> VerifiedExport:
    """Write the file and check it on the data, with a line for every step."""
    from workbench.errors import missing_package

    try:
        import pycocotools  # noqa: F401

        from distill.data.formats.readers import open_data
        from distill.verify.verified_export import export_verified
    except ModuleNotFoundError as error:
        raise missing_package("verifying an export", error.name, "train") from error
    data = open_data(args.verify, "val")
    return export_verified(detector, name, args.format, options, data, args.ap_tolerance, progress.show)


def _file_stem(text: str, model: str) -> str:
    """The name of the file to write: a checkpoint's own, else the model's, of plain characters."""
    import re
    from pathlib import Path

    stem = Path(text).stem if Path(text).suffix == ".safetensors" else model
    return re.sub(r"[^\w.+-]+", "-", stem).strip("-.") or "model"


def _size(text: str) -> tuple[int, int]:
    """``640`` or ``480x640`` as (height, width) in pixels."""
    from workbench.errors import BadInput

    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise BadInput(f"--input {text!r} must be a side in pixels such as 640, or HEIGHTxWIDTH such as 480x640")
    return int(parts[0]), int(parts[-1])


def _tinynas(args: argparse.Namespace) -> int:
    """The structure text that the official DAMO-YOLO code reads."""
    from search_spaces.tinynas_text import to_text
    from workbench.errors import BadInput
    from workbench.files import write_atomic
    from zoo.resolve import resolve_model

    arch = resolve_model(args.model).arch
    if arch is None:
        raise BadInput(f"{args.model!r} has no architecture of this workbench: only DAMO-YOLO-style detectors have a TinyNAS text")
    text = to_text(arch, "damo")
    if args.out:
        write_atomic(args.out, text)
        print(f"wrote {args.out}")
    else:
        print(text, end="")
    return 0
