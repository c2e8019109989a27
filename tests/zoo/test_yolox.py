"""YOLOX of every size: sizes against the published ones, wiring against the graphs traced from the official code."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from search_spaces.graph import Graph, Op
from zoo.detector import Detector, Family, Recipe
from zoo.yolox import FAMILY

PARAMS = {
    "yolox-nano": (912_159, 904_463, "0.91"),
    "yolox-tiny": (5_055_855, 5_047_191, "5.06"),
    "yolox-s": (8_968_255, 8_956_703, "9.0"),
    "yolox-m": (25_326_495, 25_304_847, "25.3"),
    "yolox-l": (54_208_895, 54_174_271, "54.2"),
    "yolox-x": (99_071_455, 99_020_975, "99.1"),
}
"""Parameters in training form and deployed, and what the authors publish, in millions: their figures are of training form."""
GRAPHS = {"yolox-s": "YOLOXs", "yolox-l": "YOLOXl", "yolox-x": "YOLOXx"}


def on_meta(family: Family, model: str, classes: int = 80) -> Detector:
    """A detector without weights, in evaluation mode."""
    with torch.device("meta"):
        return family.make(Recipe(model, classes)).eval()


def parameters(detector: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(value.numel() for value in detector.parameters())


def official_graph(shared_dir: Path, name: str) -> Graph:
    """The bare network traced from the official code, deploy form at 640 px."""
    with gzip.open(shared_dir / "t4" / "graphs.jsonl.gz", "rt") as lines:
        found = next(data for data in map(json.loads, lines) if data["name"] == name)
    return Graph.from_json(found).without_part("decode")


def convolutions(detector: Detector, input_px: int = 640) -> tuple[int, Counter[tuple[int, ...]]]:
    """MACs of all convolutions, and how often each (cin, cout, kernel, stride, groups, height) occurs."""
    macs, seen = 0, Counter[tuple[int, ...]]()

    def hook(conv: nn.Conv2d, given: object, made: torch.Tensor) -> None:
        nonlocal macs
        macs += made.numel() * conv.weight[0].numel()
        seen[conv.in_channels, conv.out_channels, conv.kernel_size[0], conv.stride[0], conv.groups, made.shape[2]] += 1

    handles = [part.register_forward_hook(hook) for part in detector.modules() if isinstance(part, nn.Conv2d)]
    with torch.no_grad():
        detector(torch.empty(1, 3, input_px, input_px, device="meta"))
    for handle in handles:
        handle.remove()
    return macs, seen


def convolutions_of_graph(graph: Graph) -> tuple[int, Counter[tuple[int, ...]]]:
    """The same of a graph that has convolutions only."""
    table = graph.table(640)
    shapes = graph.shapes(640)
    convs = [(op, shape) for op, shape in zip(graph, shapes, strict=True) if op.kind == "conv"]
    seen = Counter((int(op.cin), int(op.cout), int(op.k[0]), op.s[0], int(op.g), int(shape[1])) for op, shape in convs)
    return int(table.total(table.macs)), seen


def wiring(graph: Graph, label: Callable[[int, Op], object] = lambda index, op: None) -> list[int]:
    """A fingerprint of every output: of the ops above it, their fields, the order of their inputs and their labels."""
    prints: list[int] = []
    for index, op in enumerate(graph):
        size = [int(v) for v in (op.cin, op.cout, *op.k, *op.s, *op.p, op.g)] if op.kind in ("conv", "maxpool") else []
        cut = [op.attrs.get(key) for key in ("start", "axis")] if op.kind == "slice" else []
        above = [prints[i] if i >= 0 else i for i in op.inputs]
        prints.append(hash((op.kind, op.act, *size, *map(str, cut), *above, label(index, op))))
    return [prints[i] for i in graph.outputs]


@pytest.mark.parametrize("model", PARAMS)
def test_parameters_of_every_size(model: str) -> None:
    detector = on_meta(FAMILY, model)
    training, deployed, published = PARAMS[model]
    assert parameters(detector) == training
    assert f"{training / 1e6:.{len(published.split('.')[1])}f}" == published
    detector.fuse()
    assert parameters(detector) == deployed
    assert not any(isinstance(part, nn.BatchNorm2d) for part in detector.modules())


@pytest.mark.parametrize("model", GRAPHS)
def test_deploy_form_equals_the_official_graph(model: str, shared_dir: Path) -> None:
    official = official_graph(shared_dir, GRAPHS[model])
    detector = on_meta(FAMILY, model).fuse()
    table = official.table(640)
    assert parameters(detector) == int(table.total(table.params))
    assert convolutions(detector) == convolutions_of_graph(official)
    assert sorted(wiring(detector.graph())) == sorted(wiring(official))


def test_nano_is_the_one_with_depthwise_convolutions() -> None:
    depthwise = {
        model: sum(isinstance(part, nn.Conv2d) and part.groups > 1 for part in on_meta(FAMILY, model).modules())
        for model in FAMILY.sizes
    }
    assert depthwise.pop("yolox-nano") == 30
    assert set(depthwise.values()) == {0}


def test_decoding_by_hand() -> None:
    detector = on_meta(FAMILY, "yolox-nano")
    raw = {
        name: [torch.zeros(1, c, 64 // s, 96 // s) for s in detector.strides]
        for name, c in (("boxes", 4), ("objectness", 1), ("classes", 80))
    }
    boxes, scores = detector.decode(raw, (64, 96))
    assert boxes.shape == (1, 96 + 24 + 6, 4)
    assert scores.unique().tolist() == [0.25]
    assert boxes[0, 13].tolist() == [4, 4, 12, 12]  # second row, second column of stride 8: a cell around its corner
    assert boxes[0, -1].tolist() == [48, 16, 80, 48]


def test_folding_and_prediction_with_other_classes() -> None:
    torch.manual_seed(0)
    detector = FAMILY.make(Recipe("yolox-nano", 3)).eval()
    disturb(detector)
    image = torch.rand(2, 3, 64, 32) * 255
    assert_folding_and_prediction(detector, image)


def test_fresh_head_expects_little() -> None:
    detector = FAMILY.make(Recipe("yolox-nano", 3)).eval()
    with torch.no_grad():
        _, scores = detector.decode(detector(torch.zeros(1, 3, 64, 64)), (64, 64))
    assert 0.5e-4 < float(scores.mean()) < 2e-4


def test_names() -> None:
    assert FAMILY.aliases["yoloxs"] == "yolox-s"
    assert FAMILY.input_px == {"yolox-nano": 416, "yolox-tiny": 416}
    for model in FAMILY.sizes:
        names = [FAMILY.official_name(name) for name in on_meta(FAMILY, model).state_dict()]
        assert len(set(names)) == len(names)
        assert all(name.startswith(("backbone.", "head.")) for name in names)


def disturb(detector: nn.Module) -> None:
    """Statistics and weights of batch norms as training leaves them, and not the neutral ones."""
    for part in detector.modules():
        if isinstance(part, nn.BatchNorm2d):
            for value in (part.running_var, part.weight):
                nn.init.uniform_(value, 0.5, 1.5)
            for value in (part.running_mean, part.bias):
                nn.init.uniform_(value, -0.2, 0.2)


def assert_folding_and_prediction(detector: Detector, image: torch.Tensor) -> None:
    """Folding changes no number, and detections are in order and in range."""
    size = (image.shape[2], image.shape[3])
    with torch.no_grad():
        before = detector.decode(detector(image), size)
        after = detector.fuse().decode(detector(image), size)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in detector.modules())
    assert after[1].shape[2] == detector.classes
    assert float(after[1].min()) >= 0 and float(after[1].max()) <= 1
    selection = dataclasses.replace(detector.selection, score_threshold=0.0, max_candidates=100, max_detections=20)
    found = detector.predict(image, selection)
    assert len(found) == len(image)
    for one in found:
        assert 0 < len(one) <= 20
        assert (one.scores.diff() <= 0).all()
        assert set(one.labels.tolist()) <= set(range(detector.classes))
        assert (one.boxes[:, 2:] > one.boxes[:, :2]).all()
