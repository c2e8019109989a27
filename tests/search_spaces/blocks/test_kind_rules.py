"""What single kinds refuse, and how a partial convolution stands in a graph."""

from __future__ import annotations

import pytest

from search_spaces.architecture import Architecture, Stage, Stem
from search_spaces.lowering import lower
from search_spaces.op_table import fused_ops
from workbench.errors import BadInput


@pytest.mark.parametrize(
    ("style", "stages", "words"),
    [
        ("mixed", [Stage("fasternet", 3, 8)], r"stages\[0\]: out 3 of kind 'fasternet' must be at least 4"),
        ("mixed", [Stage("spp", 16, 8, 3, 2)], "stride 2 of kind 'spp' must be 1"),
        ("csp", [Stage("kxkx", 16, 16), Stage("repvgg", 16, 8, 3, 1)], "must have stride 2"),
        ("csp", [Stage("repvit", 16, 8), Stage("repvit", 16, 8, 3, 1)], "use style 'mixed'"),
    ],
)
def test_what_does_not_fit_is_refused(style: str, stages: list[Stage], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        Architecture(style, Stem(16), tuple(stages), spp=False)


def test_a_partial_convolution_is_two_slices_a_convolution_and_a_concat() -> None:
    arch = Architecture("mixed", Stem(16, focus=False), (Stage("fasternet", 22, 40, 3, 2, 2),), spp=False)
    graph = lower(arch, "backbone")
    block = [op for op in graph if op.name.startswith("stage1.block1")]
    assert [op.kind for op in block] == ["slice", "slice", "conv", "concat", "conv", "conv", "add"]
    partial = block[2]
    assert (partial.cin, partial.cout, partial.bias, partial.act) == (5, 5, False, "none")
    assert [op.attrs["end"] - op.attrs["start"] for op in block[:2]] == [5, 17]
    fused = dict(zip([op.name for op in graph], fused_ops(graph.ops, graph.outputs), strict=True))
    assert [op.kind for op in block if fused[op.name]] == ["add"]  # slices and concat are copies of their own
