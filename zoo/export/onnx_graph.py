"""A folded detector as an ONNX graph, and that graph as a file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from zoo.detector import Detector
from zoo.export import ultralytics_layout
from zoo.export.deployed import Deployed, example_input, module_names, quiet_tracing
from zoo.export.half_precision import convert_to_half
from zoo.export.metadata import metadata
from zoo.export.onnx_nms import add_nms
from zoo.export.options import ExportOptions


def onnx_graph(folded: Detector, options: ExportOptions) -> Any:
    """A folded detector as an ONNX ModelProto in FP32, whatever ``options.half`` says."""
    import onnx

    decoded = ["boxes", "scores"]
    names = ["detections", *decoded] if options.form == "end2end" else decoded
    axes = {"image": {0: "batch", 2: "height", 3: "width"}, **{name: {0: "batch", 1: "rows"} for name in names}}
    if options.form == "nms":
        axes = {"image": {2: "height", 3: "width"}, **{name: {1: "rows"} for name in names}}
    with quiet_tracing(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            Deployed(folded, options.form),
            (example_input(options),),
            str(path),
            opset_version=options.opset,
            dynamo=False,
            input_names=["image"],
            output_names=names,
            dynamic_axes=axes if options.dynamic else None,
        )
        model = onnx.load(str(path))
    if options.form == "nms":
        add_nms(model, folded.selection, folded.classes)
    if options.form == "end2end":
        # Boxes and scores stay inside the graph, where the gap is measured.
        del model.graph.output[1:]
    return model


def save_onnx(folded: Detector, path: Path, options: ExportOptions, onnx_model: Any = None) -> None:
    """Write an ONNX file with its metadata; ``onnx_model`` is the graph of ``onnx_graph`` if it was traced before."""
    import onnx

    if onnx_model is None:
        model = onnx_graph(folded, options)
    else:
        model = type(onnx_model).FromString(onnx_model.SerializeToString())
    if options.half:
        model = convert_to_half(model, module_names(folded), options.fp32_layers)
    described = metadata(folded, options)
    if options.layout == ultralytics_layout.NAME:
        ultralytics_layout.add_layout(model, folded, options.form)
        described |= ultralytics_layout.layout_metadata(folded, options)
    for key, value in described.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    model.producer_name = "nas-workbench"
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
