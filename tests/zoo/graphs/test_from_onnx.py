"""ONNX files as other tools write them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from nas.devices.profile import load_device
from search_spaces.lowering import lower
from search_spaces.published import PUBLISHED
from workbench.errors import BadInput
from zoo.graphs.from_onnx import read_onnx

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper


def save(
    path: Path, nodes: list, weights: dict[str, np.ndarray], out: list[int | str | None], batch: int | str = 1
) -> Path:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, 32, 32])
    result = helper.make_tensor_value_info("out", TensorProto.FLOAT, out)
    arrays = {name: v.astype(np.float32) if v.dtype != np.int64 else v for name, v in weights.items()}
    initial = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "net", [image], [result], initial)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def test_conv_bn_silu_becomes_one_conv_with_any_batch(tmp_path: Path) -> None:
    weights = {"w": np.ones((8, 3, 3, 3)), "s": np.ones(8), "b": np.ones(8), "m": np.ones(8), "v": np.ones(8)}
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"]),
        helper.make_node("Sigmoid", ["n"], ["g"]),
        helper.make_node("Mul", ["n", "g"], ["out"]),
    ]
    graph = read_onnx(save(tmp_path / "a.onnx", nodes, weights, ["batch", 8, 16, 16], "batch"))
    assert [(op.kind, op.act, op.bias) for op in graph] == [("conv", "silu", True)]
    assert graph.shapes() == [(8, 16, 16)]


def test_weights_from_constant_nodes_and_unknown_ops(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(np.ones((4, 3, 1, 1), dtype=np.float32), "k")
    nodes = [
        helper.make_node("Constant", [], ["w"], value=tensor),
        helper.make_node("Conv", ["image", "w"], ["c"]),
        helper.make_node("LRN", ["c"], ["d"], size=3),
        helper.make_node("Relu", ["d"], ["out"]),
    ]
    graph = read_onnx(save(tmp_path / "a.onnx", nodes, {}, [1, 4, 32, 32]))
    assert [op.kind for op in graph] == ["conv", "lrn", "act"]
    assert graph.meta["unknown_ops"] == ["LRN"]
    assert load_device("t4").latency_ms(graph) > load_device("t4").fixed_ms


def test_split_resize_pool_gemm(tmp_path: Path) -> None:
    weights = {
        "w": np.ones((8, 3, 3, 3)), "sizes": np.array([4, 4]), "scales": np.array([1, 1, 2, 2], dtype=np.float32),
        "f": np.ones((10, 8)), "fb": np.ones(10), "half": np.array([0.5]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Split", ["c", "sizes"], ["a", "b"], axis=1),
        helper.make_node("Mul", ["a", "half"], ["h"]),
        helper.make_node("MaxPool", ["b"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Resize", ["p", "", "scales"], ["u"], mode="nearest"),
        helper.make_node("Concat", ["h", "u"], ["j"], axis=1),
        helper.make_node("GlobalAveragePool", ["j"], ["q"]),
        helper.make_node("Flatten", ["q"], ["r"]),
        helper.make_node("Gemm", ["r", "f", "fb"], ["out"], transB=1),
    ]
    graph = read_onnx(save(tmp_path / "a.onnx", nodes, weights, [1, 10]))
    kinds = [op.kind for op in graph]
    expected = "conv slice slice mul_const maxpool upsample concat global_avgpool reshape linear"
    assert kinds == expected.split()
    table = graph.table()
    assert int(table.total(table.params)) == 8 * 3 * 9 + 10 * 8 + 10
    assert graph.shapes()[6] == (8, 32, 32)


def test_our_own_export_comes_back_whole(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from zoo.graphs.to_torch import build_module

    arch = PUBLISHED["damo-yolo-t"]
    path = tmp_path / "t.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces that this exporter will be replaced
        torch.onnx.export(build_module(lower(arch)).eval(), torch.zeros(1, 3, 640, 640), str(path), dynamo=False)
    graph, ours = read_onnx(path), lower(arch)
    profile = load_device("t4")
    assert graph.table().total(graph.table().macs) == ours.table(640).total(ours.table(640).macs)
    # The exporter shares two of the stem's eight strided slices, and a copy costs a little.
    assert profile.latency_ms(graph) == pytest.approx(profile.latency_ms(ours, 640), rel=0.01)


@pytest.mark.parametrize("data", [b"", b"not onnx at all", b"\x00" * 64, b"\x08\x07\x12\x04"])
def test_corrupt_files_get_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(data)
    with pytest.raises(BadInput) as caught:
        read_onnx(path)
    assert "bad.onnx" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file() -> None:
    with pytest.raises(BadInput, match="cannot read"):
        read_onnx("nowhere.onnx")


def test_open_image_size_is_refused(tmp_path: Path) -> None:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "h", "w"])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Relu", ["image"], ["out"])], "n", [image], [out])
    onnx.save(helper.make_model(graph), tmp_path / "o.onnx")
    with pytest.raises(BadInput, match="fixed size"):
        read_onnx(tmp_path / "o.onnx")


def test_sizes_that_lie_in_another_file(tmp_path: Path) -> None:
    scales, flat = np.array([1, 1, 2, 2], dtype=np.float32), np.array([1, -1])
    weights = {"w": np.ones((8, 3, 3, 3)), "scales": scales, "flat": flat}
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Resize", ["c", "", "scales"], ["u"], mode="nearest"),
        helper.make_node("Reshape", ["u", "flat"], ["out"]),
    ]
    whole = save(tmp_path / "whole.onnx", nodes, weights, [1, 8 * 64 * 64])
    model = onnx.load(whole)
    onnx.save(model, tmp_path / "parted.onnx", save_as_external_data=True, location="beside.bin", size_threshold=0)
    assert read_onnx(tmp_path / "parted.onnx").to_json() == read_onnx(whole).to_json() | {"name": "parted"}
    (tmp_path / "beside.bin").write_bytes(b"")
    with pytest.raises(BadInput, match=r"parted\.onnx': the sizes that lie beside it cannot be read"):
        read_onnx(tmp_path / "parted.onnx")
    outside = onnx.load(tmp_path / "parted.onnx", load_external_data=False)
    for tensor in outside.graph.initializer:
        tensor.external_data[0].value = "../beside.bin"
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "led.onnx").write_bytes(outside.SerializeToString())
    with pytest.raises(BadInput, match="cannot be read"):
        read_onnx(tmp_path / "inside" / "led.onnx")
