"""The input and output layout that clients of Ultralytics' ONNX files read.

One input ``images`` ``[b, 3, h, w]``, RGB from 0 to 1; one output ``output0``: ``[b, 4 + classes, n]`` (cx, cy, w, h in
input pixels, then class scores), or ``[b, k, 6]`` (x1, y1, x2, y2, score, label) where the file selects detections
itself. The detector's own color order and normalization are put inside. Clients pad an image in its middle; where a
detector was trained with another resize rule (``preprocess`` in the metadata), its AP with such a client can differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.detector import Detector
from zoo.export.options import ExportOptions
from zoo.images import Preprocess

NAME = "ultralytics"
INPUT, OUTPUT = "images", "output0"
TO_CENTER = np.array([[0.5, 0, -1, 0], [0, 0.5, 0, -1], [0.5, 0, 1, 0], [0, 0.5, 0, 1]], np.float32)
"""x1, y1, x2, y2 times this are cx, cy, w, h."""


def add_layout(model: Any, detector: Detector, form: str) -> None:
    """Change a ModelProto with input ``image`` and outputs ``boxes`` and ``scores``, or ``detections``, in place."""
    from onnx import helper, numpy_helper

    graph = model.graph
    initializers, front = graph.initializer, []

    def constant(name: str, value: np.ndarray) -> str:
        initializers.append(numpy_helper.from_array(value, f"layout/{name}"))
        return f"layout/{name}"

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
        return helper.make_node(kind, inputs, [output], name=f"layout/{kind.lower()}_{output}", **attributes)

    scale, shift = _normalization(detector.preprocess)
    at = INPUT
    if detector.preprocess.order == "bgr":
        front.append(node("Gather", [at, constant("bgr", np.array([2, 1, 0]))], "layout/ordered", axis=1))
        at = "layout/ordered"
    front.append(node("Mul", [at, constant("scale", scale)], "layout/scaled"))
    front.append(node("Add", ["layout/scaled", constant("shift", shift)], "image"))
    nodes = [*front, *graph.node]
    if form == "decoded":
        nodes += [
            node("MatMul", ["boxes", constant("to_center", TO_CENTER)], "layout/centers"),
            node("Concat", ["layout/centers", "scores"], "layout/rows", axis=2),
            node("Transpose", ["layout/rows"], OUTPUT, perm=[0, 2, 1]),
        ]
        boxes = next(output for output in graph.output if output.name == "boxes")
        batch, rows = boxes.type.tensor_type.shape.dim[:2]
        shape = [_size(batch), 4 + detector.classes, _size(rows)]
    else:
        nodes.append(node("Identity", ["detections"], OUTPUT))
        shape = [_size(dim) for dim in graph.output[0].type.tensor_type.shape.dim]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.input[0].name = INPUT
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(OUTPUT, 1, shape))


def layout_metadata(detector: Detector, options: ExportOptions) -> dict[str, str]:
    """The keys that such clients read, as they write them, and what the input now is."""
    names = {index: str(name) for index, name in enumerate(detector.info.class_names)}
    client = Preprocess(resize=detector.preprocess.resize, pad=detector.preprocess.pad)
    return {
        "layout": NAME,
        "task": "detect",
        "names": str(names),
        "stride": str(max(detector.strides)),
        "imgsz": str([options.height, options.width]),
        "batch": str(options.batch),
        "channels": "3",
        "end2end": str(options.form != "decoded"),
        "preprocess": json.dumps(asdict(client)),
        "inside": json.dumps(asdict(detector.preprocess)),
    }


def read_layout(
    run: Callable[[Tensor], Mapping[str, Tensor]], metadata: Mapping[str, str]
) -> Callable[[Tensor], Mapping[str, Tensor]]:
    """The runner of a file with this layout as one of our own files: normalized input, outputs by name."""
    inside = json.loads(metadata["inside"])
    preprocess = Preprocess(**{**inside, "mean": tuple(inside["mean"]), "std": tuple(inside["std"])})
    scale, shift = map(torch.from_numpy, _normalization(preprocess))

    def ours(image: Tensor) -> Mapping[str, Tensor]:
        pixels = (image - shift) / scale
        outputs = dict(run(pixels.flip(1) if preprocess.order == "bgr" else pixels))
        found = outputs.pop(OUTPUT)
        if metadata["end2end"] == "True":
            return outputs | {"detections": found}
        rows = found.transpose(1, 2)
        center, half = rows[..., :2], rows[..., 2:4] / 2
        return outputs | {"boxes": torch.cat([center - half, center + half], -1), "scores": rows[..., 4:]}

    return ours


def _normalization(preprocess: Preprocess) -> tuple[np.ndarray, np.ndarray]:
    """``scale`` and ``shift`` ``[1, 3, 1, 1]`` from pixels of 0 to 1 in the detector's order to its input."""
    mean, std = np.array(preprocess.mean), np.array(preprocess.std)
    parts = (255 * preprocess.scale / std, -mean / std)
    scale, shift = (part.astype(np.float32).reshape(1, 3, 1, 1) for part in parts)
    return scale, shift


def _size(dim: Any) -> int | str:
    """A dimension of a ValueInfoProto: its number, or its name where it is open."""
    return int(dim.dim_value) or str(dim.dim_param)
