"""Necks of YOLO11 and YOLO26, as graphs traced from the official code, against our PAN over the same block kinds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from search_spaces.architecture import Neck
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from search_spaces.necks import NECK_KINDS
from tests.zoo.families.checks import official_graph, rows
from zoo.factory import build

C3K2, C3K, ATTENTION = "c3k2", "c3k2_c3k", "c3k2_attn"


@pytest.mark.parametrize(
    ("model", "official", "taps", "out", "blocks"),
    [
        ("yolo11n", "YOLO11n", (128, 128, 256), (64, 128, 256), (C3K2, C3K2, C3K2, C3K)),
        ("yolo11s", "YOLO11s", (256, 256, 512), (128, 256, 512), (C3K2, C3K2, C3K2, C3K)),
        ("yolo26n", "YOLO26n", (128, 128, 256), (64, 128, 256), (C3K, C3K, C3K, ATTENTION)),
    ],
)
def test_a_published_neck_is_a_pan(
    model: str, official: str, taps: tuple[int, ...], out: tuple[int, ...], blocks: tuple[str, ...], shared_dir: Path
) -> None:
    neck = Neck(out, 1.0, 0.5, "silu", kind="pan", blocks=blocks)
    g = GraphBuilder(taps[0])
    levels = NECK_KINDS["pan"].lower(g, [-1, g.input(taps[1]), g.input(taps[2])], neck)
    ours = Graph(g.ops, [(tap, 640 // s, 640 // s) for tap, s in zip(taps, neck.strides, strict=True)], levels)
    theirs = neck_of(model, official_graph(shared_dir, official))
    totals = [(table.total(table.params), table.total(table.macs)) for table in (ours.table(), theirs.table())]
    assert totals[0] == totals[1]
    assert data_rows(ours) == data_rows(theirs) and ours.outputs == theirs.outputs


def data_rows(graph: Graph) -> list[tuple[object, ...]]:
    """``rows`` without the second input of our reshapes, which only tells the size of the map to make."""
    return [(kind, read[:1] if kind == "reshape" else read, *rest) for kind, read, *rest in rows(graph, None)]  # type: ignore[index]


def neck_of(model: str, whole: Graph) -> Graph:
    """The ops of the neck alone, at 640 px. The zoo's detector of this name has the same ops in the same order."""
    with torch.device("meta"):
        parts = [op.part for op in build(model).graph()]
    inside = [index for index, part in enumerate(parts) if part == "neck"]
    number = {index: i for i, index in enumerate(inside)}
    shapes = whole.shapes(640)
    outer = {i for index in inside for i in whole.ops[index].inputs if i not in number}
    maps = sorted(outer, key=lambda i: -shapes[i][1])
    number |= {index: -1 - i for i, index in enumerate(maps)}
    ops = [dataclasses.replace(whole.ops[i], inputs=tuple(number[j] for j in whole.ops[i].inputs)) for i in inside]
    read = {j for index, part in enumerate(parts) if part == "head" for j in whole.ops[index].inputs}
    ends = sorted((index for index in inside if index in read), key=lambda i: -shapes[i][1])
    return Graph(ops, [shapes[i] for i in maps], [number[i] for i in ends])
