"""Foreign ONNX files made ready to run: open input sizes fixed, external weights included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workbench.errors import BadInput


def fix_input_size(model: Any, px: int) -> bool:
    """Set an open height and width of the first input of a ModelProto to ``px``; whether there was any."""
    weights = {tensor.name for tensor in model.graph.initializer}
    image = next((value for value in model.graph.input if value.name not in weights), None)
    dims = image.type.tensor_type.shape.dim if image is not None else []
    if len(dims) != 4 or all(d.dim_value > 0 for d in dims[2:]):
        return False
    for position, dim in enumerate(dims):
        if dim.dim_value <= 0 and position != 1:
            dim.dim_value = px if position > 1 else 1
    # Recorded shapes of inner tensors still contain the open dimensions.
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return True


def onnx_bytes(path: Path, model: Any) -> bytes:
    """The bytes that a runtime loads: ``model`` (the file itself if None) with its external weights included."""
    import onnx
    from onnx.external_data_helper import load_external_data_for_model, uses_external_data

    if model is None:
        model = onnx.load(str(path), load_external_data=False)
        if not any(uses_external_data(tensor) for tensor in model.graph.initializer):
            return path.read_bytes()
    try:
        load_external_data_for_model(model, str(path.parent))
        return bytes(model.SerializeToString())
    except Exception as error:  # onnx has its own types for missing, short and misplaced files; protobuf for > 2 GiB
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"{str(path)!r}: the weights beside it cannot be read: {reason}") from error
