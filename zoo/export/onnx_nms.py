"""NMS as ONNX nodes behind the decoded boxes and scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.nms import Selection


def add_nms(model: Any, selection: Selection, classes: int) -> None:
    """Append NMS to a ModelProto with ``boxes [1, n, 4]`` and ``scores [1, n, classes]``.

    Its one output becomes ``detections [1, k, 6]``: x1, y1, x2, y2, score, label, best first.
    """
    from onnx import TensorProto, helper

    graph = model.graph
    graph.initializer.extend(_constants(selection, classes))

    def node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        graph.node.append(helper.make_node(kind, list(inputs), [output], name=f"nms/{output}", **attributes))
        return output

    scores = "scores"
    if not selection.multi_label:
        best = node("ArgMax", ["scores"], "nms_best", axis=-1, keepdims=1)
        is_best = node("Equal", [best, "nms_classes"], "nms_is_best")
        scores = node("Where", [is_best, "scores", "nms_zero"], "nms_best_only")
    by_class = node("Transpose", [scores], "nms_by_class", perm=[0, 2, 1])
    limits = ["nms_most", "nms_iou", "nms_score"]
    picked = node("NonMaxSuppression", ["boxes", by_class, *limits], "nms_picked")
    boxes = node("GatherND", ["boxes", node("Gather", [picked, "nms_box"], "nms_where", axis=1)], "nms_boxes")
    values = node("GatherND", [by_class, picked], "nms_values")
    integer_labels = node("Gather", [picked, "nms_class"], "nms_labels", axis=1)
    labels = node("Cast", [integer_labels], "nms_labels_float", to=TensorProto.FLOAT)
    column = node("Unsqueeze", [values, "nms_last"], "nms_column")
    rows = node("Concat", [boxes, column, labels], "nms_rows", axis=1)
    count = node("Min", [node("Shape", [values], "nms_count"), "nms_most"], "nms_kept")
    graph.node.append(helper.make_node("TopK", [values, count], ["nms_top", "nms_order"], name="nms/order", axis=0))
    node("Unsqueeze", [node("Gather", [rows, "nms_order"], "nms_sorted", axis=0), "nms_first"], "detections")
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("detections", TensorProto.FLOAT, [1, "rows", 6]))


def _constants(selection: Selection, classes: int) -> list[Any]:
    """The constants of the NMS nodes as TensorProtos."""
    from onnx import TensorProto, helper

    values: dict[str, tuple[int, list[int], list[Any]]] = {
        "nms_most": (TensorProto.INT64, [1], [selection.max_detections or 2**31 - 1]),
        "nms_iou": (TensorProto.FLOAT, [1], [selection.iou_threshold]),
        "nms_score": (TensorProto.FLOAT, [1], [selection.score_threshold]),
        "nms_zero": (TensorProto.FLOAT, [], [0.0]),
        "nms_first": (TensorProto.INT64, [1], [0]),
        "nms_last": (TensorProto.INT64, [1], [-1]),
        "nms_class": (TensorProto.INT64, [1], [1]),
        "nms_classes": (TensorProto.INT64, [classes], list(range(classes))),
        "nms_box": (TensorProto.INT64, [2], [0, 2]),
    }
    return [helper.make_tensor(name, kind, shape, numbers) for name, (kind, shape, numbers) in values.items()]
