"""Architectures of equal predicted latency from small copies of the spaces."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nas.budgets import parse_budget
from nas.devices.profile import load_device
from nas.evidence.own.request import DEVICE, INPUT_PX, SHRINK, SPACES
from nas.evidence.own.sampling import BAND, common_band, sample_architectures, shrink_space
from search_spaces.lowering import lower
from search_spaces.space_file import load_space, space_names
from workbench.errors import BadInput

SMALL = [shrink_space(load_space(name), SHRINK, 12) for name in SPACES]


@pytest.mark.parametrize("name", space_names())
def test_a_quarter_of_the_channels_and_all_of_the_rest(name: str) -> None:
    whole = load_space(name)
    small = shrink_space(whole, 4, 12)
    assert max(small.stages[-1].outs) * 4 == max(whole.stages[-1].outs) and small.head.classes == 12
    assert [width * 4 for width in small.neck.out] == list(whole.neck.out)
    assert [(s.kind, s.stride, s.ks, s.depths) for s in small.stages] == [
        (s.kind, s.stride, s.ks, s.depths) for s in whole.stages
    ]
    for row in small.sample(20, np.random.default_rng(0)):
        assert small.contains(small.decode(row))
        lower(small.decode(row)).table(64)


def test_shrinking_by_one_changes_nothing_but_the_classes() -> None:
    whole = load_space("res")
    assert shrink_space(whole, 1, whole.head.classes) == whole


def test_all_are_equally_fast_and_take_turns() -> None:
    device = load_device(DEVICE)
    budget, sampled = sample_architectures(SMALL, device, INPUT_PX, None, 8, 0)
    assert [arch.name for arch in sampled] == [
        "res-001",
        "csp-001",
        "mob-001",
        "res-002",
        "csp-002",
        "mob-002",
        "res-003",
        "csp-003",
    ]
    assert budget.low < budget.high <= 1.0001 * BAND * budget.low
    for arch, space in zip(sampled, [*SMALL, *SMALL, *SMALL], strict=False):
        assert space.contains(arch.architecture)
        ms = device.latency_ms(lower(arch.architecture), INPUT_PX)
        assert ms == pytest.approx(arch.costs["latency_ms"]) and budget.low - 1e-3 <= ms <= budget.high + 1e-3
    assert len({arch.architecture.digest() for arch in sampled}) == 8


def test_the_first_of_many_are_the_draws_of_few_and_follow_from_the_seed() -> None:
    device = load_device(DEVICE)
    few, many, other = (
        sample_architectures(SMALL, device, INPUT_PX, None, count, seed)[1] for count, seed in ((4, 3), (9, 3), (4, 4))
    )
    assert [arch.architecture for arch in few] == [arch.architecture for arch in many[:4]]
    assert [arch.architecture for arch in few] != [arch.architecture for arch in other]


def test_a_budget_is_kept() -> None:
    device = load_device(DEVICE)
    budget, sampled = sample_architectures(SMALL[:1], device, INPUT_PX, parse_budget("30..60MFLOPs"), 3, 0)
    assert str(budget) == "0.03..0.06GFLOPs" and all(30e6 <= arch.costs["flops"] <= 60e6 for arch in sampled)


def test_the_common_band_is_where_the_scarcest_space_has_most() -> None:
    middles = np.exp(np.random.default_rng(0).normal(0, 0.3, 4000))
    band = common_band([middles * 10, middles * 20])
    assert 10 < band.low < 20 and abs(math.log(band.low / math.sqrt(200))) < 0.1


def test_a_band_that_nothing_keeps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.evidence.own.sampling.ROUNDS", 2)
    with pytest.raises(BadInput, match=r"space 'res' only 0 of 1 keep 0\.001\.\.0\.0011ms: half of them lie from"):
        sample_architectures(SMALL, load_device(DEVICE), INPUT_PX, parse_budget("1..1.1us"), 3, 0)


def test_spaces_without_a_common_latency_are_refused() -> None:
    with pytest.raises(BadInput, match=r"no latency in common \(1 to 2 ms; 5 to 6 ms\)"):
        common_band([np.array([1.0, 2.0]), np.array([5.0, 6.0])])
    with pytest.raises(BadInput, match="--shrink 0"):
        shrink_space(load_space("res"), 0, 12)
