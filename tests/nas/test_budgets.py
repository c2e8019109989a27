"""Budgets as people type them."""

from __future__ import annotations

import pytest

from nas.budgets import Budget, parse_budget, parse_budgets
from workbench.errors import BadInput


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("3ms", Budget("latency_ms", 3.0)),
        ("2.5..3ms", Budget("latency_ms", 3.0, 2.5)),
        ("500us", Budget("latency_ms", 0.5)),
        ("20GFLOPs", Budget("flops", 20e9)),
        ("9Mparams", Budget("params", 9e6)),
        ("25layers", Budget("layers", 25.0)),
        ("64MBact", Budget("act_bytes", 64e6)),
        ("t4:3ms", Budget("latency_ms", 3.0, device="t4")),
        (" 1.5e1ms ", Budget("latency_ms", 15.0)),
    ],
)
def test_forms(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget
    assert parse_budget(str(budget)) == budget


@pytest.mark.parametrize(
    "text", ["", "3", "ms", "-3ms", "3m", "0ms", "3..2ms", "nanms", "1..2..3ms", "3 parsecs", "1e999ms", "3ms; rm"]
)
def test_wrong_budgets_teach(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_budget(text)
    assert repr(text) in str(caught.value)


def test_several_narrow_each_other() -> None:
    assert parse_budgets(["3ms", "2..5ms"]) == (Budget("latency_ms", 3.0, 2.0),)
    with pytest.raises(BadInput, match="contradict"):
        parse_budgets(["2ms", "3..5ms"])
    assert [b.quantity for b in parse_budgets(["25layers", "9Mparams", "3ms"])] == ["latency_ms", "params", "layers"]
    with pytest.raises(BadInput, match="no budget"):
        parse_budgets([])
