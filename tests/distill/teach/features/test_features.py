"""Feature distillation: the papers' formulas by hand, where it is 0, what it teaches and what it leaves alone."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import Tensor, nn

import distill.teach.features.cwd
from distill.teach.features.base import FeatureMethod
from distill.teach.features.cwd import ChannelWise
from distill.teach.features.fgd import FocalGlobal, GlobalContext, foreground_weights
from distill.teach.features.mgd import MaskedGenerative
from distill.teach.methods import FEATURE_METHODS, make_feature_method
from distill.train.optimizer import build_optimizer
from distill.train.recipe import TrainRecipe
from tests.distill.tiny import PX, batches, tiny_detector
from workbench.errors import BadInput
from zoo.factory import build
from zoo.learning.targets import Targets

SIZE = (PX, PX)
LN3 = math.log(3)
ZERO_FOR_IDENTICAL = ["cwd", "mimic", "pkd", "fgd"]
"""MGD is not among them: it asks for the teacher's features out of a part of the student's."""


def maps(channels: tuple[int, ...], seed: int, side: int = 8, images: int = 2) -> list[Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [
        torch.randn(images, c, side >> i, side >> i, generator=random).requires_grad_() for i, c in enumerate(channels)
    ]


def targets(images: int = 2) -> Targets:
    boxes = (torch.tensor([[4.0, 8.0, 40.0, 30.0], [10.0, 10.0, 20.0, 20.0]]), torch.zeros(0, 4))[:images]
    return Targets(
        boxes, tuple(torch.zeros(len(b), dtype=torch.int64) for b in boxes), tuple(torch.zeros(0, 4) for _ in boxes)
    )


def one_level(name: str, student: Tensor, teacher: Tensor, truth: Targets | None = None, **options: Any) -> float:
    """The loss of one level whose aligner is the identity, and whose context blocks add nothing."""
    method = make_feature_method(name, [student.shape[1]], [teacher.shape[1]], options)
    for block in method.modules():
        if isinstance(block, GlobalContext):
            nn.init.zeros_(block.expand.weight)
    return method([student], [teacher], truth or targets(len(student)), SIZE).item()


def row(*values: float) -> Tensor:
    return torch.tensor(values).reshape(1, 1, 1, -1)


def test_cwd_by_hand() -> None:
    # at temperature 2 the teacher's places have probabilities 1/4 and 3/4, the student's 1/2 each
    divergence = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    student, teacher = row(5.0, 5.0), row(1.0, 1.0 + 2 * LN3)
    assert one_level("cwd", student, teacher, temperature=2.0, standardize=False) == pytest.approx(
        4 * divergence, rel=1e-5
    )
    # a mean over channels and images: one channel of two differs, in one image of two
    pair = torch.cat([student, teacher], 1), torch.cat([teacher, teacher], 1)
    assert one_level("cwd", *pair, temperature=2.0, standardize=False) == pytest.approx(2 * divergence, rel=1e-5)
    batch = torch.cat([pair[0], pair[1]]), torch.cat([pair[1], pair[1]])
    assert one_level("cwd", *batch, temperature=2.0, standardize=False) == pytest.approx(divergence, rel=1e-5)


def test_cwd_with_the_channels_own_spread_by_hand() -> None:
    # standardised, the teacher's places are -1 and 1 and the student's 1 and -1, however large they were
    p, q = math.exp(1) / (math.exp(1) + math.exp(-1)), math.exp(-1) / (math.exp(1) + math.exp(-1))
    expected = p * math.log(p / q) + q * math.log(q / p)
    assert one_level("cwd", row(30.0, 10.0), row(200.0, 800.0)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("few", [1, 2**16])
def test_cwd_finds_the_gradient_of_its_formula_for_any_number_of_channels_at_a_time(
    few: int, standardize: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distill.teach.features.cwd, "CACHED_NUMBERS", few)
    torch.manual_seed(0)
    ours, theirs = ((torch.randn(2, 5, 4, 3, dtype=torch.float64) * 3 + 2) for _ in range(2))
    level = ChannelWise([5], [5], temperature=2.5, standardize=standardize)
    found = level.level_loss(0, ours, theirs, targets(), SIZE)
    logits = [(standardized_by_hand(x) if standardize else x).flatten(2) / 2.5 for x in (ours, theirs)]
    expected = (
        torch.nn.functional.kl_div(logits[0].log_softmax(-1), logits[1].softmax(-1), reduction="sum") / 10 * 2.5**2
    )
    torch.testing.assert_close(found, expected)
    assert torch.autograd.gradcheck(lambda x: level.level_loss(0, x, theirs, targets(), SIZE), ours.requires_grad_())


@pytest.mark.parametrize(
    ("standardize", "side", "temperature"), [(True, 69, 1.0), (True, 90, 1.0), (True, 69, 0.5), (False, 8, 1.0)]
)
def test_cwd_of_channels_with_one_place_far_from_the_others(standardize: bool, side: int, temperature: float) -> None:
    torch.manual_seed(0)
    ours, theirs = torch.randn(2, 1, 3, side, side)
    for x, place in ((ours, 0), (theirs, 5)):
        # standardised, the first channel's number is the largest there can be
        x[0, 0] = 0
        x[0, 0, 0, place] = 500
        x[0, 1] += 3e4
    before = theirs.clone()
    level = ChannelWise([3], [3], temperature=temperature, standardize=standardize)
    learned = ours.clone().requires_grad_()
    found = level.level_loss(0, learned, theirs, targets(), SIZE)
    exact = ours.double().requires_grad_()
    logits = [
        (standardized_by_hand(x) if standardize else x).flatten(2) / temperature for x in (exact, theirs.double())
    ]
    expected = (
        torch.nn.functional.kl_div(logits[0].log_softmax(-1), logits[1].softmax(-1), reduction="sum")
        / 3
        * temperature**2
    )
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=0)
    slopes = [torch.autograd.grad(loss, x)[0].double() for loss, x in ((found, learned), (expected, exact))]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-2, atol=1e-3 * float(slopes[1].abs().max()))
    assert torch.equal(theirs, before)


def standardized_by_hand(x: Tensor) -> Tensor:
    middle = x - x.mean((0, 2, 3), keepdim=True)
    return middle / (middle.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()


def test_mimic_by_hand() -> None:
    assert one_level("mimic", row(1.0, 2.0), row(3.0, 5.0)) == pytest.approx((2**2 + 3**2) / 2 / 2)


def test_pkd_by_hand() -> None:
    # Pearson's correlation of 1, 2, 3 and 1, 3, 2 is 1/2; that of the second channel is 1
    student = torch.cat([row(1.0, 2.0, 3.0), row(0.0, 1.0, 2.0)], 1)
    teacher = torch.cat([row(1.0, 3.0, 2.0), row(-50.0, 0.0, 50.0)], 1)
    assert one_level("pkd", student, teacher) == pytest.approx((0.5 + 0) / 2, abs=1e-4)
    assert one_level("pkd", row(1.0, 2.0), row(2.0, 1.0)) == pytest.approx(2.0, abs=1e-3)


def by_hand(method: FeatureMethod) -> MaskedGenerative:
    """Generators that make 2 relu(x) + 1 of every place."""
    assert isinstance(method, MaskedGenerative)
    for generator in method.generators:
        assert isinstance(generator, nn.Sequential)
        for conv, factor, bias in ((generator[0], 1.0, 0.0), (generator[2], 2.0, 1.0)):
            nn.init.dirac_(conv.weight)
            nn.init.constant_(conv.bias, bias)
            with torch.no_grad():
                conv.weight.mul_(factor)
    return method


def test_mgd_by_hand() -> None:
    whole = by_hand(make_feature_method("mgd", [1], [1], {"masked": 0.0, "standardize": False}))
    # 2 relu(1) + 1 = 3 and 2 relu(-1) + 1 = 1 for 2 and 3: squared distances 1 and 4
    loss = whole([row(1.0, -1.0)], [row(2.0, 3.0)], targets(1), SIZE)
    assert loss.item() == pytest.approx(2e-5 * (1 + 4))
    twice = whole([torch.cat([row(1.0, -1.0)] * 2)], [torch.cat([row(2.0, 3.0)] * 2)], targets(), SIZE)
    assert twice.item() == pytest.approx(2e-5 * (1 + 4))  # a mean over images


def test_mgd_leaves_out_its_share_of_places_in_all_channels() -> None:
    method = by_hand(make_feature_method("mgd", [2], [2], {"weight": 1.0, "standardize": False}))
    torch.manual_seed(0)
    ones, zeros = torch.ones(1, 2, 100, 100), torch.zeros(1, 2, 100, 100)
    loss = method([ones], [zeros], targets(1), SIZE).item()
    # a kept place gives (2 + 1)^2 in both channels, one left out 1^2
    kept = (loss - 2 * 100 * 100) / (2 * 8)
    assert kept == pytest.approx(round(kept), abs=0.01) and abs(kept / 1e4 - 0.35) < 0.02
    again = method([ones], [zeros], targets(1), SIZE).item()
    torch.manual_seed(0)
    assert method([ones], [zeros], targets(1), SIZE).item() == loss != again


def test_fgd_by_hand() -> None:
    # attention of the teacher over the places: softmax(ln 3, 0) * 2 = 1.5 and 0.5; the student's is the same, its sign
    # is not
    teacher = row(0.5 * LN3, 0.0)
    left = Targets(
        (torch.tensor([[0.0, 0.0, 30.0, 64.0]]),), (torch.zeros(1, dtype=torch.int64),), (torch.zeros(0, 4),)
    )
    none = Targets((torch.zeros(0, 4),), (torch.zeros(0, dtype=torch.int64),), (torch.zeros(0, 4),))
    square = LN3**2
    assert one_level("fgd", -teacher, teacher, left) == pytest.approx(1.6e-3 * 1.5 * square + 8e-6 * square, rel=1e-5)
    # without an object both places are background, half each
    assert one_level("fgd", -teacher, teacher, none) == pytest.approx(8e-4 * 1.5 * square / 2 + 8e-6 * square, rel=1e-5)
    # a student that attends elsewhere: |1.5 - 0.5| + |0.5 - 1.5|
    swapped = one_level(
        "fgd", row(0.0, 0.5 * LN3), teacher, left, foreground=0.0, background=0.0, context=0.0, attention=1.0
    )
    assert swapped == pytest.approx(2.0, rel=1e-5)


def test_cells_of_boxes() -> None:
    truth = Targets(
        (torch.tensor([[0.0, 0.0, 32.0, 64.0], [20.0, 0.0, 30.0, 16.0]]), torch.zeros(0, 4)),
        (torch.tensor([0, 0]), torch.zeros(0, dtype=torch.int64)), (torch.zeros(0, 4), torch.zeros(0, 4)),
    )  # fmt: skip
    found = foreground_weights(truth, 4, 4, SIZE)
    expected = torch.zeros(4, 4)
    expected[:, :2] = 1 / 8
    expected[0, 1] = 1  # the smaller object wins
    torch.testing.assert_close(found, torch.stack([expected, torch.zeros(4, 4)]))


@pytest.mark.parametrize("name", ZERO_FOR_IDENTICAL)
def test_identical_features_cost_nothing(name: str) -> None:
    channels = (4, 6, 8)
    student = maps(channels, 0)
    loss = make_feature_method(name, channels, channels)(student, [m.detach() for m in student], targets(), SIZE)
    assert abs(loss.item()) < 1e-6
    other = make_feature_method(name, channels, channels)(student, maps(channels, 1), targets(), SIZE)
    assert other.item() > 1e-4
    loss.backward()
    assert all(m.grad is not None and m.grad.abs().max() < 1e-5 for m in student)


@pytest.mark.parametrize("name", FEATURE_METHODS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite(name: str, dtype: torch.dtype) -> None:
    method = make_feature_method(name, (4, 6, 8), (5, 6, 7))
    student = [(m.detach() * 5000).to(dtype).requires_grad_() for m in maps((4, 6, 8), 0)]
    with torch.autocast("cpu", dtype):
        loss = method(student, [(m * 5000).to(dtype) for m in maps((5, 6, 7), 1, side=16)], targets(), SIZE)
    assert loss.dtype == torch.float32 and loss.isfinite()
    (loss * 1e-6).backward()
    assert all(m.grad is not None and m.grad.isfinite().all() for m in student)
    assert all(
        p.grad is not None and p.grad.isfinite().all()
        for p in method.parameters()
        if p.requires_grad and p.grad is not None
    )


@pytest.mark.parametrize("name", FEATURE_METHODS)
def test_images_are_averaged_and_constant_maps_do_no_harm(name: str) -> None:
    torch.manual_seed(0)
    method = make_feature_method(name, (4,), (4,), {"masked": 0.0} if name == "mgd" else None)
    student, teacher = maps((4,), 0), maps((4,), 1)
    once, truth = method(student, teacher, targets(), SIZE), targets()
    doubled = Targets(*(column * 2 for column in (truth.boxes, truth.labels, truth.ignored)))
    twice = method([torch.cat([m, m]) for m in student], [torch.cat([m, m]) for m in teacher], doubled, SIZE)
    torch.testing.assert_close(once, twice)
    still = torch.zeros(2, 4, 8, 8, requires_grad=True)
    method([still], [torch.zeros(2, 4, 8, 8)], targets(), SIZE).backward()
    assert still.grad is not None and still.grad.isfinite().all()


@pytest.mark.parametrize("name", FEATURE_METHODS)
@pytest.mark.parametrize("side", [8, 16])
def test_a_teacher_may_run_in_inference_mode(name: str, side: int) -> None:
    method, student = make_feature_method(name, (4,), (5,)), maps((4,), 0)
    with torch.inference_mode():
        teacher = [m.clone() for m in maps((5,), 1, side)]
    method(student, teacher, targets(), SIZE).backward()
    assert student[0].grad is not None and all(p.grad is not None for p in method.parameters())


class Learner(nn.Module):
    """A student with its method, as a task holds them."""

    def __init__(self, method: FeatureMethod) -> None:
        super().__init__()
        self.detector, self.method = tiny_detector(), method


@pytest.mark.parametrize("name", FEATURE_METHODS)
@pytest.mark.parametrize("teacher_px", [PX, PX + 32])
def test_student_and_learners_move_and_the_teacher_does_not(name: str, teacher_px: int) -> None:
    batch = batches(1, images=2)[0]
    teacher = build("yolox-nano", 3)  # in training mode: fresh weights make all but dead features otherwise
    pictures = nn.functional.interpolate(batch.image, (teacher_px, teacher_px))
    theirs = teacher.features(pictures)
    assert all(m.requires_grad for m in theirs)  # even a teacher that is not frozen gets nothing
    student = tiny_detector()
    torch.manual_seed(0)
    learner = Learner(
        make_feature_method(name, [m.shape[1] for m in student.features(batch.image)], [m.shape[1] for m in theirs])
    )
    optimizer = build_optimizer(learner, TrainRecipe(optimizer="adamw", lr=1e-2, weight_decay=0.0))
    before = {key: value.clone() for key, value in learner.state_dict().items()}
    learner.method(learner.detector.features(batch.image), theirs, batch.targets, SIZE).backward()
    optimizer.step()
    after = learner.state_dict()
    learned = {key for key, _ in learner.named_parameters() if key.startswith("method.")}
    assert (
        learned
        and learned <= set(after)
        and all(key.startswith("method.align.levels.") for key in learned) == (name in ("cwd", "mimic", "pkd"))
    )
    assert [key for key in sorted(learned) if torch.equal(before[key], after[key])] == []
    moved = [
        key
        for key, _ in learner.named_parameters()
        if key.startswith("detector.") and not torch.equal(before[key], after[key])
    ]
    assert any(".backbone." in key for key in moved) and any(".neck." in key for key in moved)
    assert all(p.grad is None for p in teacher.parameters())


def test_generators_and_contexts_are_counted() -> None:
    mgd, fgd = make_feature_method("mgd", (4, 4, 4), (6, 6, 6)), make_feature_method("fgd", (4, 4, 4), (6, 6, 6))
    assert isinstance(mgd, MaskedGenerative) and isinstance(fgd, FocalGlobal)
    assert len(list(mgd.parameters())) == 3 * 1 + 3 * 4
    assert len(list(fgd.parameters())) == 3 * 2 + 2 * 3 * 7


def test_settings_are_checked() -> None:
    with pytest.raises(BadInput, match=r"unknown feature distillation 'cdw'.*cwd"):
        make_feature_method("cdw", (4,), (4,))
    with pytest.raises(BadInput, match="cwd has no option 'tau'; it has temperature, standardize"):
        make_feature_method("cwd", (4,), (4,), {"tau": 1.0})
    with pytest.raises(BadInput, match="mimic has no option 'x'; it has none"):
        make_feature_method("mimic", (4,), (4,), {"x": 1.0})
    with pytest.raises(BadInput, match="temperature 0"):
        make_feature_method("cwd", (4,), (4,), {"temperature": 0})
    with pytest.raises(BadInput, match=r"masked 1\.0"):
        make_feature_method("mgd", (4,), (4,), {"masked": 1.0})
