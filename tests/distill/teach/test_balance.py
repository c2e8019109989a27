"""Weights that hold a loss's gradient at its share, the schedule, and that resuming changes nothing."""

from __future__ import annotations

import copy
import io
import itertools
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import Tensor

from distill.data.feed.views import Origin
from distill.teach.balance import CONSTANT, MAX_WEIGHT, WARMUP_CALLS, Balance, Schedule, gradient_norm
from distill.teach.methods import make_feature_method
from distill.train.loop import Loop
from distill.train.recipe import load_recipe
from distill.train.task import Task, own_losses
from tests.distill.tiny import PX, batches, tiny_detector
from workbench.errors import BadInput
from zoo.factory import build
from zoo.learning.targets import Phase, Targets, total

START = Phase(0.0)


def features() -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, side, side, generator=random).requires_grad_() for side in (4, 2, 1)]


def square(maps: list[Tensor], factor: float = 1.0) -> Tensor:
    return torch.stack([m.square().sum() for m in maps]).sum() * factor


def test_gradient_norms_by_hand() -> None:
    x, y = torch.tensor([3.0, 0.0], requires_grad=True), torch.tensor([2.0], requires_grad=True)
    assert gradient_norm(x.square().sum() + 4 * y.square().sum() / 2, [x, y]) == pytest.approx(10.0)  # 6 and 8
    assert gradient_norm(x.sum(), [y]) == 0.0 and gradient_norm(x.sum(), [torch.zeros(2)]) == 0.0
    assert gradient_norm(torch.tensor(1.0), [x]) == 0.0
    assert x.grad is None and y.grad is None


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e3])
def test_a_loss_of_any_size_gets_its_share_of_the_gradient(size: float) -> None:
    maps = features()
    own = torch.stack([m.sin().sum() for m in maps]).sum()
    balance = Balance({"a": 0.5, "b": 0.1})
    found = balance(own, {"a": square(maps, size), "b": square(maps, 3 * size)}, maps, START)
    goal = gradient_norm(own, maps)
    if size == 1e-6:
        assert max(balance.weights().values()) == pytest.approx(MAX_WEIGHT)
    else:
        assert gradient_norm(found["a"], maps) == pytest.approx(0.5 * goal, rel=1e-5)
        assert gradient_norm(found["b"], maps) == pytest.approx(0.1 * goal, rel=1e-5)


def test_fixed_weights_are_left_alone() -> None:
    maps = features()
    balance = Balance({"a": 0.5}, {"b": 2.5})
    found = balance(square(maps), {"a": square(maps), "b": square(maps)}, maps, START)
    assert found["b"].item() == pytest.approx(2.5 * square(maps).item()) and balance.weights()["b"] == 2.5
    assert found["a"].item() == pytest.approx(0.5 * square(maps).item())
    assert Balance({}, {"b": 1.0})(square(maps), {"b": square(maps)}, maps, START)["b"].item() == square(maps).item()


def test_measured_at_first_every_time_then_now_and_then() -> None:
    maps = features()
    balance = Balance({"a": 1.0}, every=8)
    counts = []
    for _ in range(WARMUP_CALLS + 17):
        balance(square(maps), {"a": square(maps)}, maps, START)
        counts.append(int(balance.get_buffer("measured")[0]))
    assert counts == [*range(1, WARMUP_CALLS + 1), *[WARMUP_CALLS + 1] * 8, *[WARMUP_CALLS + 2] * 8, WARMUP_CALLS + 3]


def test_long_runs_measure_more_rarely() -> None:
    balance = Balance({"a": 1.0})
    calls = [call for call in range(20_000) if balance.measures_at(call)]
    assert calls[:WARMUP_CALLS] == list(range(WARMUP_CALLS))
    apart = {first: second - first for first, second in itertools.pairwise(calls[WARMUP_CALLS:])}
    assert {apart[call] for call in apart if call < 1024} == {32} and {
        apart[call] for call in apart if call >= 4096
    } == {256}
    assert sorted(set(apart.values())) == [32, 64, 128, 256] and list(apart.values()) == sorted(apart.values())


def test_smoothing_by_hand() -> None:
    maps = features()
    balance = Balance({"a": 1.0}, momentum=0.9)
    for factor in (1.0, 0.25, 0.25):  # as often as the memory is not full, plain means of the norms
        balance(square(maps), {"a": square(maps, factor)}, maps, START)
    assert balance.weights()["a"] == pytest.approx(1 / 0.5)
    # a batch that teaches next to nothing is not made up for afterwards
    balance(square(maps), {"a": square(maps, 1e-9)}, maps, START)
    assert balance.weights()["a"] == pytest.approx(4 / 1.5)
    # a gradient that has grown a thousandfold does not wait for the average
    balance = Balance({"a": 1.0}, momentum=0.9)
    for factor in (*[1.0] * 10, 1000.0):
        balance(square(maps), {"a": square(maps, factor)}, maps, START)
    assert balance.weights()["a"] == pytest.approx(4 / 1000)


def test_what_cannot_be_compared_changes_nothing() -> None:
    maps = features()
    balance = Balance({"a": 0.5})
    for own, loss in (
        (square(maps), torch.zeros(())),
        (torch.zeros(()), square(maps)),
        (square(maps), square(maps) * float("nan")),
    ):
        assert balance(own, {"a": loss}, maps, START)["a"].item() in (0.0, pytest.approx(float("nan"), nan_ok=True))
        assert balance.weights()["a"] == 0.0
    balance(square(maps), {"a": square(maps)}, maps, START)
    with torch.no_grad():  # as the loop does to find an overflow
        assert balance(square(maps), {"a": square(maps)}, maps, START)["a"].item() == pytest.approx(
            0.5 * square(maps).item()
        )
    balance.eval()
    before = int(balance.get_buffer("calls"))
    balance(square(maps), {"a": square(maps)}, maps, START)
    assert int(balance.get_buffer("calls")) == before == 4


def test_schedule() -> None:
    damo = Schedule()
    assert damo.factor(0.0) == 1.0 and damo.factor(284 / 300) == 0.0 and damo.factor(1.0) == 0.0
    assert damo.factor(142 / 300) == pytest.approx(0.55)
    assert damo.factor(283.9 / 300) == pytest.approx(0.1, abs=1e-3)
    falling = [damo.factor(i / 300) for i in range(285)]
    assert falling == sorted(falling, reverse=True)
    assert {CONSTANT.factor(p / 10) for p in range(11)} == {1.0}
    assert Schedule(tail=0.0).factor(1.0) == pytest.approx(0.1) and Schedule(tail=1.0).factor(0.0) == 0.0


def test_the_schedule_scales_all_losses_and_the_tail_has_none() -> None:
    maps = features()
    balance = Balance({"a": 0.5}, {"b": 1.0}, schedule=Schedule())
    losses = {"a": square(maps), "b": square(maps)}
    balance(square(maps), losses, maps, START)
    half = balance(square(maps), losses, maps, Phase(142 / 300))
    assert half["a"].item() == pytest.approx(0.55 * 0.5 * square(maps).item())
    assert half["b"].item() == pytest.approx(0.55 * square(maps).item())
    assert balance(square(maps), losses, maps, Phase(0.99)) == {}


def run(balance: Balance, steps: range, maps: list[Tensor]) -> list[float]:
    found = []
    for step in steps:
        factor = 1 + step % 5
        found.append(balance(square(maps), {"a": square(maps, factor)}, maps, Phase(step / 60))["a"].item())
    return found


def test_going_on_gives_the_same_bits() -> None:
    maps, how = features(), {"every": 3, "schedule": Schedule()}
    whole = run(Balance({"a": 0.5}, **how), range(50), maps)  # type: ignore[arg-type]
    part = Balance({"a": 0.5}, **how)  # type: ignore[arg-type]
    first = run(part, range(20), maps)
    file = io.BytesIO()
    torch.save(part.state_dict(), file)
    file.seek(0)
    again = Balance({"a": 0.5}, **how)  # type: ignore[arg-type]
    again.load_state_dict(torch.load(file, weights_only=True))
    assert first + run(again, range(20, 50), maps) == whole
    assert not list(part.parameters())


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
def test_with_a_detector_and_a_teacher(dtype: torch.dtype | None) -> None:
    batch, student, teacher = batches(1)[0], tiny_detector(), build("yolox-nano", 3)
    names = ("cwd", "mgd", "mimic", "pkd", "fgd")
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        maps = student.features(batch.image)
        with torch.no_grad():
            theirs = teacher.features(batch.image)
        channels = [m.shape[1] for m in maps], [m.shape[1] for m in theirs]
        losses = {name: make_feature_method(name, *channels)(maps, theirs, batch.targets, (PX, PX)) for name in names}
        own = total(own_losses(student, maps, batch.image, batch.targets, START)[1])
        balance = Balance(dict.fromkeys(names, 0.3))
        found = balance(own, losses, maps, START)
    goal = gradient_norm(own, maps)
    for name, value in found.items():
        assert value.isfinite()
        # halves of fp16 and bf16 round the gradient of a weighted loss otherwise than the measured one
        assert gradient_norm(value, maps) == pytest.approx(0.3 * goal, rel=1e-4 if dtype is None else 0.02), name
    (own + total(found)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in student.backbone.parameters())


def test_settings_are_checked() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"shares": {"a": 0.0}}, "share of a 0.0: must be a number above 0"),
        ({"shares": {}, "fixed": {"a": -1.0}}, "weight of a -1.0"),
        ({"shares": {"a": 1.0}, "fixed": {"a": 1.0}}, "'a' has a share and a fixed weight"),
        ({"shares": {"a": 1.0}, "every": 0}, "every 0: must be a whole number from 1 on"),
        ({"shares": {"a": 1.0}, "momentum": 1.0}, "momentum 1.0"),
    ]
    for settings, message in cases:
        with pytest.raises(BadInput, match=message):
            Balance(**copy.deepcopy(settings))
    with pytest.raises(BadInput, match=r"tail 1\.5"):
        Schedule(tail=1.5)
    maps = features()
    with pytest.raises(BadInput, match="loss 'c' has neither a share nor a fixed weight; known are a, b"):
        Balance({"a": 1.0}, {"b": 1.0})(square(maps), {"c": square(maps)}, maps, START)


class Taught(Task):
    """The least that a task with a teacher is: for the loop, methods and weights are parts like any other."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.detector = tiny_detector()
        self.feature = make_feature_method(method, (16, 16, 16), TEACHER_CHANNELS)
        self.balance = Balance({method: 0.5}, every=2, schedule=Schedule(tail=0.25))
        self.method = method

    def losses(self, image: Tensor, targets: Targets, phase: Phase, origin: Origin | None = None) -> dict[str, Tensor]:
        maps = self.detector.features(image)
        _, own = own_losses(self.detector, maps, image, targets, phase)
        found = {self.method: self.feature(maps, teacher_maps(image), targets, (PX, PX))}
        return own | self.balance(total(own), found, maps, phase)


TEACHER_CHANNELS = (6, 8, 10)


def teacher_maps(image: Tensor) -> list[Tensor]:
    """Maps that depend on the picture: its means over the cells, mixed."""
    found = []
    for stride, channels in zip((8, 16, 32), TEACHER_CHANNELS, strict=True):
        mixing = torch.linspace(-1, 1, 3 * channels).reshape(channels, 3, 1, 1)
        found.append(torch.nn.functional.conv2d(torch.nn.functional.avg_pool2d(image / 255, stride), mixing))
    return found


def taught(method: str) -> Loop:
    recipe = load_recipe("small", {"lr": 2e-3, "nominal_batch": 4, "batch": 4, "epochs": 4, "closing_epochs": 1})
    torch.manual_seed(1)
    return Loop(Taught(method), recipe, 8, 2)


@pytest.mark.parametrize("method", ["mgd", "fgd"])
def test_in_the_loop_learners_and_weights_are_in_the_checkpoint_and_going_on_is_exact(method: str) -> None:
    whole, fed = taught(method), batches(8)
    start = copy.deepcopy(whole.task.state_dict())
    reports = [whole.advance([batch]) for batch in fed]
    assert [method in report.losses for report in reports] == [True] * 6 + [False] * 2
    part = taught(method)
    for batch in fed[:3]:
        part.advance([batch])
    file = io.BytesIO()
    torch.save(part.state(), file)
    file.seek(0)
    again = taught(method)
    again.restore(torch.load(file, weights_only=True))
    for batch in fed[3:]:
        again.advance([batch])
    end, other = whole.task.state_dict(), again.task.state_dict()
    assert end.keys() == other.keys() and all(torch.equal(end[key], other[key]) for key in end)
    learners = [key for key, _ in whole.task.named_parameters() if key.startswith("feature.")]
    assert learners and all(not torch.equal(start[key], end[key]) for key in learners)
    assert int(end["balance.measured"][0]) == 6
