"""Small networks: a chain of ours, and an ONNX file as another tool might write it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder

onnx = pytest.importorskip("onnx")


def chain(width: int = 16, depth: int = 2) -> Graph:
    g = GraphBuilder(3)
    x = g.conv(-1, width, 3, 2, act="silu")
    for _ in range(depth):
        x = g.conv(x, width, 3, act="relu")
    graph = g.finish([x])
    return Graph(graph.ops, graph.inputs, graph.outputs, f"chain-{width}-{depth}")


def foreign(dims: tuple[Any, ...] = (1, 3, 64, 64), edit: Callable[[Any], None] | None = None) -> Any:
    """A small network as another tool might write it: a sum of a conv and its upsampled half, sizes asked at run
    time."""
    helper, proto = onnx.helper, onnx.TensorProto
    weights = [
        onnx.numpy_helper.from_array(np.full((8, 3, 3, 3), 0.01, dtype=np.float32), "w"),
        onnx.numpy_helper.from_array(np.array([2, 3], dtype=np.int64), "sides"),
    ]
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["a"], name="model.0::Conv/α", pads=[1, 1, 1, 1], strides=[1, 1]),
        helper.make_node("MaxPool", ["a"], ["half"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Shape", ["a"], ["shape"]),
        helper.make_node("Gather", ["shape", "sides"], ["wanted"]),
        helper.make_node("Shape", ["half"], ["short"]),
        helper.make_node(
            "Constant", [], ["lead"], value=onnx.numpy_helper.from_array(np.array([0, 1], dtype=np.int64))
        ),
        helper.make_node("Gather", ["short", "lead"], ["front"]),
        helper.make_node("Concat", ["front", "wanted"], ["target"], axis=0),
        helper.make_node("Resize", ["half", "", "", "target"], ["whole"], mode="nearest"),
        helper.make_node("Add", ["a", "whole"], ["out"]),
    ]
    image = helper.make_tensor_value_info("image", proto.FLOAT, list(dims))
    result = helper.make_tensor_value_info("out", proto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph(nodes, "g", [image], [result], weights), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    if edit is not None:
        edit(model)
    return model


def saved(folder: Path, model: Any, **how: Any) -> str:
    path = folder / "foreign.onnx"
    onnx.save(model, str(path), **how)
    return str(path)
