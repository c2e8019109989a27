"""Spaces with several levels and input sides: rows of the union and of its variants."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest

from search_spaces.space_file import read_space
from search_spaces.variants import VariantSpace
from tests.search_spaces.test_space_file import WHOLE
from workbench.errors import BadInput


@pytest.fixture(scope="module")
def space() -> VariantSpace:
    found = read_space(WHOLE)
    assert isinstance(found, VariantSpace)
    return found


def test_variants_are_sides_times_levels(space: VariantSpace) -> None:
    assert [(v.input_px, v.space.neck.strides) for v in space.variants] == [
        (128, (8, 16, 32)), (128, (8, 16)), (160, (8, 16, 32)), (160, (8, 16))
    ]  # fmt: skip
    assert space.size() == sum(v.space.size() for v in space.variants)
    assert space.genes == len(space.gene_choices()) == len({name for name, _ in space.gene_choices()})


def test_rows_say_their_variant(space: VariantSpace) -> None:
    rows = space.sample(200, np.random.default_rng(0))
    which = space.variant_of(rows)
    assert set(which) == {0, 1, 2, 3}
    for index, at in space.by_variant(rows):
        variant = space.variants[index]
        assert (space.sides(rows)[at] == variant.input_px).all()  # type: ignore[index]
        own = rows[np.ix_(at, variant.columns)]
        assert variant.space.contains_rows(own).all()
        assert (space.embed(variant, own) == rows[at]).all()
    assert [(index, len(at)) for index, at in space.by_levels_of(rows)] == [
        (0, int((which % 2 == 0).sum())), (1, int((which % 2 == 1).sum()))
    ]  # fmt: skip


def test_what_is_no_row(space: VariantSpace) -> None:
    row = space.sample(1, np.random.default_rng(0))
    names = [name for name, _ in space.gene_choices()]
    bad = np.repeat(row, 4, axis=0)
    bad[0, names.index("input")] = 144
    bad[1, names.index("levels")] = 2
    bad[2, names.index("levels")] = 1 - bad[2, names.index("levels")]  # genes of the other variant are missing
    bad[3] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not space.contains_rows(bad).any()
    assert space.variant_of(bad).tolist()[:2] == [-1, -1]
    assert space.contains_rows(row).all()


def test_moves_reach_every_variant_and_stay_inside(space: VariantSpace) -> None:
    rng = np.random.default_rng(0)
    rows = np.repeat(space.sample(1, rng), 500, axis=0)
    for _ in range(8):
        rows = space.mutate(rows, rng)
        assert space.contains_rows(rows).all()
    assert set(space.variant_of(rows)) == {0, 1, 2, 3}
    other = space.sample(500, rng)
    crossed = space.cross(rows, other, rng)
    assert space.contains_rows(crossed).all()
    assert (space.variant_of(crossed) == space.variant_of(rows)).all()
    assert (crossed != rows).any(axis=1).mean() > 0.1


def test_described_rows_name_values(space: VariantSpace) -> None:
    for row in space.sample(20, np.random.default_rng(1)):
        named, arch = space.described(row), space.decode(row)
        assert arch.neck is not None and arch.head is not None
        assert named["input"] == arch.input_px and named["levels"] == "/".join(map(str, arch.neck.strides))
        assert named["neck.p5"] == (arch.neck.out[2] if len(arch.neck.out) == 3 else None)
        assert named["stage1.kind"] == arch.stages[0].kind and named["head.reg_max"] == arch.head.reg_max
        assert named["neck.depth"] == arch.neck.depth


def test_one_side_and_other_sides(space: VariantSpace) -> None:
    fixed = space.without_inputs()
    assert fixed.size() * 2 == space.size()
    arch = space.decode(space.sample(1, np.random.default_rng(2))[0])
    assert space.why_not(arch) == ""
    assert "input 96" in space.why_not(dataclasses.replace(arch, input_px=96))
    with pytest.raises(BadInput, match="does not lie in space"):
        space.encode(dataclasses.replace(arch, input_px=96))
    assert space.encode(dataclasses.replace(arch, input_px=None))[-1] == 128


def test_a_grid_recuts_every_variant(space: VariantSpace) -> None:
    coarse = space.on_grid(32)
    assert coarse.size() < space.size() and coarse.genes == space.genes
    assert all(out % 32 == 0 for stage in coarse.stages for out in stage.outs)
