"""Choices of neck and head: genes, order, uniform samples, families."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from search_spaces.architecture import Head, Neck
from search_spaces.tail_choices import NeckForm, TailChoices

FORMS = (
    NeckForm((("kind", "repgfpn"), ("depth", 0.5))),
    NeckForm((("kind", "pan"), ("blocks", ("c3k2",)), ("depth", 1.0))),
)
TAIL = TailChoices(
    Neck((32, 64, 64), depth=0.5),
    Head(4),
    ((32, 48), (64,), (48, 64, 96)),
    (("neck.kind", FORMS), ("neck.hidden_ratio", (0.5, 0.75, 1.0)), ("head.reg_max", (0, 7))),
)


def test_genes_are_open_widths_and_fields() -> None:
    assert [name for name, _ in TAIL.genes] == [
        "neck.p3", "neck.p5", "neck.kind", "neck.hidden_ratio", "head.reg_max"
    ]  # fmt: skip
    assert TAIL.open_levels == (0, 2)
    assert dict(TAIL.genes)["neck.p5"] == (48, 64, 96) and dict(TAIL.genes)["neck.hidden_ratio"] == (0, 1, 2)


def test_every_choice_once() -> None:
    rows = np.concatenate([TAIL.rows(TAIL.widths, structure) for structure in TAIL.structures])
    assert len(rows) == TAIL.size == 4 * 12 == len(np.unique(rows, axis=0))
    assert TAIL.contains(rows).all()
    made = {TAIL.decode(row) for row in rows}
    assert len(made) == TAIL.size
    for row in rows:
        genes = TAIL.encode(*TAIL.decode(row))
        assert genes is not None and genes.tolist() == row.tolist()
    assert {(neck.kind, neck.blocks, neck.depth) for neck, _ in made} == {
        ("repgfpn", (), 0.5), ("pan", ("c3k2",), 1.0)
    }  # fmt: skip


def test_widths_never_narrow_towards_coarser_levels() -> None:
    assert (np.diff(TAIL.widths, axis=1) >= 0).all() and 48 not in TAIL.widths[:, 2]
    assert not TAIL.contains(np.array([[32, 48, 0, 0, 0]]))[0]


@pytest.mark.parametrize("genes", [[40, 64, 0, 0, 0], [32, 64, 2, 0, 0], [32, 64, 0, 0, -1]])
def test_what_is_no_choice(genes: list[int]) -> None:
    assert not TAIL.contains(np.array([genes]))[0]


def test_what_cannot_be_encoded() -> None:
    neck, head = TAIL.decode(np.array([32, 64, 0, 0, 0]))
    assert TAIL.encode(dataclasses.replace(neck, hidden_ratio=0.6), head) is None
    assert TAIL.encode(neck, dataclasses.replace(head, k=5)) is None
    assert TAIL.encode(dataclasses.replace(neck, out=(32, 80, 96)), head) is None
    assert TAIL.encode(None, None) is None


def test_samples_are_uniform() -> None:
    rows = TAIL.sample(24_000, np.random.default_rng(0))
    assert TAIL.contains(rows).all()
    _, counts = np.unique(rows, axis=0, return_counts=True)
    assert len(counts) == TAIL.size
    assert counts.std() / counts.mean() < 3 / np.sqrt(counts.mean())


def test_families_differ_in_hidden_ratio_alone() -> None:
    families = TAIL.families
    assert len(families) == 4
    assert np.sum([members for _, _, members, _ in families], axis=0).tolist() == [1] * 12
    for neck, head, members, ratios in families:
        for index in np.flatnonzero(members):
            structure = TAIL.structures[index]
            assert structure.head == head
            assert structure.neck == dataclasses.replace(neck, hidden_ratio=ratios[index])


def test_fields_may_be_the_only_choice() -> None:
    tail = TailChoices(Neck(), Head(), ((128,), (256,), (512,)), (("head.k", (1, 3)),))
    assert tail.open_levels == () and tail.size == 2
    assert [tail.decode(row)[1].k for row in np.array([[0], [1]])] == [1, 3]
