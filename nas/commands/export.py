"""Write a detector for deployment, folded, and measure its gap to torch. Exit code 1 if it drifts.

MODEL is a checkpoint (.safetensors); or an architecture YAML, a run folder, or a name of `nas zoo`, all three with
untrained weights, which is enough for timing.

examples:
  nas export best.safetensors --format onnx
  nas export yolo26n.safetensors --format onnx --end2end
  nas export yolox-s.safetensors --format openvino --nms --input 416
  nas export best.safetensors --format onnx --half --verify my-data
  nas export best.safetensors --format onnx --int8 --calibrate my-data --verify my-data
  nas export runs/NAME --format tinynas > structure.txt

With --verify, torch and the file are evaluated on the val split of your data, and the exit code is 1 if AP changes.
Layers that FP16 breaks, or that cost too much AP in INT8, are searched for and put into FP32 first.
"""

from __future__ import annotations

import argparse

from nas.commands import options

HELP = "write ONNX, OpenVINO, TorchScript, TensorRT, NCNN, LiteRT or TinyNAS text, with the gap measured"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas export``."""
    from zoo.export.formats import FORMATS
    from zoo.export.options import LAYOUTS, RANGES

    add = parser.add_argument
    options.add_model_argument(add)
    add("--format", required=True, choices=(*FORMATS, "tinynas"), help="format to write")
    add("--out", metavar="FILE", help="file to write (default: the model's name, here)")
    add("--input", metavar="PX", dest="input_px", help="input side, or HEIGHTxWIDTH (default: the model's own)")
    options.add_batch_option(add, 1)
    add("--dynamic", action="store_true", help="leave batch and sides open (onnx, openvino)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--nms", action="store_true", help="put non-maximum suppression inside (onnx, openvino; batch 1)")
    form.add_argument("--end2end", action="store_true", help="detections of an NMS-free model, without suppression")
    options.add_branch_option(add)
    add("--opset", type=int, default=17, help="ONNX operator set (default: %(default)s)")
    add("--layout", choices=LAYOUTS, default=LAYOUTS[0],
        help="of an ONNX file: our own (default), or the one that clients of Ultralytics' files read")  # fmt: skip
    add("--half", action="store_true",
        help="FP16 weights (onnx, openvino, tensorrt, ncnn); onnx and tensorrt compute in FP16 too")  # fmt: skip
    add("--int8", action="store_true",
        help="INT8 in the layers with weights, by calibration (onnx, openvino, ncnn)")  # fmt: skip
    add("--calibrate", metavar="DATA", help="images for --int8: a folder, or data whose train split is used")
    add("--images", type=int, metavar="N", help="number of images to calibrate on (default: 100)")
    add("--ranges", choices=RANGES, help="how --int8 finds the ranges of activations (default: min-max)")
    add("--max-drop", metavar="AP",
        help="largest loss of AP in INT8, such as 0.5AP or 0.005 (default: 0.5AP); the fewest layers that keep it "
             "stay in FP32")  # fmt: skip
    add("--fp32-layers", nargs="+", default=[], metavar="LAYER",
        help="modules that stay in FP32 with --half or --int8, by their names in torch")  # fmt: skip
    add("--verify", metavar="DATA",
        help="compare AP on the val split of DATA before and after, and repair what FP16 breaks")  # fmt: skip
    add("--ap-tolerance", type=float, metavar="AP",
        help="largest change of AP, 0 to 1 (default: 0.001, with --half 0.005)")  # fmt: skip
    add("--tolerance", type=float, metavar="SHARE",
        help="largest gap: boxes in input sides, scores as they are (default: 0.001, with --half 0.02, with --int8 "
             "none)")  # fmt: skip
    options.add_seed_option(add, "untrained weights")
    options.add_output_options(add)


def run(args: argparse.Namespace) -> int:
    """Write the file, print its gap."""
    from nas.api.export import ExportResult, export
    from workbench.console import print_json

    result = export(**options.api_options(args))
    if args.json and isinstance(result, ExportResult):
        print_json(result.to_dict())
    else:
        print(result)
    return 0 if result.passed else 1
