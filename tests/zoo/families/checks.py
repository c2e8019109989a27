"""Checks and measurements of detectors that the tests of the families share."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from search_spaces.graph import Graph
from search_spaces.ops import Op
from zoo.detector import Detector, Recipe
from zoo.families import find_family
from zoo.families.family import Family


def on_meta(family: Family, model: str, classes: int = 80) -> Detector:
    """A detector without weights, in evaluation mode."""
    with torch.device("meta"):
        return family.make(Recipe(model, classes)).eval()


def official_state(detector: Detector) -> dict[str, Tensor]:
    """A detector's tensors by their official names."""
    family = find_family(detector.family)
    return {family.official_name(name): value.clone() for name, value in detector.state_dict().items()}


def outputs(detector: Detector) -> tuple[Tensor, Tensor]:
    """Boxes and scores of a fixed batch."""
    image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 255
    with torch.no_grad():
        return detector.decode(detector(image), (64, 96))


def assert_same_detector(back: Detector, detector: Detector) -> None:
    """Recipe, form, info and every bit of the output are equal; ``back`` is in evaluation mode."""
    assert (back.recipe, back.fused, back.branch) == (detector.recipe, detector.fused, detector.branch)
    assert back.info == detector.info
    assert not back.training
    assert [(name, value.requires_grad) for name, value in back.named_parameters()] == [
        (name, value.requires_grad) for name, value in detector.named_parameters()
    ]
    for ours, expected in zip(outputs(back), outputs(detector), strict=True):
        assert torch.equal(ours, expected)


def parameters(detector: nn.Module) -> int:
    """Number of learned parameters."""
    return sum(value.numel() for value in detector.parameters())


def official_graph(shared_dir: Path, name: str) -> Graph:
    """The bare network traced from the official code, deploy form at 640 px."""
    with gzip.open(shared_dir / "t4" / "graphs.jsonl.gz", "rt") as lines:
        graph = next(data for data in map(json.loads, lines) if data["name"] == name)
    return Graph.from_json(graph).without_part("decode")


def convolutions(detector: Detector, input_px: int = 640) -> tuple[int, Counter[tuple[int, ...]]]:
    """MACs of all convolutions, and how often each (cin, cout, kernel, stride, groups, height) occurs."""
    macs, seen = 0, Counter[tuple[int, ...]]()

    def hook(conv: nn.Conv2d, inputs: object, output: torch.Tensor) -> None:
        nonlocal macs
        macs += output.numel() * conv.weight[0].numel()
        seen[
            conv.in_channels, conv.out_channels, conv.kernel_size[0], conv.stride[0], conv.groups, output.shape[2]
        ] += 1

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
    detections = detector.predict(image, selection)
    assert len(detections) == len(image)
    for best in detections:
        assert 0 < len(best) <= 20
        assert (best.scores.diff() <= 0).all()
        assert set(best.labels.tolist()) <= set(range(detector.classes))
        assert (best.boxes[:, 2:] > best.boxes[:, :2]).all()


def rows(graph: Graph, input_px: int | None = 640) -> list[tuple[object, ...]]:
    """The ops of a graph in execution order: what each one is, and which ones it reads."""
    kept = ("start", "end", "perm", "scale", "value")
    found: list[tuple[object, ...]] = []
    for op, shape in zip(graph, graph.shapes(input_px), strict=True):
        numbers = (
            [int(v) for v in (op.cin, op.cout, *op.k, *op.s, *op.p, op.g)] if op.kind in ("conv", "maxpool") else []
        )
        fields = [op.attrs.get("axis", 1), *(str(op.attrs[key]) for key in kept if key in op.attrs)]
        found.append((op.kind, op.inputs, op.act, tuple(int(v) for v in shape), *numbers, *fields))
    return found


def assert_deploy_form_equals(detector: Detector, official: Graph) -> None:
    """Parameters, convolution MACs and every single op with its wires are the official ones, in the same order."""
    table = official.table(640)
    macs = int(sum(m for m, kind in zip(table.macs, table.kinds, strict=True) if kind == "conv"))
    assert convolutions(detector)[0] == macs
    ours = detector.graph()
    assert int(ours.table(640).params.sum()) == int(table.params.sum())
    assert rows(ours) == rows(official)
    assert sorted(ours.outputs) == sorted(official.outputs)
