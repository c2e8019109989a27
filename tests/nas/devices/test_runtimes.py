"""Networks in real runtimes: what can be measured, at which size, and what is said where it cannot."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.devices.runtimes import Network, choose_target, cpus, example, find_network, open_network, worker_cpus
from nas.devices.timing import Plan, time_networks
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from workbench.errors import BadInput

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")


def chain(width: int = 16, depth: int = 2) -> Graph:
    g = GraphBuilder(3)
    x = g.conv(-1, width, 3, 2, act="silu")
    for _ in range(depth):
        x = g.conv(x, width, 3, act="relu")
    graph = g.finish([x])
    return Graph(graph.ops, graph.inputs, graph.outputs, f"chain-{width}-{depth}")


def foreign(dims: tuple[Any, ...] = (1, 3, 64, 64), edit: Callable[[Any], None] | None = None) -> Any:
    """A small network as another tool might write it: a sum of a conv and its upsampled half, sizes asked at run time."""
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
        helper.make_node("Constant", [], ["lead"], value=onnx.numpy_helper.from_array(np.array([0, 1], dtype=np.int64))),
        helper.make_node("Gather", ["short", "lead"], ["front"]),
        helper.make_node("Concat", ["front", "wanted"], ["target"], axis=0),
        helper.make_node("Resize", ["half", "", "", "target"], ["whole"], mode="nearest"),
        helper.make_node("Add", ["a", "whole"], ["out"]),
    ]
    image = helper.make_tensor_value_info("image", proto.FLOAT, list(dims))
    result = helper.make_tensor_value_info("out", proto.FLOAT, None)
    model = helper.make_model(helper.make_graph(nodes, "g", [image], [result], weights), opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    if edit is not None:
        edit(model)
    return model


def saved(folder: Path, model: Any, **how: Any) -> str:
    path = folder / "foreign.onnx"
    onnx.save(model, str(path), **how)
    return str(path)


@pytest.mark.parametrize(
    ("dims", "asked", "size"),
    [
        ((1, 3, 64, 64), None, (64, 64)),
        (("n", 3, 64, 96), None, (64, 96)),
        ((0, 3, 0, 0), 128, (128, 128)),
        (("batch", 3, "height", "width"), 128, (128, 128)),
        (("batch", 3, "height", "width"), None, (640, 640)),
    ],
)
def test_foreign_files_are_costed_and_run_at_one_size(dims: tuple[Any, ...], asked: int | None, size: tuple[int, int], tmp_path: Path) -> None:
    network = find_network(saved(tmp_path, foreign(dims)), asked)
    assert network.size == size
    table = network.graph.table(network.table_px)
    assert table.total(table.macs) == 8 * 3 * 9 * size[0] * size[1]
    assert [op.kind for op in network.graph] == ["conv", "maxpool", "upsample", "add"]
    assert network.graph.ops[0].name == "model.0::Conv/α"
    session = open_network(network, choose_target(threads=1))
    session()


def test_a_size_that_a_file_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="bound to 64 x 64 pixels and cannot run at 128"):
        find_network(saved(tmp_path, foreign()), 128)
    with pytest.raises(BadInput, match="multiple of 32"):
        find_network("damo-yolo-ns", 100)


def test_weights_in_a_file_beside(tmp_path: Path) -> None:
    path = saved(tmp_path, foreign(), save_as_external_data=True, location="beside.bin", size_threshold=100)
    network = find_network(path)
    open_network(network, choose_target(threads=1))()
    (tmp_path / "beside.bin").unlink()
    costed = find_network(path)  # costs need shapes alone
    assert costed.graph.table().total(costed.graph.table().macs) > 0
    with pytest.raises(BadInput, match="weights beside it cannot be read"):
        open_network(costed, choose_target(threads=1))


def test_what_a_runtime_says_against_a_network_is_one_line(tmp_path: Path) -> None:
    def unknown(model: Any) -> None:
        model.opset_import.append(onnx.helper.make_opsetid("my.tools", 1))
        model.graph.node.append(onnx.helper.make_node("FancyAlign", ["out"], ["fancy"], domain="my.tools"))
        model.graph.output.append(onnx.helper.make_tensor_value_info("fancy", onnx.TensorProto.FLOAT, None))

    network = find_network(saved(tmp_path, foreign(edit=unknown)))
    assert network.graph.meta["unknown_ops"] == ["FancyAlign"]
    with pytest.raises(BadInput, match=r"ONNX Runtime cannot run foreign: .*FancyAlign") as error:
        open_network(network, choose_target(threads=1))
    assert "\n" not in str(error.value)


def test_torch_does_not_run_foreign_files(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with pytest.raises(BadInput, match="torch does not run"):
        open_network(find_network(saved(tmp_path, foreign())), choose_target(runtime="torch", threads=1))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "torch"])
def test_every_runtime_runs_ours_and_sees_which_is_larger(runtime: str) -> None:
    pytest.importorskip({"onnxruntime": "onnxruntime"}.get(runtime, runtime))
    target = choose_target(runtime=runtime, threads=1)
    assert target.describe().endswith(", 1 thread") and any(c.isdigit() for c in target.describe())
    small, large = (Network.of_graph(chain(width, depth), (96, 96)) for width, depth in ((8, 1), (64, 6)))
    timings = time_networks([open_network(small, target), open_network(large, target)], Plan(seconds=0.3, rounds=3))
    # 64^2 x 6 / 8^2 is 384 times the work; on the busiest machine more than three times the time.
    assert timings[1].p50_ms > 3 * timings[0].p50_ms > 0


def test_zoo_models_run_to_their_raw_maps() -> None:
    pytest.importorskip("torch")
    network = find_network("yolox-nano", 64)
    assert network.size == (64, 64)
    session = ort.InferenceSession(network.onnx(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": np.zeros((1, 3, 64, 64), dtype=np.float32)})
    assert {value.shape[-2:] for value in found} == {(8, 8), (4, 4), (2, 2)}, "no decoding: three levels of maps"


@pytest.mark.slow
def test_the_same_bench_twice_agrees_within_its_interval() -> None:
    """Real networks, two measurements one after the other; each interval must hold the other's median in 8 of 10."""
    target = choose_target(threads=1)
    networks = [Network.of_graph(chain(width, depth), (96, 96)) for width, depth in ((16, 2), (24, 3), (32, 4), (48, 2), (64, 2))]
    first, second = (time_networks([open_network(n, target) for n in networks], Plan(seconds=2.0)) for _ in range(2))
    inside = [low <= b.p50_ms <= high for a, b in zip(first, second, strict=True) for low, high in [a.interval_ms()]]
    inside += [low <= a.p50_ms <= high for a, b in zip(first, second, strict=True) for low, high in [b.interval_ms()]]
    widths = [math.log(high / low) / 2 for timing in (*first, *second) for low, high in [timing.interval_ms()]]
    assert sum(inside) >= 8
    assert statistics.median(widths) < 0.15, "an interval that holds everything says nothing"


def test_examples_fill_open_dimensions() -> None:
    assert example(["n", 3, None, "w"], np.dtype(np.float32), (64, 96), 0).shape == (1, 3, 64, 96)
    sizes = example([1, 2], np.dtype(np.int64), (640, 640), 1)
    assert sizes.tolist() == [[640, 640]]
    bytes_ = example([1, 3, 8, 8], np.dtype(np.uint8), (8, 8), 0)
    assert bytes_.dtype == np.uint8 and bytes_.max() > 100
    floats = example([1, 3, 8, 8], np.dtype(np.float32), (8, 8), 0)
    assert floats.min() >= 0 and floats.max() <= 1


def test_targets_that_are_not_here() -> None:
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"device": "tpu"}, "cpu or cuda"),
        ({"runtime": "tflite"}, "unknown runtime 'tflite'"),
        ({"threads": 0}, "at least 1"),
        ({"threads": 4 * cpus() + 1}, "more than four times"),
        ({"precision": "FP8"}, "unknown precision"),
        ({"precision": "FP16"}, "measured in FP32"),
        ({"device": "cuda", "runtime": "openvino"}, "does not run on CUDA"),
    )
    for wrong, words in cases:
        with pytest.raises(BadInput, match=words):
            choose_target(**wrong)


def test_cuda_is_asked_for_where_there_is_none() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(BadInput, match="CUDA"):
        choose_target("cuda")


def test_threads_have_a_cpu_each_where_there_are_enough() -> None:
    usable = sorted(os.sched_getaffinity(0))
    assert worker_cpus(1) == [] and worker_cpus(len(usable) + 1) == []
    assert worker_cpus(len(usable)) == usable[1:]
    assert usable[0] not in worker_cpus(len(usable))
