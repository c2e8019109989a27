"""The loop: it learns, it resumes to the same bits, and it survives numbers that overflow."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn

from distill.train.loop import Loop
from distill.train.overflow import first_overflow, run_in_float32
from distill.train.recipe import load_recipe
from distill.train.task import SupervisedTask
from tests.distill.tiny import PX, TinyBatch, batches, tiny_detector
from workbench.errors import BadInput

RECIPE = load_recipe(
    "small", {"lr": 2e-3, "nominal_batch": 4, "batch": 4, "epochs": 4, "closing_epochs": 1, "weight_decay": 0.0}
)


def loop_for(steps: int = 40, seed: int = 0, **changes: Any) -> Loop:
    recipe = load_recipe(
        "small", {"lr": 2e-3, "nominal_batch": 4, "batch": 4, "epochs": 4, "closing_epochs": 1, **changes}
    )
    return Loop(SupervisedTask(tiny_detector()), recipe, steps, steps // 4, seed=seed)


def weights(loop: Loop) -> dict[str, torch.Tensor]:
    return {**loop.task.state_dict(), **{f"average.{k}": v for k, v in loop.average.detector.state_dict().items()}}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_and_reports_every_loss_by_name() -> None:
    loop = loop_for(120)
    fed = batches(4)
    reports = [loop.advance([fed[i % 4]]) for i in range(120)]
    assert all(len(report.losses) >= 3 and min(report.losses.values()) >= 0 for report in reports)
    sums = [sum(report.losses.values()) for report in reports]
    # The first losses are small because boxes count by their score, which starts near 0.
    assert sum(sums[-10:]) / 10 < 0.6 * max(sums)
    assert loop.step == 120 and loop.phase.closing and loop.phase.progress == 1.0


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_going_on_gives_the_same_bits(optimizer: str) -> None:
    whole, fed = loop_for(optimizer=optimizer), batches(6)
    for batch in fed:
        whole.advance([batch])
    part = loop_for(optimizer=optimizer)
    for batch in fed[:3]:
        part.advance([batch])
    file = io.BytesIO()
    torch.save(part.state(), file)
    file.seek(0)
    again = loop_for(optimizer=optimizer)
    again.restore(torch.load(file, weights_only=True))
    assert again.step == 3
    for batch in fed[3:]:
        again.advance([batch])
    assert same(weights(whole), weights(again))


def test_another_seed_is_another_run_and_the_same_is_the_same() -> None:
    fed = batches(2)
    runs = []
    for _ in range(2):
        loop = loop_for()
        for batch in fed:
            loop.advance([batch])
        runs.append(weights(loop))
    assert same(*runs)


def test_norms_that_are_held_keep_their_statistics_and_learn_on() -> None:
    loop, fed = loop_for(8, freeze_bn_from=0.5), batches(8)
    kept: list[dict[str, torch.Tensor]] = []
    for batch in fed:
        loop.advance([batch])
        kept.append({name: value.clone() for name, value in loop.task.detector.state_dict().items()})
    assert loop.bn_frozen_from == 4
    moved = [{name for name in kept[0] if not torch.equal(kept[at][name], kept[at + 1][name])} for at in range(7)]
    statistics = {name for name in kept[0] if "running" in name}
    scales = {name.replace("running_mean", "weight") for name in statistics if "mean" in name}
    assert statistics <= moved[2] and not statistics & moved[3] and not statistics & moved[6]
    assert scales <= moved[6]
    average = loop.average.detector.state_dict()
    assert all(torch.equal(average[name], kept[-1][name]) for name in statistics)
    assert not any(torch.equal(average[name], kept[-1][name]) for name in scales)


def test_accumulated_batches_are_one_step_of_their_mean() -> None:
    fed = batches(2)
    loop = loop_for(accumulate=2, clip_norm=None)
    report = loop.advance(fed)
    assert loop.step == 1
    singles = [loop_for().advance([batch]).losses for batch in fed]
    for name, value in report.losses.items():
        assert value == pytest.approx(sum(one[name] for one in singles) / 2, rel=1e-4)
    assert report.lr == pytest.approx(2 * loop_for().advance(fed[:1]).lr)


def test_an_overflow_goes_back_names_the_layer_and_goes_on() -> None:
    loop, fed = loop_for(), batches(3)
    loop.advance([fed[0]])
    before = copy.deepcopy(weights(loop))
    loop._snapshot = None  # so that the next step keeps a copy of this state
    loop.advance([fed[1]])
    poison = TinyBatch(torch.full((4, 3, PX, PX), 3e38), fed[2].targets)
    report = loop.advance([poison])
    assert "layer detector.backbone" in report.rolled_back and "learning rate" in report.rolled_back
    assert loop.step == 1 and same(weights(loop), before)
    assert loop.overflows.rate_factor == 0.5 and loop.overflows.rollbacks == 1
    assert not loop.advance([fed[2]]).rolled_back and loop.step == 2


def test_overflow_without_end_stops_with_the_layer_and_the_way_out() -> None:
    loop = loop_for()
    poison = TinyBatch(torch.full((4, 3, PX, PX), 3e38), batches(1)[0].targets)
    with pytest.raises(BadInput, match=r"layer detector\.backbone.* is not finite for the 11th time.*--set lr"):
        for _ in range(20):
            loop.advance([poison])


def test_trouble_is_part_of_the_state() -> None:
    loop = loop_for()
    loop.advance([TinyBatch(torch.full((4, 3, PX, PX), 3e38), batches(1)[0].targets)])
    again = loop_for()
    again.restore(loop.state())
    assert again.overflows == loop.overflows and again.overflows.rollbacks == 1


class Steep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        nn.init.constant_(self.first.weight, 300.0)
        nn.init.constant_(self.second.weight, 1e-4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.second(self.first(x))
        return made


def test_a_layer_that_overflows_in_half_precision_is_found_and_held_in_float32() -> None:
    model, x = Steep(), torch.full((2, 4), 200.0)

    def run() -> torch.Tensor:
        with torch.autocast("cpu", torch.float16):
            made: torch.Tensor = model(x)
            return made

    assert first_overflow(model, run) == "first"
    run_in_float32(model, "first")
    run_in_float32(model, "first")
    assert first_overflow(model, run) == "second" or torch.isfinite(run()).all()
    with torch.autocast("cpu", torch.float16):
        assert model.first(x).dtype == torch.float32 and torch.isfinite(model.first(x)).all()


def test_no_overflow_no_name() -> None:
    model = Steep()
    assert first_overflow(model, lambda: model(torch.ones(1, 4))) is None


def test_frozen_norms_keep_their_statistics() -> None:
    loop = loop_for(freeze_backbone_bn=True)
    kept = {k: v.clone() for k, v in loop.task.detector.backbone.state_dict().items() if "running" in k}
    loop.advance([batches(1)[0]])
    now = loop.task.detector.backbone.state_dict()
    assert kept and all(torch.equal(now[k], v) for k, v in kept.items())
