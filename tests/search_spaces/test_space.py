"""Spaces: closure of sampling, mutation and crossing; sizes; files that are wrong."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.published import PUBLISHED
from search_spaces.space import with_grid
from search_spaces.space_file import load_space, read_space, space_names
from workbench.errors import BadInput

TINY = """\
name: tiny
style: res
channels: 16
stem: {out: 16..32, focus: true}
stages:
  - {kind: k1kx, stride: 2, out: [32, 48], btn: 16..64, k: [3, 5], depth: 1..2}
  - {kind: k1kx, stride: 2, out: 32..64, btn: 16..64, depth: 1..2}
  - {kind: k1kx, stride: 2, out: 64, btn: 32..64, depth: 1}
  - {kind: k1kx, stride: 1, out: 64..96 step 32, btn: 32, depth: 1}
  - {kind: k1kx, stride: 2, out: 96, btn: [32, 96], depth: 1..3}
rules: {out_grows: true, btn_to_out: [0.4, 1.0]}
neck: {out: [32, 64, 96]}
"""


def test_size_is_a_count() -> None:
    space = read_space(TINY)
    genes = [[v for v in values] for _, values in space.gene_choices()]
    rows = np.array(list(itertools.product(*genes)), dtype=np.int64)
    assert space.size() == int(space.contains_rows(rows).sum()) > 0


@pytest.mark.parametrize("name", space_names())
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_sampling_mutation_and_crossing_stay_inside(name: str, seed: int) -> None:
    space, rng = load_space(name), np.random.default_rng(seed)
    rows = space.sample(64, rng)
    assert space.contains_rows(rows).all()
    for _ in range(3):
        moved = space.mutate(rows, rng)
        assert space.contains_rows(moved).all()
        rows = space.cross(moved, rows[::-1].copy(), rng)
        assert space.contains_rows(rows).all()
    for row in rows[:3]:
        arch = space.decode(row)
        assert space.contains(arch)
        assert space.encode(arch).tolist() == row.tolist()


def test_mutation_moves_something() -> None:
    space, rng = load_space("res"), np.random.default_rng(0)
    rows = space.sample(512, rng)
    assert (space.mutate(rows, rng) != rows).any(axis=1).mean() > 0.3


def test_sampling_is_uniform() -> None:
    space = read_space(TINY)
    rows = space.sample(200_000, np.random.default_rng(0))
    _, counts = np.unique(rows, axis=0, return_counts=True)
    assert len(counts) == space.size()
    assert counts.std() / counts.mean() < 3 / np.sqrt(counts.mean())


@pytest.mark.parametrize(
    ("space", "model"),
    [("res", "damo-yolo-t"), ("res", "damo-yolo-s"), ("res-t", "damo-yolo-t"), ("csp", "damo-yolo-m"),
     ("mob", "damo-yolo-ns"), ("mob", "damo-yolo-nm"), ("mob", "damo-yolo-nl")],
)  # fmt: skip
def test_published_models_lie_in_their_spaces(space: str, model: str) -> None:
    assert load_space(space).why_not(PUBLISHED[model]) == ""


def test_why_not_names_the_gene() -> None:
    assert "stage2.out=128" in load_space("res-t").why_not(PUBLISHED["damo-yolo-s"])


def test_grids_nest() -> None:
    sizes = [with_grid(load_space("res"), step).size() for step in (32, 16, 8)]
    assert sizes == sorted(sizes)
    with pytest.raises(BadInput, match="grid 600"):
        with_grid(load_space("res"), 600)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("style: res", "style: ress", 2, "did you mean res"),
        ("channels: 16", "channels: 0", 3, "at least 1"),
        ("out: 16..32,", "out: 16-32,", 4, "is not a range"),
        ("depth: 1..2}", "deep: 1..2}", 6, "deep"),
        ("kind: k1kx, stride: 2, out: 32..64", "kind: kxkx, stride: 2, out: 32..64", 7, "belongs to style"),
        ("kind: k1kx, stride: 2, out: 64,", "kind: k1kx, stride: 3, out: 64,", 8, "stride 3"),
        ("step 32", "step 0", 9, "step 0"),
        ("btn: [32, 96]", "btn: [32, 96], btn_ratio: 2.0", 10, "either btn"),
        ("[0.4, 1.0]", "[1.4, 1.0]", 11, "is empty"),
        ("k: [3, 5]", "k: [3, 4]", 6, "kernel 4"),
        ("neck: {out: [32, 64, 96]}", "neck: {width: 3}", 12, "width"),
        ("out: 96,", "out: 16,", 5, "no architecture at all"),
        ("name: tiny", "name: [", 3, "not YAML"),
    ],
)
def test_bad_files_name_line_and_rule(old: str, new: str, line: int, words: str) -> None:
    assert old in TINY
    with pytest.raises(BadInput) as caught:
        read_space(TINY.replace(old, new, 1), "my.yaml")
    text = str(caught.value)
    assert f"my.yaml, line {line}" in text
    assert words in text


def test_unknown_space() -> None:
    with pytest.raises(BadInput, match="did you mean res"):
        load_space("rez")
