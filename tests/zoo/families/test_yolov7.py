"""YOLOv7: the family contract, official layer numbers, anchors and decoding."""

from __future__ import annotations

import dataclasses
import gzip
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from search_spaces.graph import Graph
from search_spaces.ops import Op
from tests.zoo.families.checks import (
    convolutions,
    convolutions_of_graph,
    disturb,
    official_graph,
    on_meta,
    parameters,
    wiring,
)
from tests.zoo.families.contract import NAMES, FamilyContract, OfficialLayout
from tests.zoo.families.loss_checks import targets_of
from tests.zoo.weights.official_files import save_pickled_model
from workbench.errors import BadInput
from zoo.detector import Detector, Recipe
from zoo.families.parts.yolov7_layers import ANCHORS_PX, TINY_ANCHORS_PX
from zoo.families.yolov7 import FAMILY, ImplicitConv
from zoo.learning.targets import Phase
from zoo.weights.official import load_official

PYRAMID = "1345627"
"""The convolutions of the spatial pyramid, by number, in the order in which the official graphs run them."""


def save_with_grid(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """With the constant that the official YOLOv7 stores beside its anchors."""
    name = next(name for name in tensors if name.endswith(".anchors"))
    content = {**tensors, name.replace("anchors", "anchor_grid"): torch.ones(3, 1, 3, 1, 1, 2)}
    save_pickled_model(path, content, module="models.yolo", cls="Model", names=NAMES, legacy=True)


class TestYOLOv7(FamilyContract):
    FAMILY = FAMILY
    MODEL = "yolov7"
    LICENCE = "GPL-3.0"
    PARAMS = {
        "yolov7-tiny": (6_228_762, 6_219_709, "6.2"),
        "yolov7": (37_622_682, 36_905_341, "36.9"),
        "yolov7x": (71_347_394, 71_311_741, "71.3"),
    }
    LOGGED = {("yolov7", 1): 37_196_556, ("yolov7x", 3): 70_828_568}
    GRAPHS = {"yolov7": "YOLOv7l", "yolov7x": "YOLOv7x"}
    LAYOUTS = {
        "pickled": OfficialLayout("yolov7", 3, save_with_grid, half=True, named=True),
        "tiny": OfficialLayout("yolov7-tiny", 80, save_with_grid, half=True),
    }
    FRESH_SCORES = (0, 1e-2)
    BACKGROUND = ("objectness",)
    LOSS_COUNTS_IMAGES = True
    OVERFIT = {"steps": 600, "side": 128, "batch": 4, "rate": 3e-3}
    """Slower than the others: the smallest size has 37 M parameters, and with three classes a fifth of the box's
    weight goes to telling them apart."""

    def write_official(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        save_pickled_model(path, tensors, module="models.yolo", cls="Model", half=False, legacy=True)

    def disturb(self, detector: Detector) -> None:
        disturb(detector)
        for part in detector.modules():
            if isinstance(part, ImplicitConv):
                assert part.shift is not None and part.scale is not None
                nn.init.normal_(part.shift)
                nn.init.normal_(part.scale)

    def assert_same_graph(self, ours: Graph, official: Graph, detector: Detector) -> None:
        """Also the official number of every layer: the official graph runs its layers in the order of their numbers."""
        assert parameters(detector) == int(ours.table(640).params.sum())
        assert convolutions(detector) == convolutions_of_graph(official)
        by_number = sorted((i for i, op in enumerate(ours) if op.kind == "conv"), key=lambda i: _number(ours.ops[i]))
        by_order = [i for i, op in enumerate(official) if op.kind == "conv"]
        assert wiring(ours, _places(by_number)) == wiring(official, _places(by_order))


def _number(op: Op) -> list[int]:
    """Where the layer stands in the official file: number, and place within that layer."""
    name = FAMILY.official_name(f"{op.name}.")
    within = re.search(r"\.cv(\d)\.", name)
    if within:
        return [int(name.split(".")[1]), PYRAMID.index(within[1])]
    return [int(digits) for digits in re.findall(r"\.(\d+)(?=\.)", name)]


def _places(order: list[int]) -> Callable[[int, Op], int | None]:
    """A label for ``wiring``: the place of a convolution in ``order``."""
    places = {index: place for place, index in enumerate(order)}
    return lambda index, op: places.get(index)


def test_official_numbers_of_layers() -> None:
    """Every number from 0 to the head's, but those of the layers without weights."""
    for model, last, without in (("yolov7-tiny", 77, 22), ("yolov7", 105, 22), ("yolov7x", 121, 22)):
        names = [FAMILY.official_name(name) for name in on_meta(FAMILY, model).state_dict()]
        numbers = {int(name.split(".")[1]) for name in names}
        assert len(set(names)) == len(names)
        assert max(numbers) == last
        assert len(numbers) == last + 1 - without
        assert sum(name.endswith("rbr_1x1.0.weight") for name in names) == (3 if model == "yolov7" else 0)


def test_tiny_is_the_official_graph(shared_dir: Path) -> None:
    """Wiring, operators and activations of the deploy form, layer by layer."""
    with gzip.open(shared_dir / "atlas" / "graphs.jsonl.gz", "rt") as lines:
        official = next(
            Graph.from_json(data) for data in map(json.loads, lines) if data["name"] == "YOLOv7-tiny"
        )
    ours = on_meta(FAMILY, "yolov7-tiny").fuse().graph()
    by_number = sorted((i for i, op in enumerate(ours) if op.kind == "conv"), key=lambda i: _number(ours.ops[i]))
    by_order = [i for i, op in enumerate(official) if op.kind == "conv"]
    assert wiring(ours, _places(by_number)) == wiring(official, _places(by_order))
    assert Counter(op.kind for op in ours) == Counter(op.kind for op in official)
    assert {ours.ops[i].act for i in by_number[:-3]} == {official.ops[i].act for i in by_order[:-3]} == {"leaky_relu"}


def test_tiny_has_its_own_anchors_and_weights_of_losses() -> None:
    tiny, base = (FAMILY.make(Recipe(model, 2)) for model in ("yolov7-tiny", "yolov7"))
    boxes, _ = tiny.eval().decode({"maps": [torch.zeros(1, 21, 8 // k, 8 // k) for k in (1, 2, 4)]}, (64, 64))
    assert (boxes[0, 0, 2:] - boxes[0, 0, :2]).tolist() == list(TINY_ANCHORS_PX[0][0])
    base.head.anchors.copy_(tiny.head.anchors)
    targets = targets_of([[8, 8, 40, 44, 0]])
    maps = [torch.zeros(1, 21, 8 // k, 8 // k) for k in (1, 2, 4)]
    found, reference = (one.loss({"maps": maps}, targets, (64, 64), Phase()) for one in (tiny, base))
    ratios = {name: float(found[name] / reference[name]) for name in found}
    assert ratios == pytest.approx({"box": 1.0, "objectness": 1 / 0.7, "classes": 0.5 / 0.3})


def test_decoding_by_hand() -> None:
    detector = FAMILY.make(Recipe("yolov7", 2)).eval()
    raw = {"maps": [torch.zeros(1, 3 * 7, 64 // s, 96 // s) for s in detector.strides]}
    boxes, scores = detector.decode(raw, (64, 96))
    assert boxes.shape == (1, 3 * (96 + 24 + 6), 4)
    assert scores.unique().tolist() == [0.25]
    sizes = boxes[0, :, 2:] - boxes[0, :, :2]
    centres = (boxes[0, :, 2:] + boxes[0, :, :2]) / 2
    assert sizes[0].tolist() == list(ANCHORS_PX[0][0])
    assert sizes[96 + 13].tolist() == list(ANCHORS_PX[0][1])  # second anchor, second row, second column
    assert centres[96 + 13].tolist() == [12, 12]
    assert sizes[-1].tolist() == list(ANCHORS_PX[2][2])
    assert centres[-1].tolist() == [80, 48]


def test_anchors_come_from_the_checkpoint() -> None:
    detector = FAMILY.make(Recipe("yolov7", 1)).eval()
    tensors = {FAMILY.official_name(name): value for name, value in detector.state_dict().items()}
    tensors["model.105.anchors"] = tensors["model.105.anchors"] * 2
    load_official(detector, {**tensors, "model.105.anchor_grid": torch.ones(3, 1, 3, 1, 1, 2)})
    boxes, _ = detector.decode({"maps": [torch.zeros(1, 18, 8 // k, 8 // k) for k in (1, 2, 4)]}, (64, 64))
    assert (boxes[0, 0, 2:] - boxes[0, 0, :2]).tolist() == [24, 32]
    with pytest.raises(BadInput, match="anchor_grid"):
        load_official(detector, {**tensors, "model.105.anchor_grid": torch.zeros(3, 1, 3, 1, 1, 2)})


def test_wiring_sees_the_order_of_a_concatenation(shared_dir: Path) -> None:
    graph = official_graph(shared_dir, "YOLOv7x")
    turned = dataclasses.replace(graph.ops[12], inputs=graph.ops[12].inputs[::-1])
    assert turned.kind == "concat"
    changed = Graph([*graph.ops[:12], turned, *graph.ops[13:]], graph.inputs, graph.outputs)
    assert wiring(changed) != wiring(graph)
