"""Modules built from graphs referee the rulers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from search_spaces.graph import Graph
from search_spaces.lowering import lower, skeleton
from search_spaces.ops import Op
from search_spaces.published import PUBLISHED
from search_spaces.space_file import load_space, space_names
from workbench.errors import BadInput

torch = pytest.importorskip("torch")

from zoo.graphs.to_torch import build_module


def check(graph: Graph, px: int) -> None:
    """Parameters, conv MACs and shapes of the running module equal the ruler's."""
    module = build_module(graph).eval()
    table = graph.table(px)
    learned = sum(p.numel() for p in module.parameters())
    assert learned == int(table.total(table.params))
    macs = 0

    def count(layer: torch.nn.Conv2d, given: tuple, out: torch.Tensor) -> None:
        nonlocal macs
        macs += out[0].numel() * layer.in_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]

    def count_transposed(layer: torch.nn.ConvTranspose2d, given: tuple, out: torch.Tensor) -> None:
        nonlocal macs
        macs += given[0][0].numel() * layer.out_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]

    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(count)
        elif isinstance(layer, torch.nn.ConvTranspose2d):
            layer.register_forward_hook(count_transposed)
    with torch.no_grad():
        tensors = module.run(torch.zeros(1, int(graph.inputs[0][0]), px, px))
    products = np.array([kind == "matmul" for kind in table.kinds])  # of attention: no module, so no hook
    assert macs == int(table.total(np.where(products, 0.0, table.macs)))
    for tensor, shape in zip(tensors, graph.shapes(px), strict=True):
        assert tuple(tensor.shape[1:]) == tuple(int(v) for v in shape)


@pytest.mark.parametrize("name", space_names())
@pytest.mark.parametrize("seed", range(3))
def test_lowered_architectures_run_as_ruled(name: str, seed: int) -> None:
    space = load_space(name)
    arch = space.decode(space.sample(1, np.random.default_rng(seed))[0])
    check(lower(arch), 64)
    check(skeleton(arch), 64)


def test_thop_agrees() -> None:
    thop = pytest.importorskip("thop")
    graph = lower(PUBLISHED["damo-yolo-t"])
    module = build_module(graph).eval()
    macs, _ = thop.profile(module, (torch.zeros(1, 3, 64, 64),), verbose=False)
    table = graph.table(64)
    # thop also charges pools and activations as layers of their own; ours run as functions, so convs are all it sees.
    assert macs == table.total(table.macs)


def test_official_graphs_run(shared_dir: Path) -> None:
    ran = 0
    with gzip.open(shared_dir / "yolobench" / "graphs.jsonl.gz", "rt") as lines:
        for line in list(lines)[::8]:
            check(Graph.from_json(json.loads(line)), 96)
            ran += 1
    assert ran >= 5


def test_what_cannot_run_is_named() -> None:
    with pytest.raises(BadInput, match=r"op 0 \(topk\)"):
        build_module(Graph([Op("topk", (-1,), attrs={"shape": [1, 3]})]))
    graph = Graph([Op("conv", (-1,), 3, 4, act="wobble")])
    with pytest.raises(BadInput, match="wobble"):
        build_module(graph)(torch.zeros(1, 3, 8, 8))
