"""Two processes with half of every batch each do what one does with all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests.distill.train.parallel.cases import STEPS, TASKS, all_trained, loop_of, overflowed
from tests.distill.train.parallel.processes import together

SINGLE, DOUBLE = 2e-4, 1e-5
"""Relative difference of losses, gradient norms, weight changes and optimizer state after a few steps: float32 sums in
another order, and float64, some of whose losses are computed in float32."""


def moved(a: dict[str, Any], b: dict[str, Any]) -> float:
    """Norm of the difference of two sets of tensors."""
    assert a.keys() == b.keys()
    return float(torch.stack([(a[name].double() - b[name].double()).square().sum() for name in a]).sum().sqrt())


def compare(one: dict[str, Any], two: dict[str, Any], start: dict[str, Any], near: float) -> None:
    """Losses by name, gradient norms, weights, batch statistics, averages and what the optimizer keeps."""
    for ours, theirs in zip(two["reports"], one["reports"], strict=True):
        assert ours["losses"] == pytest.approx(theirs["losses"], rel=near, abs=1e-8)
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=near) and ours["lr"] == theirs["lr"]
    ours, theirs = two["state"], one["state"]
    assert ours["step"] == theirs["step"] == STEPS
    for part in ("task", "average"):
        before = start[part]
        floats = [name for name, value in before.items() if value.dtype.is_floating_point]
        statistics = [name for name in floats if ".running_" in name]
        for names in (statistics, [name for name in floats if name not in statistics]):
            way = moved({n: theirs[part][n] for n in names}, {n: before[n] for n in names})
            assert way > 0
            assert moved({n: ours[part][n] for n in names}, {n: theirs[part][n] for n in names}) < near * way
    kept, found = (
        {str(number): one["momentum_buffer"] for number, one in side["optimizer"]["state"].items()}
        for side in (theirs, ours)
    )
    assert moved(found, kept) < near * moved(kept, {number: torch.zeros_like(one) for number, one in kept.items()})


def check(found: list[dict[str, Any]], name: str) -> None:
    first, second = (part[name] for part in found)
    for part in ("task", "average"):
        assert all(torch.equal(value, second["state"][part][key]) for key, value in first["state"][part].items()), (
            "the same bits everywhere"
        )
    start = loop_of(name).state()
    precise = next(value.dtype for value in start["task"].values() if value.dtype.is_floating_point) == torch.float64
    compare(all_trained([name])[name], first, start, DOUBLE if precise else SINGLE)


def test_two_processes_are_one_with_a_teacher_and_all_go_back_after_an_overflow_in_one_part(tmp_path: Path) -> None:
    found = together(2, tmp_path, all_trained, ["cells", "overflowed"])
    check(found, "cells")
    alone = overflowed()
    for one in (part["overflowed"] for part in found):
        assert one["rolled_back"] == alone["rolled_back"] and "layer detector.backbone" in one["rolled_back"]
        assert one["steps"] == alone["steps"] and one["trouble"] == alone["trouble"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TASKS if name != "cells"])
def test_two_processes_are_one(name: str, tmp_path: Path) -> None:
    check(together(2, tmp_path, all_trained, [name]), name)
