"""The choice of what stays: budgets hold for the traced child, the certificate equals brute force, refusals help."""

from __future__ import annotations

import copy
import dataclasses
import functools

import numpy as np
import pytest
import torch

from distill.importance.scores import ImportanceScores
from nas.budgets import parse_budgets
from nas.costs import graph_costs, latency_profiles
from nas.devices.profile import load_device
from nas.shrinking.choice import Chooser
from workbench.errors import BadInput
from zoo.factory import build
from zoo.pruning.groups import channel_groups

PX = 64
PROFILES = latency_profiles([load_device("raspberry-pi-5")])


@functools.cache
def chooser_of(model: str) -> Chooser:
    """A chooser with random importance."""
    with torch.device("meta"):
        parent = build(model, classes=2)
    groups, rng = channel_groups(parent), np.random.default_rng(1)
    scores = ImportanceScores(
        {group.name: rng.gamma(0.5, size=len(group)) for group in groups.groups},
        dict.fromkeys(groups.blocks, 3.0),
        {path: np.linspace(40, 0, n) for path, n in groups.stacks.items()},
        "random",
    )
    return Chooser(parent, scores, PROFILES, PX)


@pytest.mark.parametrize("share", [0.8, 0.65])
def test_the_child_is_within_its_budget(share: float) -> None:
    chooser = chooser_of("yolox-nano")
    budgets = parse_budgets([f"{share * chooser.parent_costs['latency_ms']:.4f}ms", "0.4Mparams"])
    choice = chooser.choose(budgets, gap=0.0)
    child = copy.copy(chooser.parent)
    child.recipe = dataclasses.replace(child.recipe, cuts=choice.cuts)
    costs = graph_costs(child.graph(PX), PX, list(PROFILES.values())).costs
    assert costs == choice.costs
    assert costs["latency_ms"] <= budgets[0].high and costs["params"] <= budgets[1].high
    assert choice.proved and choice.value <= choice.bound <= 1.0
    assert type(choice).from_dict(choice.to_dict()) == choice


def test_a_larger_budget_keeps_no_less() -> None:
    chooser = chooser_of("yolox-nano")
    full = chooser.parent_costs["latency_ms"]
    values = [chooser.choose(parse_budgets([f"{share * full:.4f}ms"])).value for share in (0.65, 0.8, 1.0)]
    assert values == sorted(values) and values[-1] == pytest.approx(1.0)


def test_an_unreachable_budget_names_the_least() -> None:
    chooser = chooser_of("yolox-nano")
    with pytest.raises(BadInput, match=r"the least for yolox-nano is [0-9.]+ ms at 64 px; raise the budget"):
        chooser.choose(parse_budgets(["0.01ms"]))


def test_layers_are_no_budget_of_a_cut() -> None:
    with pytest.raises(BadInput, match="a detector is cut to a latency"):
        chooser_of("yolox-nano").choose(parse_budgets(["20layers"]))
