"""RT-DETRv2: the family contract, anchors, frozen batch norms, attention, folding and training outputs."""

from __future__ import annotations

import copy
import dataclasses
import gzip
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from search_spaces.graph import Graph
from tests.zoo.families import parity
from tests.zoo.families.checks import disturb, official_graph, on_meta, parameters, wiring
from tests.zoo.families.contract import FamilyContract, OfficialLayout
from tests.zoo.weights.official_files import save_rtdetr
from workbench.errors import BadInput
from zoo.detector import Detector, Recipe
from zoo.factory import family_of
from zoo.families.parts.deformable import DeformableAttention
from zoo.families.parts.resnet_vd import FrozenBatchNorm2d
from zoo.families.rtdetrv2 import FAMILY, anchor_boxes, position_code
from zoo.weights.official import load_official

MOVES = frozenset({"reshape", "transpose", "expand", "stack", "select", "mul_const"})
"""Ops whose number depends on how attention is spelled: data movement, and the scaling of queries and keys."""
FIXTURES = [path for path in parity.fixture_files() if path.stem == "rtdetrv2-s"]


def save_with_anchors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """With the constants that the official RT-DETRv2 stores, infinities among them."""
    anchors, used = anchor_boxes([(80, 80), (40, 40), (20, 20)], torch.empty(0))
    assert anchors.isinf().any()
    save_rtdetr(path, {**tensors, "decoder.anchors": anchors, "decoder.valid_mask": used.bool()})


def save_numbered(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """As LibreYOLO's converted checkpoints name them, under ``model``."""
    parts = {"conv": "0", "norm": "1"}
    renamed = {
        re.sub(r"(?<=encoder\.input_proj\.)(\d)\.(conv|norm)", lambda m: f"{m[1]}.{parts[m[2]]}", name): value
        for name, value in tensors.items()
    }
    assert renamed.keys() != tensors.keys()
    torch.save({"model": renamed, "names": {}, "nc": 3}, path)


class TestRTDETRv2(FamilyContract):
    FAMILY = FAMILY
    MODEL = "rtdetrv2-s"
    LICENCE = "Apache-2.0"
    PARAMS = {
        "rtdetrv2-s": (20_184_464, 19_911_856, "20"),
        "rtdetrv2-m": (36_593_772, 32_905_584, "36"),
        "rtdetrv2-l": (42_891_372, 41_994_204, "42"),
        "rtdetrv2-x": (76_556_268, 74_695_644, "76"),
    }
    """Those in training form are counted on the official code too. Two of three decoder layers of M only train."""
    CONV_MACS = {
        "rtdetrv2-s": 25_155_993_600,
        "rtdetrv2-m": 44_711_936_000,
        "rtdetrv2-l": 58_966_016_000,
        "rtdetrv2-x": 117_312_716_800,
    }
    """The official graphs' own; that of M is counted on the official code."""
    GRAPHS = {"rtdetrv2-s": "RTDETRv2-s", "rtdetrv2-l": "RTDETRv2-l", "rtdetrv2-x": "RTDETRv2-x"}
    LAYOUTS = {
        "averaged": OfficialLayout("rtdetrv2-s", 3, save_with_anchors, "ema.module"),
        "numbered": OfficialLayout("rtdetrv2-s", 3, save_numbered),
    }
    FRESH_SCORES = (0.002, 0.05)
    BACKGROUND = ("classes", "layers_classes", "selected_classes")
    LOSS_COUNTS_IMAGES = False
    OVERFIT = {"steps": 120, "rate": 3e-4, "batch": 4, "clip": 1.0}

    def write_official(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        save_rtdetr(path, tensors)

    def published_params(self, training: int, deployed: int, published: str) -> str:
        """The training form's, cut to whole millions."""
        return str(training // 1_000_000)

    def prepare_to_learn(self, detector: Detector) -> None:
        """Fresh last layers of the boxes are 0, behind which nothing would learn in the first step."""
        torch.manual_seed(0)
        for boxes in (detector.head.cell_boxes, *detector.head.boxes):  # type: ignore[union-attr,misc]
            nn.init.normal_(boxes.layers[-1].weight, std=0.02)

    def test_deploy_form_equals_the_official_graph(self, graph_of: str, shared_dir: Path) -> None:
        detector = on_meta(FAMILY, graph_of).fuse()
        official, ours = official_graph(shared_dir, self.GRAPHS[graph_of]), detector.graph()
        table = official.table(640)
        assert parameters(detector) == int(table.total(table.params)) == int(ours.table(640).params.sum())
        assert macs(ours) == official_macs(shared_dir, self.GRAPHS[graph_of])
        assert sorted(wiring(without_moves(ours))) == sorted(wiring(without_moves(official)))

    def test_folding_and_prediction(self, trained: Detector, branch: str) -> None:
        torch.manual_seed(0)
        assert_same_rows_when_folded(copy.deepcopy(trained))


def test_aliases() -> None:
    assert family_of("rtdetrv2l") == family_of("rtdetrv2-r50") == (FAMILY, "rtdetrv2-l")


@pytest.mark.skipif(not FIXTURES, reason="no parity fixture of RT-DETRv2 beside the project")
def test_anchors_are_the_stored_ones() -> None:
    constants = parity.read_fixture(FIXTURES[0])["constants"]
    odds, used = anchor_boxes([(80, 80), (40, 40), (20, 20)], torch.empty(0))
    torch.testing.assert_close(odds, torch.tensor(constants["decoder.anchors"]).reshape(1, -1, 4), rtol=0, atol=1e-6)
    assert used.flatten().tolist() == constants["decoder.valid_mask"]


def test_constants_may_be_absent_and_must_be_right() -> None:
    detector = FAMILY.make(Recipe("rtdetrv2-s", 3))
    tensors = {FAMILY.official_name(name): value for name, value in detector.state_dict().items()}
    load_official(detector, tensors)
    odds, used = anchor_boxes([(12, 16), (6, 8), (3, 4)], torch.empty(0))
    constants = {
        "decoder.anchors": odds,
        "decoder.valid_mask": used.bool(),
        "decoder.decoder.layers.1.cross_attn.num_points_scale": torch.full((12,), 0.25),
        "backbone.conv1.conv1_1.norm.num_batches_tracked": torch.tensor(7),
    }
    load_official(detector, {**tensors, **constants})
    wrong_ones = (
        ("decoder.anchors", odds + 0.1),
        ("decoder.anchors", -odds),
        ("decoder.anchors", odds[0]),
        ("decoder.valid_mask", used * 2),
        ("decoder.decoder.layers.1.cross_attn.num_points_scale", torch.full((12,), 0.5)),
    )
    for name, wrong in wrong_ones:
        with pytest.raises(BadInput, match=name):
            load_official(detector, {**tensors, name: wrong})


def test_a_frozen_batch_norm_has_four_buffers_and_never_learns() -> None:
    norm = FrozenBatchNorm2d(3)
    disturb(norm)
    assert set(norm.state_dict()) == {"weight", "bias", "running_mean", "running_var"}
    assert not list(norm.parameters())
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    norm.load_state_dict(before)
    image = torch.rand(2, 3, 4, 4)
    reference = nn.BatchNorm2d(3).eval()
    reference.load_state_dict({**before, "num_batches_tracked": torch.tensor(0)})
    torch.testing.assert_close(norm.train()(image), reference(image))
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    names = {name for name in on_meta(FAMILY, "rtdetrv2-m").state_dict() if "num_batches_tracked" in name}
    assert names and not any(name.startswith("backbone.") for name in names)
    assert any(
        name.startswith("backbone.") and "num_batches" in name for name in on_meta(FAMILY, "rtdetrv2-s").state_dict()
    )


def test_points_start_on_rays() -> None:
    """The first head's points lie to the right of the box's centre, the fourth point half a box side away."""
    attention = DeformableAttention(16, 4, (4, 2))
    offsets = attention.sampling_offsets(torch.rand(1, 16)).reshape(4, 6, 2) * torch.tensor(attention.point_scale)
    torch.testing.assert_close(offsets[0, :, 0], torch.tensor([1 / 8, 2 / 8, 3 / 8, 4 / 8, 1 / 4, 2 / 4]))
    torch.testing.assert_close(offsets[0, :, 1], torch.zeros(6))
    torch.testing.assert_close(offsets[1, :, 1], offsets[0, :, 0])


def test_position_code_of_a_square() -> None:
    """Of the second token of the first row: one sine and cosine of each coordinate at each wavelength."""
    code = position_code(3, 3, 8, torch.empty(0, dtype=torch.float64))
    assert code.shape == (1, 9, 8)
    assert code.dtype == torch.float64
    expected = [0.0, 0.0, 1.0, 1.0, math.sin(1), math.sin(0.01), math.cos(1), math.cos(0.01)]
    torch.testing.assert_close(code[0, 1], torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-6)


def test_folding_and_prediction_with_unused_layers() -> None:
    torch.manual_seed(0)
    detector = FAMILY.make(Recipe("rtdetrv2-m", 3)).eval()
    disturb(detector)
    assert_same_rows_when_folded(detector)


def assert_same_rows_when_folded(detector: Detector) -> None:
    """With fewer cells than queries all are chosen; nearly equal ones may change places, so rows are matched."""
    image, size = torch.rand(2, 3, 96, 128), (96, 128)
    with torch.no_grad():
        before = torch.cat(detector.decode(detector(image), size), -1)
        after = torch.cat(detector.fuse().decode(detector(image), size), -1)
    cells = 12 * 16 + 6 * 8 + 3 * 4
    assert before.shape == (2, cells, 4 + 3)
    distances = (before[:, :, None] - after[:, None]).abs().amax(-1)
    assert float(distances.amin(1).max()) < 1e-3
    assert float(distances.amin(2).max()) < 1e-3
    for detections in detector.predict(image):
        assert len(detections) == 300
        assert (detections.scores.diff() <= 0).all()
        assert set(detections.labels.tolist()) <= {0, 1, 2}
        assert (detections.boxes[:, 2:] >= detections.boxes[:, :2]).all()


def test_refining_given_queries_survives_folding_exactly() -> None:
    torch.manual_seed(0)
    head = FAMILY.make(Recipe("rtdetrv2-s", 5)).eval().head
    for layer in head.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
    sizes = [(6, 8), (3, 4), (2, 2)]
    queries, odds, memory = torch.randn(2, 7, 256), torch.randn(2, 7, 4), torch.randn(2, 64, 256)
    with torch.no_grad():
        before = head.refine(queries, odds, memory, sizes)
        head.drop_training_parts()
        for layer in head.layers:
            layer.self_attn.fold()
        after = head.refine(queries, odds, memory, sizes)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_training_gives_every_layer_and_the_selection() -> None:
    torch.manual_seed(0)
    detector = FAMILY.make(Recipe("rtdetrv2-m", 4)).eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        used = detector(image)
    detector.head.training = True  # batch norms below it stay as they are
    raw = detector(image)
    assert set(used) == {"logits", "boxes"}
    assert set(raw) == {"logits", "boxes", "layer_logits", "layer_boxes", "selected_logits", "selected_boxes"}
    assert len(raw["layer_logits"]) == len(raw["layer_boxes"]) == 6
    torch.testing.assert_close(raw["layer_logits"][2], used["logits"])
    torch.testing.assert_close(raw["layer_boxes"][2], used["boxes"])
    assert raw["layer_logits"][-1] is raw["logits"]
    assert raw["layer_boxes"][-1] is raw["boxes"]
    assert raw["selected_logits"].shape == raw["logits"].shape
    assert (raw["selected_logits"].amax(-1).diff() <= 0).all()
    raw["layer_boxes"][3].sum().backward()
    trained = [head.layers[-1].bias.grad is not None for head in detector.head.boxes]
    assert trained == [False, False, True, True, False, False]
    assert [
        tensor is raw[name] for tensor, name in zip(detector.raw_outputs(raw), ("logits", "boxes"), strict=True)
    ] == [True, True]


def test_decoding_by_hand() -> None:
    detector = on_meta(FAMILY, "rtdetrv2-s")
    raw = {"logits": torch.zeros(1, 1, 80), "boxes": torch.tensor([[[0.5, 0.25, 0.2, 0.1]]])}
    boxes, scores = detector.decode(raw, (100, 200))
    torch.testing.assert_close(boxes, torch.tensor([[[80.0, 20.0, 120.0, 30.0]]]))
    assert scores.unique().tolist() == [0.5]
    assert detector.end2end


def official_macs(shared_dir: Path, name: str) -> Counter[tuple[str, int]]:
    """How often each linear layer and matrix product of so many MACs occurs, from full shapes as their README counts.

    A Graph takes the first axis for the batch, but the official attention puts its tokens there.
    """
    with gzip.open(shared_dir / "t4" / "graphs.jsonl.gz", "rt") as lines:
        nodes = next(data["nodes"] for data in map(json.loads, lines) if data["name"] == name)
    inner = {"linear": lambda node: node["cin"], "matmul": lambda node: nodes[node["in"][0]]["shape"][-1]}
    return Counter(
        (node["op"], math.prod(node["shape"]) * inner[node["op"]](node)) for node in nodes if node["op"] in inner
    )


def macs(graph: Graph) -> Counter[tuple[str, int]]:
    """The same of our graph."""
    table = graph.table(640)
    pairs = zip(table.kinds, table.macs, strict=True)
    return Counter((kind, int(value)) for kind, value in pairs if kind in ("linear", "matmul"))


def without_moves(graph: Graph) -> Graph:
    """The graph with every op of ``MOVES`` replaced by its input; shapes no longer hold."""
    place = {-1: -1}
    kept = []
    for index, op in enumerate(graph):
        inputs = tuple(place[i] for i in op.inputs)
        if op.kind in MOVES:
            place[index] = inputs[0]
        else:
            place[index] = len(kept)
            kept.append(dataclasses.replace(op, inputs=inputs))
    return Graph(kept, graph.inputs, [place[i] for i in graph.outputs])
