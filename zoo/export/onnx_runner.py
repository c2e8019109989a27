"""ONNX files in ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from zoo.export.formats.format import Runner
from zoo.export.half_precision import emulate_half, has_half
from zoo.export.ultralytics_layout import NAME, read_layout


def onnx_runner(path: Path, inner: Sequence[str] = ()) -> Runner:
    """Load an ONNX file; a run returns its outputs and the tensors ``inner`` from inside the graph.

    A file in FP16 is rounded as hardware with FP16 arithmetic rounds.
    """
    import onnx
    import onnxruntime

    model = onnx.load(str(path))
    if has_half(model):
        model = emulate_half(model)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3  # its warnings are about initializers that it moves
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    (fed,) = (feed.name for feed in session.get_inputs())

    def run(image: Tensor) -> Mapping[str, Tensor]:
        return dict(zip(names, map(torch.from_numpy, session.run(names, {fed: image.numpy()})), strict=True))

    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return read_layout(run, metadata) if metadata.get("layout") == NAME else run
