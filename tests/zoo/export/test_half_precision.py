"""FP16 networks: typed as ONNX wants them, near torch in every family, and rounded when they run."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper

from tests.zoo.export.lively import FREE, MODELS, PX, assert_faithful, in_onnxruntime, lively, picture
from workbench.errors import BadInput
from zoo.export.half_precision import convert_to_half, emulate_half, half_layers, layer_of, store_in_half
from zoo.export.onnx_graph import onnx_graph
from zoo.export.options import ExportOptions
from zoo.export.precision_trials import PrecisionTrials
from zoo.export.write import export

QUICK = ("damo-yolo-ns", "yolox-nano", "yolo26n")


@pytest.mark.parametrize(
    "model", [one if one in QUICK else pytest.param(one, marks=pytest.mark.slow) for one in MODELS]
)
def test_every_family_in_fp16(model: str, tmp_path: Path) -> None:
    path, form = tmp_path / "x.onnx", "end2end" if model in FREE else "nms"
    assert_faithful(export(lively(model), path, "onnx", ExportOptions(form, PX, PX, dynamic=True, half=True)), 80)
    whole = onnx.load(str(path))
    onnx.shape_inference.infer_shapes(whole, check_type=True, strict_mode=True)
    assert (
        whole.graph.input[0].type.tensor_type.elem_type
        == whole.graph.output[0].type.tensor_type.elem_type
        == TensorProto.FLOAT
    )
    weights = sum(value.numel() for value in lively(model).parameters())
    assert path.stat().st_size < 2.6 * weights + 400_000
    # In the file's own typing, and at another size, a runtime takes it as it is.
    (found,) = in_onnxruntime(path, picture(model, 1, PX + 32, PX + 64))
    assert (
        found.dtype == torch.float32 and found.shape[0] == 1 and found.shape[1] >= 20 and bool(found.isfinite().all())
    )


@pytest.mark.parametrize("model", QUICK)
def test_layers_have_the_names_that_torch_gives(model: str) -> None:
    found = PrecisionTrials(lively(model), "onnx", ExportOptions(height=64, width=64, half=True)).layers
    modules = dict(lively(model).named_modules())
    assert set(found) <= set(modules) and len(set(found)) == len(found)
    assert found[0].startswith("backbone.") and any(name.startswith("head") for name in found[-10:])
    # Every convolution that is there after folding is one of them, or is a branch of one.
    folded = copy.deepcopy(lively(model)).fuse()
    for name, part in folded.named_modules():
        if isinstance(part, torch.nn.Conv2d):
            assert name in found or name.rpartition(".")[0] in found, name


def test_repeated_and_unknown_parts_of_a_name() -> None:
    modules = {
        "neck",
        "neck.blocks",
        "neck.blocks.0",
        "neck.blocks.0.blocks",
        "neck.blocks.0.blocks.1",
        "neck.blocks.0.conv",
    }
    assert layer_of("/detector/neck/blocks/blocks.0/conv/Conv_1", modules) == "neck.blocks.0.conv"
    assert layer_of("/detector/neck/blocks.0/blocks/blocks.1/Add", modules) == "neck.blocks.0.blocks.1"
    assert layer_of("/detector/neck/blocks.0/conv/folded/Conv", modules) == "neck.blocks.0.conv"
    assert layer_of("/Mul_3", modules) == layer_of("Identity_5", modules) == layer_of("/detector/Concat", modules) == ""


def chain(*values: float) -> onnx.ModelProto:
    """1x1 convolutions of these weights, one after the other, named as layers ``a``, ``b`` and so on; an addition
    between the first two."""
    names = [chr(ord("a") + i) for i in range(len(values))]
    weights = [
        numpy_helper.from_array(torch.full((1, 1, 1, 1), value).numpy(), "w" + name)
        for name, value in zip(names, values, strict=True)
    ]
    nodes, last = [], "image"
    for name in names:
        nodes.append(helper.make_node("Conv", [last, "w" + name], [name], name=f"/detector/{name}/Conv"))
        last = name
        if name == "a":
            nodes.append(helper.make_node("Add", [last, last], ["sum"], name="/detector/sum/Add"))
            last = "sum"
    nodes.append(helper.make_node("Identity", [last], ["boxes"], name="/Identity"))
    shape = [1, 1, 2, 2]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("image", "boxes")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def answer(model: onnx.ModelProto, value: float) -> float:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return float(session.run(None, {"image": torch.full((1, 1, 2, 2), value).numpy()})[0].flat[0])


MODULES = {"a", "b", "c", "sum"}


def test_rounding_is_that_of_fp16() -> None:
    single, half = chain(1.0, 0.5, 1.0), convert_to_half(chain(1.0, 0.5, 1.0), MODULES)
    third = torch.tensor(1 / 3)
    assert answer(single, 1 / 3) == float(third) != answer(emulate_half(half), 1 / 3) == float(third.half())
    large = chain(1000.0, 1e-3, 1.0)
    assert answer(large, 100.0) == pytest.approx(200) and answer(
        emulate_half(convert_to_half(large, MODULES)), 100.0
    ) == float("inf")


@pytest.mark.parametrize(
    ("keep", "wide"), [((), ""), (("a",), "ab"), (("b",), "bc"), (("c",), "c"), (("sum",), "b"), (("a", "c"), "abc")]
)
def test_what_is_kept_hands_its_result_on_in_fp32(keep: tuple[str, ...], wide: str) -> None:
    half = convert_to_half(chain(1000.0, 1e-3, 1.0), MODULES, keep)
    kinds = {one.name: one.data_type for one in half.graph.initializer}
    assert {
        node.name[10]: kinds[node.input[1]] == TensorProto.FLOAT for node in half.graph.node if node.op_type == "Conv"
    } == {name: name in wide for name in "abc"}
    onnx.shape_inference.infer_shapes(half, check_type=True, strict_mode=True)
    finite = answer(emulate_half(half), 100.0) < float("inf")
    assert finite == ("a" in keep)
    assert half_layers(chain(1.0, 1.0, 1.0), MODULES) == ["a", "sum", "b", "c"]


def test_stored_in_half_computes_in_single() -> None:
    model = store_in_half(chain(1000.0, 1 / 3, 1.0), MODULES)
    assert {one.data_type for one in model.graph.initializer} == {TensorProto.FLOAT16}
    assert answer(model, 100.0) == pytest.approx(200000 * float(torch.tensor(1 / 3).half()), rel=1e-6)
    kept = store_in_half(chain(1000.0, 1 / 3, 1.0), MODULES, ("b",))
    assert answer(kept, 100.0) == pytest.approx(200000 / 3, rel=1e-6)


def test_a_graph_inside_a_node_is_refused_by_name() -> None:
    model = chain(1.0, 1.0)
    branch = helper.make_graph(
        [helper.make_node("Identity", ["b"], ["inner"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    model.graph.initializer.append(numpy_helper.from_array(torch.tensor(True).numpy(), "true"))
    model.graph.node.insert(
        3, helper.make_node("If", ["true"], ["chosen"], name="/detector/a/If", then_branch=branch, else_branch=branch)
    )
    model.graph.node[4].input[0] = "chosen"
    onnx.checker.check_model(model)
    with pytest.raises(BadInput, match=r"'/detector/a/If' \(If\) has a graph inside"):
        convert_to_half(model, MODULES)


def test_the_fp32_network_is_left_as_it_was() -> None:
    network = onnx_graph(copy.deepcopy(lively("yolox-nano")).fuse(), ExportOptions(height=64, width=64))
    before, modules = network.SerializeToString(), {name for name, _ in lively("yolox-nano").named_modules() if name}
    emulate_half(convert_to_half(network, modules, ("head",)))
    store_in_half(network, modules)
    assert network.SerializeToString() == before
