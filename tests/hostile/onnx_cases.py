"""Hostile ONNX files: ops with telling names, malformed attributes, shapes that do not fit, damaged bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.hostile.runner import ANY, Case, file_case
from tests.hostile.values import BYTES, ESCAPE, damaged

COMMANDS = ("cost {}", "show {}", "latency {} --device t4")
READER_NAMES = (
    "Init",
    "Ints",
    "Push",
    "Fail",
    "Node",
    "Plain",
    "Recorded",
    "Weight_Shape",
    "Pads",
    "Elementwise",
    "__class__",
    "Graph",
    "Conv",
    "CONV",
    "Linear",
    "Deconv",
    "Bn",
    "Act",
    "Scale",
    "_init__",
    "",
    ESCAPE,
    "x" * 5000,
)


def network(
    nodes: list[Any], size: tuple[Any, ...] = (1, 3, 64, 64), weights: dict[str, np.ndarray] | None = None
) -> Any:
    """A model of these nodes from ``x`` to ``y``, with a 3 x 3 convolution's weight ``w``."""
    arrays = {"w": np.zeros((8, 3, 3, 3), np.float32), **(weights or {})}
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, size)
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "hostile", [image], [out], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def conv(**attributes: Any) -> Any:
    """A convolution from ``x`` to ``h``."""
    return helper.make_node("Conv", ["x", "w"], ["h"], **{"strides": [2, 2], "pads": [1, 1, 1, 1], **attributes})


def relu(source: str = "h") -> Any:
    """An activation to ``y``."""
    return helper.make_node("Relu", [source], ["y"])


def onnx_cases() -> list[Case]:
    """All cases of ONNX."""
    models: dict[str, Any] = {}
    for place, name in enumerate(READER_NAMES):
        models[f"op-{place}"] = network([conv(), helper.make_node(name, ["h"], ["y"])])
        models[f"op-attributes-{place}"] = network([conv(), helper.make_node(name, ["h"], ["y"], axis=7, perm=[9])])
    models |= attribute_models() | structure_models()
    cases = [
        file_case(f"onnx/{name}", COMMANDS[place % 3], "m.onnx", model.SerializeToString(), ANY)
        for place, (name, model) in enumerate(models.items())
    ]
    good = network([conv(), relu()]).SerializeToString()
    cases += [
        file_case(f"onnx/damaged-{seed}", COMMANDS[seed % 3], "m.onnx", damaged(good, seed), ANY) for seed in range(40)
    ]
    cases += [file_case(f"onnx/bytes-{name}", "cost {}", "m.onnx", data) for name, data in BYTES.items()]
    for command in (
        "bench {} --seconds 0.1 --rounds 1",
        "predict {} x.png",
        "eval {} --data x",
        "compare {} --no-zoo --quiet",
    ):
        cases.append(file_case(f"onnx/other-{command.split()[0]}", command, "m.onnx", damaged(good, 3), ANY))
    return cases


def attribute_models() -> dict[str, Any]:
    """Convolutions, poolings and others with attributes out of range or of another type."""
    values: dict[str, Any] = {
        "zeros": [0, 0],
        "negative": [-1, -2],
        "one": [3],
        "many": [1] * 500,
        "text": "x",
        "float": 1.5,
        "number": 0,
        "huge": [2**62, 2**62],
        "texts": ["a", "b"],
    }
    models = {}
    for key in ("strides", "pads", "dilations", "kernel_shape", "group", "auto_pad"):
        for name, value in values.items():
            models[f"conv-{key}-{name}"] = network([conv(**{key: value}), relu()])
    for key in ("strides", "pads", "kernel_shape", "ceil_mode"):
        for name, value in values.items():
            pool = helper.make_node("MaxPool", ["h"], ["y"], **{"kernel_shape": [2, 2], key: value})
            models[f"pool-{key}-{name}"] = network([conv(), pool])
    for op in ("Concat", "Split", "Softmax", "Transpose", "ReduceMean", "Gather", "Flatten", "TopK"):
        for key, value in (("axis", 99), ("axis", "x"), ("perm", [7, 7]), ("axis", -(2**60))):
            models[f"{op}-{key}-{str(value)[:3]}"] = network(
                [conv(), helper.make_node(op, ["h"], ["y"], **{key: value})]
            )
    return models


def structure_models() -> dict[str, Any]:
    """Models that lack something, go in circles, or state sizes that do not fit."""
    node = helper.make_node
    models = {
        "no-inputs": network([node("Conv", [], ["h"]), relu()]),
        "no-outputs": network([node("Conv", ["x", "w"], []), relu("x")]),
        "no-weight": network([node("Conv", ["x"], ["y"])]),
        "unknown-weight": network([node("Conv", ["x", "q"], ["y"])]),
        "weight-1d": network([node("Conv", ["x", "v"], ["y"])], weights={"v": np.zeros(3, np.float32)}),
        "weight-0": network([node("Conv", ["x", "v"], ["y"])], weights={"v": np.zeros((0, 3, 3, 3), np.float32)}),
        "weight-5d": network([node("Conv", ["x", "v"], ["y"])], weights={"v": np.zeros((1, 3, 1, 1, 1), np.float32)}),
        "deconv-1d": network([node("ConvTranspose", ["x", "v"], ["y"])], weights={"v": np.zeros(3, np.float32)}),
        "circle": network([node("Relu", ["y"], ["h"]), relu()]),
        "open": network([conv(), relu()], ("n", 3, "h", "w")),
        "flat": network([conv(), relu()], (1, 3)),
        "huge": network([conv(), relu()], (1, 3, 2**40, 2**40)),
        "negative": network([conv(), relu()], (1, 3, -5, -5)),
        "no-shape": network([conv(), relu()], ()),
        "pool-bare": network([conv(), node("MaxPool", ["h"], ["y"])]),
        "bn-bare": network([conv(), node("BatchNormalization", ["h"], ["y"])]),
        "gemm-bare": network([node("Gemm", ["x"], ["y"])]),
        "matmul-bare": network([node("MatMul", ["x"], ["y"])]),
        "matmul-1d": network([node("MatMul", ["x", "v"], ["y"])], weights={"v": np.zeros(3, np.float32)}),
        "add-bare": network([node("Add", ["x"], ["y"])]),
        "slice-bare": network([node("Slice", ["x"], ["y"])]),
        "resize-bare": network([node("Resize", ["x"], ["y"])]),
        "split-bare": network([node("Split", ["x"], ["y", "z"])]),
        "constant-bare": network([node("Constant", [], ["c"]), relu("x")]),
        "constant-nothing": network([node("Constant", [], []), relu("x")]),
        "identity-nothing": network([node("Identity", [], ["c"]), relu("x")]),
        "names": network([conv(name=ESCAPE), relu()]),
        "deep": network(
            [node("Relu", [f"t{i}" if i else "x"], [f"t{i + 1}" if i < 4999 else "y"]) for i in range(5000)]
        ),
        "twice": network([conv(), conv(), relu()]),
        "slice-text": network([node("Slice", ["x", "s", "s"], ["y"])], weights={"s": np.array([b"a"], dtype=object)}),
    }
    changes: dict[str, Callable[[Any], object]] = {
        "no-opset": lambda m: m.ClearField("opset_import"),
        "opset": lambda m: setattr(m.opset_import[0], "version", 10**9),
        "external": external,
        "claimed-dims": lambda m: m.graph.initializer[0].dims.extend([2**40, 2**40]),
        "wrong-type": lambda m: setattr(m.graph.initializer[0], "data_type", 999),
        "recursion": recursion,
        "attribute-type": lambda m: setattr(m.graph.node[0].attribute[0], "type", 0),
        "no-graph": lambda m: m.ClearField("graph"),
        "no-input": lambda m: m.graph.ClearField("input"),
        "no-output": lambda m: m.graph.ClearField("output"),
        "graph-name": lambda m: setattr(m.graph, "name", ESCAPE),
        "negative-dims": lambda m: m.graph.initializer[0].dims.insert(0, -4),
        "sequence": lambda m: m.graph.input[0].type.sequence_type.elem_type.tensor_type.ClearField("shape"),
    }
    for name, change in changes.items():
        model = network([conv(), relu()])
        change(model)
        models[f"changed-{name}"] = model
    return models


def external(model: Any) -> None:
    """Weights that claim to lie outside the folder."""
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location, tensor.data_type = TensorProto.EXTERNAL, TensorProto.INT64
    del tensor.dims[:]
    tensor.dims.append(4)
    tensor.external_data.add(key="location", value="../../../../etc/passwd")


def recursion(model: Any) -> None:
    """A function that calls itself."""
    inner = onnx.helper.make_node("Own", ["a"], ["b"], domain="own")
    model.functions.append(helper.make_function("own", "Own", ["a"], ["b"], [inner], [helper.make_opsetid("own", 1)]))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node[1].op_type, model.graph.node[1].domain = "Own", "own"
