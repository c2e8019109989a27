"""Costs summed from the problem's tables equal those of the traced child, in every family."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch

from nas.costs import graph_costs, latency_profiles
from nas.devices.profile import load_device
from nas.shrinking.problem import Worth, shrink_problem
from zoo.factory import build
from zoo.pruning.widths import network_widths

PROFILES = latency_profiles([load_device("t4"), load_device("raspberry-pi-5")])


def check(model: str, input_px: int, trials: int) -> None:
    """Random widths, with and without skipped blocks."""
    with torch.device("meta"):
        parent = build(model)
    widths = network_widths(parent, input_px)
    groups = widths.groups
    worth = Worth({g.name: np.ones(len(g)) for g in groups.groups}, dict.fromkeys(groups.blocks, 1.0))
    problem = shrink_problem(widths, worth, PROFILES)
    rng = np.random.default_rng(0)
    for trial in range(trials):
        skipped = [path for path in groups.blocks if trial and rng.random() < 0.3]
        states = [
            0 if group.block in skipped else int(rng.choice([s for s in variable.states if s]))
            for group, variable in zip(groups.groups, problem.variables, strict=True)
        ]
        kept = {g.name: np.arange(s) for g, s in zip(groups.groups, states, strict=True) if s}
        child = copy.copy(parent)
        child.recipe = dataclasses.replace(parent.recipe, cuts=groups.cuts_of(kept, skipped))
        real = graph_costs(child.graph(input_px), input_px, list(PROFILES.values())).costs
        _, costs = problem.measure(states)
        assert set(real) == set(costs)
        for name, value in real.items():
            unit = PROFILES[name].tick_ms if name in PROFILES else 1.0
            assert value == pytest.approx(costs[name] * unit, abs=unit / 2), (name, trial)


@pytest.mark.parametrize(("model", "input_px"), [("yolox-nano", 96), ("yolo26n", 64), ("damo-yolo-ns", 128)])
def test_costs_equal_those_of_the_child(model: str, input_px: int) -> None:
    check(model, input_px, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", ["yolo11n", "yolo11m", "yolov7", "damo-yolo-m", "rtdetrv2-s", "rtdetrv2-l", "yolox-m"]
)
def test_costs_of_larger_networks(model: str) -> None:
    check(model, 640, 4)
