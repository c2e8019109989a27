"""Which kinds may stand in which backbone style, and what is refused."""

from __future__ import annotations

import pytest

from search_spaces.architecture import STYLES, Architecture, Stage, Stem
from search_spaces.blocks import BLOCK_KINDS
from search_spaces.blocks.base import ANY_STYLE, MIXED_STYLE, fits_style
from search_spaces.lowering import lower
from search_spaces.space_file import read_space
from search_spaces.tinynas_text import parse, to_text
from workbench.errors import BadInput


def backbone(style: str, *stages: Stage) -> Architecture:
    return Architecture(style, Stem(16), stages, spp=False)


@pytest.mark.parametrize("kind", BLOCK_KINDS)
def test_a_kind_fits_its_style_and_mixed_unless_it_spans_stages(kind: str) -> None:
    block = BLOCK_KINDS[kind]
    fitting = {style for style in STYLES if fits_style(block, style)}
    own = set(STYLES) if block.style == ANY_STYLE else {block.style}
    assert fitting == (own if block.spans_stages else own | {MIXED_STYLE})
    assert block.spans_stages == (kind == "kxkx")


def test_mixed_is_a_plain_chain_of_any_kinds() -> None:
    kinds = [kind for kind, block in BLOCK_KINDS.items() if fits_style(block, "mixed")]
    stages = [Stage(kind, 24, 16, 3, BLOCK_KINDS[kind].strides[-1], 1) for kind in kinds]
    graph = lower(backbone("mixed", *stages), "backbone")
    names = [op.name.partition(".")[0] for op in graph]
    assert sorted(set(names), key=names.index) == ["stem", *(f"stage{i}" for i in range(1, len(kinds) + 1))]


@pytest.mark.parametrize(
    ("style", "stages", "words"),
    [
        ("mixed", [Stage("kxkx", 16, 16)], r"stages\[0\]: block kind 'kxkx' belongs to style 'csp', not 'mixed'"),
        ("res", [Stage("k1dwk1", 16, 16)], "belongs to style 'mob', not 'res'"),
        ("mixed", [Stage("sppf", 16, 8, 5, 2)], r"stages\[0\]: stride 2 of kind 'sppf' must be 1"),
        ("mixed", [Stage("c2psa", 16, 8, 3, 2)], "stride 2 of kind 'c2psa' must be 1"),
        ("mixed", [Stage("sppf", 16, 8, 5, 1, 2)], "depth 2 of kind 'sppf' must be at most 1"),
        ("csp", [Stage("kxkx", 16, 16), Stage("c2f", 16, 8, 3, 1)], "of kind 'c2f' must have stride 2"),
        ("csp", [Stage("c2f", 16, 8), Stage("kxkx", 16, 8, 3, 1)], "must follow a stride-2 stage of kind kxkx"),
    ],
)
def test_what_does_not_fit_is_refused(style: str, stages: list[Stage], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        backbone(style, *stages)


def test_structure_text_refuses_what_it_cannot_say() -> None:
    with pytest.raises(BadInput, match="no backbone of style 'mixed': store the architecture as YAML"):
        to_text(backbone("mixed", Stage("k1kx", 16, 8)))
    with pytest.raises(BadInput, match="stage 2: TinyNAS's text has no block kind 'c2f'"):
        to_text(backbone("res", Stage("k1kx", 16, 8), Stage("c2f", 16, 8)), "damo")
    stem = {"class": "ConvKXBNRELU", "in": 3, "out": 16, "s": 2, "k": 3}
    with pytest.raises(BadInput, match="unknown class"):
        parse(repr([stem, {"class": "", "in": 16, "out": 16, "s": 2, "k": 3, "L": 1, "btn": 8}]))


def test_a_space_file_may_have_the_style_mixed() -> None:
    text = """
style: mixed
stem: {out: 16}
stages:
  - {kind: conv, stride: 2, out: 32, btn: 32, depth: 1}
  - {kind: c2f, stride: 2, out: 64, btn: 16..32, depth: 1..2}
  - {kind: k1dwk1, stride: 2, out: 64, btn: 64, depth: 2}
  - {kind: KIND, stride: 2, out: 64, btn: 64, depth: 2}
"""
    space = read_space(text.replace("KIND", "c3k2_c3k"))
    assert space.size() == 3 * 2
    with pytest.raises(BadInput, match="line 8: stage 4: kind 'kxkx' belongs to style 'csp', the space has 'mixed'"):
        read_space(text.replace("KIND", "kxkx"))
