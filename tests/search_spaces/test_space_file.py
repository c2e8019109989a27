"""Space files with choices of the whole detector: what they read as, and errors that name line and rule."""

from __future__ import annotations

import numpy as np
import pytest

from search_spaces.space_file import load_space, read_space, space_names
from search_spaces.variants import VariantSpace
from workbench.errors import BadInput

WHOLE = """\
name: whole
style: mixed
act: relu
channels: 16
input: [128, 160]
levels: [[8, 16, 32], [8, 16]]
stem: {out: 16..32, focus: true}
stages:
  - {kind: [k1kx, repvgg], stride: 2, out: [32, 48], btn: 16..64, depth: 1..2}
  - {kind: k1kx, stride: 2, out: 32..64, btn: 16..64, depth: 1..2}
  - {kind: k1kx, stride: 2, out: 64, btn: 32..64, depth: 1}
  - kind:
      - {kind: k1kx, btn: 32}
      - {kind: c2f, btn_ratio: 0.5}
    stride: 2
    out: 96
    depth: 1..3
neck:
  out: {8: [32, 48], 16: 64, 32: [64, 96]}
  depth: [0.5, 1.0]
  hidden_ratio: 0.5
head: {classes: 4, reg_max: [0, 7]}
"""
FORMS = WHOLE.replace(
    "  depth: [0.5, 1.0]\n",
    "  kind:\n    - {kind: repgfpn, depth: 0.5}\n    - {kind: pan, blocks: [k1kx], depth: 1}\n",
)
"""The same with kinds of neck that have fields of their own."""


def test_genes_of_the_whole() -> None:
    space = read_space(WHOLE)
    assert isinstance(space, VariantSpace)
    choices = dict(space.gene_choices())
    assert choices["input"] == (128, 160) and choices["levels"] == (0, 1) and choices["stage1.kind"] == (0, 1)
    assert choices["neck.p3"] == (32, 48) and choices["neck.p5"] == (0, 64, 96) and "neck.p4" not in choices
    assert {len(variant.space.stages) for variant in space.variants} == {3, 4}
    rows = space.sample(60, np.random.default_rng(0))
    archs = [space.decode(row) for row in rows]
    assert {arch.input_px for arch in archs} == {128, 160}
    assert {arch.neck.strides for arch in archs if arch.neck} == {(8, 16, 32), (8, 16)}
    assert {arch.head.reg_max for arch in archs if arch.head} == {0, 7}


def test_kinds_of_neck_bring_their_fields() -> None:
    space = read_space(FORMS)
    necks = [space.decode(row).neck for row in space.sample(40, np.random.default_rng(0))]
    assert {(neck.kind, neck.depth, neck.blocks) for neck in necks if neck} == {
        ("repgfpn", 0.5, ()),
        ("pan", 1.0, ("k1kx",)),
    }


@pytest.mark.parametrize(
    ("old", "new", "values"),
    [
        ("depth: [0.5, 1.0]", "depth: 0.5..1.5 step 0.5", [0.5, 1.0, 1.5]),
        ("depth: [0.5, 1.0]", "depth: 1..2", [1.0, 2.0]),
        ("depth: [0.5, 1.0]", "depth: 0.1..0.3 step 0.1", [0.1, 0.2, 0.3]),
        ("depth: [0.5, 1.0]", "depth: 1", [1.0]),
    ],
)
def test_ranges_in_the_neck(old: str, new: str, values: list[float]) -> None:
    space = read_space(WHOLE.replace(old, new, 1))
    necks = [space.decode(row).neck for row in space.sample(60, np.random.default_rng(0))]
    assert sorted({neck.depth for neck in necks if neck}) == values
    assert all(isinstance(neck.depth, float) for neck in necks if neck)


def test_a_range_in_the_head_counts_in_ones() -> None:
    space = read_space(WHOLE.replace("reg_max: [0, 7]", "reg_max: 3..6", 1))
    heads = [space.decode(row).head for row in space.sample(60, np.random.default_rng(0))]
    assert sorted({head.reg_max for head in heads if head}) == [3, 4, 5, 6]


BAD = [
    ("[k1kx, repvgg]", "[k1kx, k1kx]", 9, "kind 'k1kx' stands twice"),
    ("[k1kx, repvgg]", "[]", 9, "kind lists no choice"),
    ("[k1kx, repvgg]", "[k1kx, {name: repvgg}]", 9, "unknown field of stage 1: kind 'name'"),
    ("[k1kx, repvgg]", "[k1kx, repvg]", 9, "did you mean repvgg"),
    ("[k1kx, repvgg]", "[k1kx, [repvgg]]", 9, "kind ['repvgg'] must be the name of a block kind"),
    ("[k1kx, repvgg]", "{kind: k1kx}", 9, "kind {'kind': 'k1kx'} must be the name of a block kind"),
    ("{kind: k1kx, btn: 32}", "{kind: k1kx, btn: 32, out: 32}", 13, "unknown field of stage 4: kind 'out'"),
    ("{kind: k1kx, btn: 32}", "{kind: k1kx}", 13, "give either btn (channels) or btn_ratio"),
    ("hidden_ratio: 0.5", "strides: [8, 16, 32]", 21, "write levels: [8, 16, 32] beside it"),
    ("hidden_ratio: 0.5", "hidden: 0.5", 21, "did you mean hidden_ratio"),
    ("hidden_ratio: 0.5", "hidden_ratio: 0.5..1.0", 21, "needs a step"),
    ("hidden_ratio: 0.5", "hidden_ratio: 1.0..0.5 step 0.25", 21, "must hold 1 to 4096 numbers"),
    ("hidden_ratio: 0.5", "hidden_ratio: 0.5..1.0 step 0", 21, "must hold 1 to 4096 numbers"),
    ("hidden_ratio: 0.5", "hidden_ratio: [0.5, 9.0]", 18, "hidden_ratio 9.0 must be in (0, 4]"),
    ("hidden_ratio: 0.5", "hidden_ratio: [0.5, yes]", 21, "hidden_ratio=True must be a number"),
    ("hidden_ratio: 0.5", "hidden_ratio: [0.5, 0.5]", 21, "must list different numbers"),
    ("hidden_ratio: 0.5", "hidden_ratio: []", 21, "must list different numbers"),
    ("hidden_ratio: 0.5", "hidden_ratio: [[0.5], 1.0]", 21, "must list different numbers"),
    ("levels: [[8, 16, 32], [8, 16]]", "levels: [8, 32]", 6, "levels [8, 32] must be two to four neighbors"),
    ("levels: [[8, 16, 32], [8, 16]]", "levels: [[8, 16, 32], [16, 8]]", 6, "levels [16, 8] must be two to four"),
    ("levels: [[8, 16, 32], [8, 16]]", "levels: [8, 16, 64]", 6, "neighbors of 4, 8, 16, 32"),
    ("levels: [[8, 16, 32], [8, 16]]", "levels: []", 6, "or a list of such lists"),
    ("levels: [[8, 16, 32], [8, 16]]", "levels: 8", 6, "or a list of such lists"),
    ("levels: [[8, 16, 32], [8, 16]]", "levels: [[8, 16, 32], 8]", 6, "or a list of such lists"),
    ("levels: [[8, 16, 32], [8, 16]]", "levels: [[8, 16], [8, 16]]", 6, "[8, 16] stands twice"),
    ("levels: [[8, 16, 32], [8, 16]]", "levels: [4, 8, 16]", 19, "out lacks the stride 4"),
    ("input: [128, 160]", "input: 100", 5, "multiples of 32"),
    ("input: [128, 160]", "input: [32]", 5, "at least 64 pixels"),
    ("input: [128, 160]", "input: []", 5, "input lists no choice"),
    ("input: [128, 160]", "input: big", 5, "is not a range"),
    ("out: {8: [32, 48], 16: 64, 32: [64, 96]}", "out: [32, 64]", 19, "2 items, and there are 3 levels: 8, 16, 32"),
    ("out: {8: [32, 48], 16: 64, 32: [64, 96]}", "out: {8: 32, 16: 64}", 19, "out lacks the stride 32"),
    ("out: {8: [32, 48], 16: 64, 32: [64, 96]}", "out: {8: 8, 16: 8, 32: 8, 64: 8}", 19, "out has stride 64"),
    ("out: {8: [32, 48], 16: 64, 32: [64, 96]}", "out: 64", 19, "must be a list with the channels of every level"),
    ("out: {8: [32, 48], 16: 64, 32: [64, 96]}", "out: {8: [96, 98], 16: 64, 32: 64}", 18, "leaves no choice"),
    ("out: {8: [32, 48], 16: 64, 32: [64, 96]}", "out: {8: 16..1999, 16: 16..1999, 32: 64}", 18, "15,376 and 4"),
    ("reg_max: [0, 7]", "reg_max: [0, -7]", 22, "reg_max -7 must be a whole number of at least 0"),
    ("reg_max: [0, 7]", "reg_max: [0, 7.5]", 22, "reg_max=7.5 must be a whole number"),
    ("reg_max: [0, 7]", "reg_max: 0..99999", 22, "must hold 1 to 4096 numbers"),
    ("reg_max: [0, 7]", "reg_max: 0..999, width: 0..9", 18, "4,096 settings of neck and head"),
    ("reg_max: [0, 7]", "bins: [0, 7]", 22, "unknown field of head 'bins'"),
    ("head: {classes: 4, reg_max: [0, 7]}", "head: 4", 22, "head must be a mapping"),
]
BAD_FORMS = [
    ("hidden_ratio: 0.5", "depth: [0.5, 1.0]", 21, "depth stands both in the neck and in one of its kinds"),
    ("{kind: pan, blocks: [k1kx], depth: 1}", "{kind: pan, depth: 1}", 18, "must name one block kind"),
    ("{kind: pan, blocks: [k1kx], depth: 1}", "{kind: pan, blocks: [k1kz]}", 18, "did you mean k1kx"),
    ("{kind: pan, blocks: [k1kx], depth: 1}", "{kind: pann, depth: 1}", 18, "did you mean pan"),
    ("{kind: pan, blocks: [k1kx], depth: 1}", "{kind: pan, depth: deep}", 22, "'deep' must be a positive number"),
    ("{kind: pan, blocks: [k1kx], depth: 1}", "{kind: pan, depth: [1, 2]}", 22, "[1, 2] must be a positive number"),
    ("{kind: pan, blocks: [k1kx], depth: 1}", "{kind: pan, blocks: k1kx}", 18, "must be a list of names"),
    ("{kind: pan, blocks: [k1kx], depth: 1}", "{kind: pan, width: 1}", 22, "unknown field of neck: kind 'width'"),
    ("{kind: pan, blocks: [k1kx], depth: 1}", "{kind: repgfpn, depth: 0.5}", 20, "must list different kinds"),
    ("{kind: pan, blocks: [k1kx], depth: 1}", "{depth: 1}", 22, "lacks the field 'kind'"),
]


@pytest.mark.parametrize(
    ("text", "old", "new", "line", "words"),
    [(WHOLE, *case) for case in BAD] + [(FORMS, *case) for case in BAD_FORMS],
)
def test_bad_files_name_line_and_rule(text: str, old: str, new: str, line: int, words: str) -> None:
    assert old in text
    with pytest.raises(BadInput) as caught:
        read_space(text.replace(old, new, 1), "my.yaml")
    message = str(caught.value)
    assert message.startswith(f"my.yaml, line {line}: ") and "\n" not in message and "object at" not in message
    assert words in message


@pytest.mark.parametrize("name", space_names())
def test_shipped_spaces_are_counted_and_printed(name: str) -> None:
    space = load_space(name)
    assert space.size() > 10**9
    assert f"{space.size():.3g}" in str(space)
    assert len(str(space).splitlines()) > len(space.stages)


def test_the_size_of_a_union_is_exact() -> None:
    space = load_space("damo")
    assert isinstance(space, VariantSpace)
    assert space.size() == sum(variant.space.size() for variant in space.variants) > 10**19
    assert isinstance(space.size(), int)
