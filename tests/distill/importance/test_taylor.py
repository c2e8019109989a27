"""The first-order change is that of the loss: against activation times gradient, and against differences."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from distill.importance.taylor import Taylor, first_order_change
from distill.importance.training_loss import LossBatch, TrainingLoss
from zoo.detector import Detector, Recipe
from zoo.factory import build_recipe
from zoo.learning.targets import Targets
from zoo.pruning.apply import zero_units
from zoo.pruning.groups import ChannelGroups, channel_groups


def random_batch(images: int = 2, px: int = 64, seed: int = 0) -> LossBatch:
    """Noise with two boxes an image."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.tensor([[4.0, 6.0, 40.0, 50.0], [20.0, 10.0, 60.0, 36.0]])
    image = torch.rand(images, 3, px, px, generator=generator)
    targets = Targets((boxes,) * images, (torch.tensor([0, 2]),) * images, (torch.zeros(0, 4),) * images)
    return LossBatch(0, image, targets)


def settled(model: str) -> Detector:
    """A detector of random weights whose batch norms know the batch, so that no activation vanishes."""
    torch.manual_seed(0)
    detector = build_recipe(Recipe(model, 3))
    detector.train()
    for part in detector.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
        if isinstance(part, (torch.nn.Conv2d, torch.nn.Linear)) and part.bias is not None:
            torch.nn.init.normal_(part.weight, std=0.05)
    with torch.no_grad():
        detector(random_batch(4).image)
    return detector


@pytest.fixture(scope="module")
def yolox() -> tuple[Detector, ChannelGroups]:
    """The smallest YOLOX and its groups."""
    detector = settled("yolox-nano")
    return detector, channel_groups(detector)


def test_it_is_activation_times_gradient_at_the_consumers(yolox: tuple[Detector, ChannelGroups]) -> None:
    detector, groups = yolox
    loss, batch = TrainingLoss(detector), random_batch()
    expected = np.zeros(groups.count)
    inputs: dict[str, torch.Tensor] = {}
    for path, part in loss.detector.named_modules():
        if isinstance(part, torch.nn.Conv2d) and 1 in groups.axes.get(f"{path}.weight", {}) and part.groups == 1:

            def watch(module: torch.nn.Module, values: tuple[torch.Tensor], path: str = path) -> tuple[torch.Tensor]:
                inputs[path] = values[0] if values[0].requires_grad else values[0].detach().requires_grad_()
                return (inputs[path].view_as(inputs[path]),)

            part.register_forward_pre_hook(watch)
    gradients = torch.autograd.grad(loss(batch), list(inputs.values()), allow_unused=True)
    for (path, value), gradient in zip(inputs.items(), gradients, strict=True):
        if gradient is not None:
            products = (value * gradient).double().sum((0, 2, 3)).detach().numpy()
            np.subtract.at(expected, groups.axes[f"{path}.weight"][1], products)
    change = first_order_change(TrainingLoss(detector), groups, batch)
    units = np.concatenate([group.units for group in groups.groups])
    # the hooks share a map that several layers read, so its gradient holds theirs together: compare units whose map
    # one layer reads
    single = [
        unit for unit in units
        if sum(int((axes[1] == unit).sum()) for name, axes in groups.axes.items() if 1 in axes) == 1
    ]  # fmt: skip
    assert len(single) > 200
    np.testing.assert_allclose(change[single], expected[single], rtol=1e-3, atol=1e-5)
    assert np.abs(change[single]).max() > 1e-3


class SmoothLoss(TrainingLoss):
    """The mean square of all raw outputs. Training losses assign targets, which a difference quotient sees change and a
    gradient does not."""

    def __call__(self, batch: LossBatch) -> torch.Tensor:
        raw = self.detector(batch.image.double())
        return torch.stack([level.square().mean() for levels in raw.values() for level in levels]).sum()


def scaled(loss: TrainingLoss, groups: ChannelGroups, unit: int, factor: float) -> TrainingLoss:
    """``loss`` where every consumer takes a unit ``factor`` times."""
    twin = copy.deepcopy(loss)
    with torch.no_grad():
        for name, axes in groups.axes.items():
            if 1 in axes:
                twin.detector.get_parameter(name)[:, torch.as_tensor(np.flatnonzero(axes[1] == unit))] *= factor
    return twin


@pytest.mark.parametrize("model", ["yolox-nano", "yolo11n"])
def test_it_equals_the_difference_quotient(model: str) -> None:
    detector = settled(model)
    groups = channel_groups(detector)
    detector.double()
    loss, batch = SmoothLoss(detector), random_batch()
    change = first_order_change(loss, groups, batch)
    strongest = [max(group.units, key=lambda unit: abs(change[unit])) for group in groups.groups]
    strongest = sorted(strongest, key=lambda unit: -abs(change[unit]))[:6]
    step = 1e-6
    for unit in strongest:
        less, more = (float(scaled(loss, groups, unit, 1 + sign * step)(batch).detach()) for sign in (-1, 1))
        assert change[unit] == pytest.approx((less - more) / (2 * step), rel=1e-3)
    assert abs(change[strongest[-1]]) > 1e-4


def test_a_unit_that_no_consumer_takes_is_a_unit_that_is_zero() -> None:
    detector = settled("yolo11n")
    groups = channel_groups(detector)
    detector.double()
    loss, batch = SmoothLoss(detector), random_batch()
    whole = float(loss(batch).detach())
    differs = 0
    for group in groups.groups[::12]:
        zeroed = SmoothLoss(detector)
        zero_units(zeroed.detector, groups, groups.cuts_of({group.name: np.arange(1, len(group))}))
        value = float(zeroed(batch).detach())
        assert value == pytest.approx(float(scaled(loss, groups, group.units[0], 0.0)(batch).detach()), rel=1e-9)
        differs += value != whole
    assert differs > 3


def test_scores_are_absolute_changes_of_images(yolox: tuple[Detector, ChannelGroups]) -> None:
    detector, groups = yolox
    loss, batch = TrainingLoss(detector), random_batch()
    changes = [first_order_change(loss, groups, single) for single in batch.singles()]
    scores = Taylor().unit_scores(TrainingLoss(detector), groups, batch)
    np.testing.assert_array_equal(scores, (np.abs(changes[0]) + np.abs(changes[1])) / 2)
    assert (changes[0] < 0).any() and (changes[0] > 0).any()
    assert (changes[0] * changes[1] < 0).any()


def test_the_parent_stays_as_it_is(yolox: tuple[Detector, ChannelGroups]) -> None:
    detector, groups = yolox
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    modes = [part.training for part in detector.modules()]
    state = torch.random.get_rng_state()
    Taylor().unit_scores(TrainingLoss(detector), groups, random_batch())
    assert all(torch.equal(before[name], value) for name, value in detector.state_dict().items())
    assert [part.training for part in detector.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in detector.parameters())
