"""Optimizers, parameter groups, the learning rate, the average."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")
from torch import nn

from distill.train.ema import ModelEma
from distill.train.optimizer import MuonSGD, build_optimizer, orthogonal, parameter_groups, set_lr
from distill.train.recipe import TrainRecipe, load_recipe
from distill.train.schedules import lr_factor
from zoo.factory import build


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, 2)


def test_groups_hold_every_parameter_once_with_the_right_decay() -> None:
    net = Net()
    groups = parameter_groups(net, TrainRecipe(weight_decay=0.1, backbone_lr=0.5))
    found = {id(p): (group["share"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(found) == len(list(net.parameters())) == sum(len(group["params"]) for group in groups)
    assert found[id(net.backbone[0].weight)] == (0.5, 0.1)
    assert found[id(net.backbone[0].bias)] == found[id(net.backbone[1].weight)] == (0.5, 0.0)
    assert found[id(net.head.weight)] == (1.0, 0.1) and found[id(net.head.bias)] == (1.0, 0.0)


def test_frozen_parameters_are_left_out() -> None:
    net = Net()
    net.backbone.requires_grad_(False)
    assert sum(len(group["params"]) for group in parameter_groups(net, TrainRecipe())) == 2


def test_rates_follow_the_step_alone() -> None:
    shares = [lr_factor(step, 100, 10, 0.05) for step in range(100)]
    assert shares[0] == pytest.approx(1 / 11) and shares[10] == 1.0
    assert all(a < b for a, b in pairwise(shares[:11]))
    assert all(a > b for a, b in pairwise(shares[10:]))
    assert shares[55] == pytest.approx(0.525) and 0.05 < shares[99] < 0.052
    # Warm-up never eats a short run.
    assert lr_factor(1, 10, 1000, 0.1) == 1.0
    assert lr_factor(50, 100, 0, 1.0) == 1.0


def test_groups_take_their_share_of_the_rate() -> None:
    optimizer = build_optimizer(Net(), TrainRecipe(backbone_lr=0.1))
    set_lr(optimizer, 0.3)
    assert sorted({round(group["lr"], 6) for group in optimizer.param_groups}) == [0.03, 0.3]


@pytest.mark.parametrize("shape", [(32, 64), (64, 32), (48, 48)])
def test_orthogonal_brings_singular_values_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(torch.randn(*shape)))
    assert values.min() > 0.3 and values.max() < 1.6
    spread = torch.linalg.svdvals(torch.randn(*shape))
    assert values.max() / values.min() < spread.max() / spread.min()


def test_muon_steps_by_hand() -> None:
    torch.manual_seed(0)
    big, small = nn.Parameter(torch.randn(32, 16, 3, 3)), nn.Parameter(torch.randn(7))
    before, push = small.detach().clone(), torch.randn(7)
    optimizer = MuonSGD([big, small], lr=0.1, momentum=0.9, weight_decay=0.01)
    start = big.detach().clone()
    big.grad, small.grad = torch.randn_like(big), push.clone()
    optimizer.step()
    torch.testing.assert_close(small.detach(), before * (1 - 0.001) - 0.1 * 1.9 * push)
    moved = (big.detach() - start * (1 - 0.001)) / -0.1
    assert moved.square().mean().sqrt().item() == pytest.approx(0.2, rel=0.25)


def test_muon_solves_and_its_state_comes_back() -> None:
    torch.manual_seed(0)
    net, goal = nn.Linear(32, 32, bias=False), torch.randn(32, 32)
    optimizer = build_optimizer(net, TrainRecipe(optimizer="muon", lr=0.1, weight_decay=0.0))

    def loss() -> torch.Tensor:
        return (net.weight - goal).square().mean()

    first = float(loss().detach())
    for _ in range(100):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert float(loss().detach()) < 0.2 * first
    twin = build_optimizer(net, TrainRecipe(optimizer="muon", lr=0.05, weight_decay=0.0))
    twin.load_state_dict(optimizer.state_dict())
    kept = [state["momentum"] for state in optimizer.state.values()]
    assert all(torch.equal(a, b) for a, b in zip(kept, (s["momentum"] for s in twin.state.values()), strict=True))


@pytest.mark.parametrize("name", ["small", "yolo26", "yolox"])
def test_optimizers_of_the_recipes(name: str) -> None:
    kinds = {"small": torch.optim.AdamW, "yolo26": MuonSGD, "yolox": torch.optim.SGD}
    assert type(build_optimizer(Net(), load_recipe(name))) is kinds[name]


def test_the_average_follows_slowly_and_counts_batches_whole() -> None:
    detector = build("yolox-nano", 3)
    average = ModelEma(detector, 0.9, 10)
    name = (
        "head.stems.0.conv.weight"
        if "head.stems.0.conv.weight" in detector.state_dict()
        else next(iter(detector.state_dict()))
    )
    old = average.detector.state_dict()[name].clone()
    with torch.no_grad():
        detector.state_dict()[name].add_(1.0)
        for key, value in detector.state_dict().items():
            if key.endswith("num_batches_tracked"):
                value.add_(5)
    average.update(detector)
    decay = 0.9 * (1 - math.exp(-1 / 10))
    torch.testing.assert_close(average.detector.state_dict()[name], old + (1 - decay))
    counts = {int(v) for k, v in average.detector.state_dict().items() if k.endswith("num_batches_tracked")}
    assert counts == {5}
    assert not any(p.requires_grad for p in average.detector.parameters())
