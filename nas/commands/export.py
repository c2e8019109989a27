"""Write a detector for deployment, folded, and measure how far it strays from torch. Exit code 1 when it drifts.

MODEL is one of our checkpoints (.safetensors), an architecture YAML, a run folder, or a name of `nas zoo` (the last
three with fresh, untrained weights: enough for timing).

examples:
  nas export best.safetensors --format onnx
  nas export yolo26n.safetensors --format onnx --end2end
  nas export yolox-s.safetensors --format openvino --nms --input 416
  nas export best.safetensors --format onnx --half --verify my-data
  nas export runs/NAME --format tinynas > structure.txt

With --verify the file is a test: torch and the file see the val split of your data, and the exit code is 1 when AP drifts. A
layer that FP16 breaks is searched for and put into FP32 before that is said.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distill.train.evaluate import EvaluationResult
    from distill.verify.export import Verified
    from workbench.console import Progress
    from zoo.detector import Detector
    from zoo.export.write import Options

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
    from dataclasses import asdict

    from workbench.console import Progress, print_json, table
    from workbench.errors import BadInput

    if args.ap_tolerance is not None and args.verify is None:
        raise BadInput("--ap-tolerance says how far AP may change, which --verify DATA measures: give both or neither")
    if args.format == "tinynas":
        if args.verify is not None:
            raise BadInput("--verify: a TinyNAS text is a structure and cannot run; verify another format")
        return _tinynas(args)
    from zoo.export.write import FORMATS, Options, export, plain_gap
    from zoo.resolve import resolve_detector

    detector, trained = resolve_detector(args.model, args.seed)
    if args.branch:
        detector.choose_branch(args.branch)
    height, width = _size(args.input) if args.input else (detector.info.input_px,) * 2
    form = "nms" if args.nms else "end2end" if args.end2end else "decoded"
    options = Options(form, height, width, args.batch, args.dynamic, args.opset, args.half, args.tolerance, tuple(args.fp32_layers))
    name = args.out or _file_stem(args.model, detector.recipe.model) + FORMATS[args.format].suffix
    progress = Progress(args.quiet)
    verified: Verified | None = None
    try:
        if args.verify is None:
            written = export(detector, name, args.format, options, lambda text: progress.show(text, force=True))
        else:
            verified = _verified(detector, name, args, options, progress)
            written = verified.check.written
    finally:
        progress.done()
    sound = written.faithful if verified is None else not verified.drifts
    if args.json:
        settings = {**asdict(options), "tolerance": written.tolerance, "keep": [*options.keep, *(verified.repaired if verified else ())]}
        report = {"file": str(written.path), "format": args.format, **settings, "trained": trained, "gaps": {k: plain_gap(gap) for k, gap in written.gaps.items()}}
        print_json({**report, "faithful": written.faithful, "verify": verified and verified.to_dict()})
        return 0 if sound else 1
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
    if verified is not None:
        _print_verified(verified, args.verify)
    return 0 if sound else 1


def _verified(detector: Detector, name: str, args: argparse.Namespace, options: Options, progress: Progress) -> Verified:
    """Write the file and judge it on the data, with a line for every step."""
    from workbench.errors import missing_package

    try:
        import pycocotools  # noqa: F401

        from distill.data.formats.readers import open_data
        from distill.verify.export import export_verified
    except ModuleNotFoundError as error:
        raise missing_package("verifying an export", error.name, "train") from error
    return export_verified(detector, name, args.format, options, open_data(args.verify, "val"), args.ap_tolerance, progress.show)


def _print_verified(verified: Verified, data: str) -> None:
    """AP before and after, what was repaired, and the verdict."""
    from workbench.console import table

    check = verified.check
    files = [("file before the repair", verified.first.compared)] if verified.repaired else []
    rows = [["torch", *_aps(check.compared.torch), "-"]]
    for what, compared in (*files, ("file", check.compared)):
        rows.append([what, *_aps(compared.file), f"{compared.widest:.1e}"])
    print(f"\n{check.compared.images} images of {data} (val)")
    print(table([" ", "AP", "AP50", "largest gap"], rows))
    print(f"\na change of AP up to {check.ap_tolerance:g} is allowed")
    if not check.ap_tells:
        print("AP says nothing here: torch's own is not above that, so the gap on these images decides")
    if verified.repaired:
        print(f"repaired: {', '.join(verified.repaired)} in FP32 (found in {verified.trials} trials)")
    elif verified.note:
        print(f"not repaired: {verified.note}")
    for reason in check.reasons:
        print(f"DRIFTS: {reason}")
    if not check.reasons:
        print("verified")


def _aps(verdict: EvaluationResult) -> list[str]:
    """AP and AP50, or dashes where there is nothing to find."""
    values = (verdict.summary["ap"], verdict.summary["ap50"])
    return ["-" if value is None else f"{value:.4f}" for value in values]


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
