"""The designed chains: seeded, of every kind, and within their limits."""

from __future__ import annotations

import pytest

from nas.devices.calibration.chains import DESIGNS, LEAST_MACS, LEAST_MOVED, MOST_MACS, MOST_MOVED, designed_chains
from nas.devices.calibration.networks import Design


def test_the_set_is_the_same_for_a_seed_and_another_for_another() -> None:
    first, again, other = ([graph.to_json() for graph in designed_chains(64, seed)] for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_kind_is_drawn_and_nothing_takes_too_long(device: str) -> None:
    size = Design.of_device(device).size
    chains = designed_chains(200, 0, size)
    assert {graph.name.rpartition("-")[0] for graph in chains} == set(DESIGNS)
    assert len({graph.name for graph in chains}) == 200
    for graph in chains:
        table = graph.table()
        macs, moved = table.total(table.macs) / size, table.total(table.in_elems + table.out_elems) / size
        assert macs <= MOST_MACS and moved <= MOST_MOVED and (macs >= LEAST_MACS or moved >= LEAST_MOVED)
