"""RT-DETRv2's losses against the official ones, its noised queries, and what every loss promises."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from tests.zoo.families.loss_checks import SIZE, gradients_of, losses_of, mapped, raw_of, some_targets, targets_of
from zoo.detector import Detector, Raw, Recipe
from zoo.families.rtdetrv2 import FAMILY, attention_mask, noised_queries, restored_pairs
from zoo.learning.targets import Phase, Targets

OFFICIAL = {
    "classes": 5.48498, "layers_classes": 12.6252, "selected_classes": 6.20883, "denoising_classes": 16.3899,
    "l1": 5.05316, "layers_l1": 5.61864, "selected_l1": 2.51971, "denoising_l1": 13.2855,
    "giou": 2.65491, "layers_giou": 3.42324, "selected_giou": 1.50772, "denoising_giou": 7.79313,
}  # fmt: skip
"""What ``RTDETRCriterionv2`` of lyuwenyu/RT-DETR (commit 068dfde, Apache-2.0) gives for ``waves()``, with the weights
of ``rtdetrv2_r50vd.yml``; ours by name, theirs summed over the layers."""


@pytest.fixture(scope="module")
def detector() -> Detector:
    return awake(FAMILY.make(Recipe("rtdetrv2-s", 4)))


def awake(detector: Detector) -> Detector:
    """With last layers of the boxes that are not 0, behind which nothing would learn in the first step."""
    torch.manual_seed(0)
    for boxes in (detector.head.cell_boxes, *detector.head.boxes):
        nn.init.normal_(boxes.layers[-1].weight, std=0.02)
    return detector


def waves(layers: int = 3, queries: int = 7, groups: int = 2) -> tuple[Raw, Targets]:
    """Raw outputs made of sines for three images with 3, 0 and 1 objects; the same on every machine."""

    def wave(step: float, *shape: int) -> Tensor:
        return torch.sin(torch.arange(math.prod(shape), dtype=torch.float64) * step + step).float().reshape(shape)

    def logits(step: float, q: int) -> Tensor:
        return 3 * wave(step, 3, q, 4) - 1

    def boxes(step: float, q: int) -> Tensor:
        values = wave(step, 3, q, 4)
        return torch.cat([0.5 + 0.3 * values[..., :2], 0.3 + 0.2 * values[..., 2:]], -1)

    raw = {
        "layer_logits": [logits(0.7 + 0.1 * i, queries) for i in range(layers)],
        "layer_boxes": [boxes(1.3 + 0.1 * i, queries) for i in range(layers)],
        "selected_logits": logits(0.53, queries),
        "selected_boxes": boxes(1.71, queries),
        "denoising_logits": [logits(0.31 + 0.1 * i, groups * 6) for i in range(layers)],
        "denoising_boxes": [boxes(2.1 + 0.1 * i, groups * 6) for i in range(layers)],
    }
    raw |= {"logits": raw["layer_logits"][-1], "boxes": raw["layer_boxes"][-1]}
    return raw, targets_of([[10, 20, 60, 90, 1], [40, 5, 120, 50, 3], [8, 60, 50, 120, 1]], [], [[30, 30, 110, 70, 0]])


def test_losses_are_the_official_ones(detector: Detector) -> None:
    raw, targets = waves()
    losses = losses_of(detector, raw, targets)
    assert {name: float(value) for name, value in losses.items()} == pytest.approx(OFFICIAL, rel=1e-4)


def test_noised_queries_stay_within_their_bounds() -> None:
    """To restore: corners within half a side. To reject: half a side to a whole one away, or clipped."""
    torch.manual_seed(0)
    targets = targets_of([[20, 30, 60, 100, 2], [50, 50, 80, 70, 0]], [], [[40, 40, 90, 80, 1]])
    found = noised_queries(targets, SIZE, 4, queries=400)
    assert found is not None
    labels, boxes = found
    assert labels.shape == (3, 200, 2, 2)
    assert boxes.shape == (3, 200, 2, 2, 4)
    corners = torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1) * 128
    assert float(corners.min()) > -1e-4 and float(corners.max()) < 128 + 1e-4
    truth, classes, there = targets.padded()
    half = ((truth[..., 2:] - truth[..., :2]) / 2).repeat(1, 1, 2)[:, None]
    moved = (corners - truth[:, None, None]).abs()
    assert (moved[:, :, 0] <= half + 1e-3).all()
    clipped = (corners[:, :, 1] < 1e-3) | (corners[:, :, 1] > 128 - 1e-3)
    rejected = moved[:, :, 1][there[:, None].expand(3, 200, 2)]
    bounds = half.expand(3, 200, 2, 4)[there[:, None].expand(3, 200, 2)]
    free = ~clipped[there[:, None].expand(3, 200, 2)]
    assert ((rejected >= bounds - 1e-3) & (rejected <= 2 * bounds + 1e-3))[free].all()
    assert (labels[~there[:, None, None].expand(labels.shape)] == 4).all()
    own = labels == classes[:, None, None]
    share = float(own[there[:, None, None].expand(labels.shape)].float().mean())
    assert share == pytest.approx(1 - 0.25 * 3 / 4, abs=0.04)  # a class by chance is the true one in a quarter
    assert labels[0].unique().tolist() == [0, 1, 2, 3]


def test_groups_fit_the_queries() -> None:
    for objects, groups in ((1, 100), (3, 33), (60, 1), (150, 1)):
        found = noised_queries(targets_of([[1, 1, 9, 9, 0]] * objects), SIZE, 4)
        assert found is not None
        assert found[0].shape == (1, groups, 2, objects)
    assert noised_queries(targets_of([], []), SIZE, 4) is None


def test_who_looks_at_whom() -> None:
    sees = attention_mask(2, 4, 3, torch.device("cpu"))
    rows = ["1100111", "1100111", "0011111", "0011111", "0000111", "0000111", "0000111"]
    assert ["".join(str(int(v)) for v in row) for row in sees] == rows


def test_ordinary_queries_do_not_see_noised_ones(detector: Detector) -> None:
    """Whatever the noise, ordinary queries answer as without any, and each group as if it were alone."""
    targets = some_targets()
    raw = raw_of(detector, targets)
    torch.manual_seed(0)
    features = [x.detach() for x in detector.features(torch.rand(3, 3, *SIZE))]
    head = detector.head
    plain = head(features)
    labels, boxes = noised_queries(targets, SIZE, 4) or (None, None)
    both, first = head(features, (labels, boxes)), head(features, (labels[:, :1], boxes[:, :1]))
    for name in ("layer_logits", "layer_boxes"):
        for with_noise, without in zip(both[name], plain[name], strict=True):
            torch.testing.assert_close(with_noise, without, rtol=1e-4, atol=1e-5)
    for whole, alone in zip(both["denoising_logits"], first["denoising_logits"], strict=True):
        assert whole.shape[1] == labels[0].numel()
        torch.testing.assert_close(whole[:, : alone.shape[1]], alone, rtol=1e-4, atol=1e-5)
    assert set(raw) == set(both)
    assert both["logits"] is both["layer_logits"][-1]


def test_every_noised_query_to_restore_has_its_object() -> None:
    targets = targets_of([[0, 0, 9, 9, 0], [0, 0, 5, 5, 1]], [], [[0, 0, 7, 7, 2]])
    pairs = restored_pairs(targets, 2, 3)
    rows = set(zip(*(column.tolist() for column in pairs), strict=True))
    expected = {
        (layer, image, group * 4 + place, number)
        for layer in range(2)
        for group in range(3)
        for image, place, number in ((0, 0, 0), (0, 1, 1), (2, 0, 2))
    }
    assert rows == expected
    assert len(pairs.layers) == len(expected)


def test_only_training_gives_auxiliary_outputs(detector: Detector) -> None:
    detector.eval()
    with torch.no_grad():
        raw = detector.training_raw(detector.features(torch.rand(1, 3, *SIZE)), targets_of([[1, 1, 50, 50, 0]]))
    assert set(raw) == {"logits", "boxes"}
    detector.train()


def test_ignored_regions_are_not_taught_as_background(detector: Detector) -> None:
    raw, targets = waves()
    region = Targets(targets.boxes, targets.labels, tuple(torch.tensor([[64.0, 0, 128, 128]]) for _ in range(3)))
    plain, grads = gradients_of(detector, raw, targets), gradients_of(detector, raw, region)
    names = [("layer_logits", "layer_boxes"), ("denoising_logits", "denoising_boxes")]
    spared = 0
    for logits, boxes in names:
        for layer, (before, after) in enumerate(zip(plain[logits], grads[logits], strict=True)):
            centre = raw[boxes][layer][..., 0] * 128
            taught = after.abs().sum(-1) > 0
            assert (before.abs().sum(-1) > 0).all()
            assert taught[centre <= 64].all()
            spared += int((~taught).sum())
            # a matched query keeps all of its gradient
            assert torch.equal(after[taught], before[taught])
    assert spared > 20


@pytest.mark.parametrize("targets", [some_targets(), targets_of([], [])], ids=["objects", "no objects"])
def test_every_parameter_that_trains_gets_a_gradient(detector: Detector, targets: Targets) -> None:
    detector.zero_grad(set_to_none=True)
    images = torch.zeros(len(targets), 3, *SIZE)
    features = detector.features(images)
    losses = detector.loss(detector.training_raw(features, targets), targets, SIZE, Phase())
    torch.stack(list(losses.values())).sum().backward()
    without = [name for name, p in detector.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_boxes_keep_single_precision_under_autocast(detector: Detector) -> None:
    targets = some_targets()
    with torch.autocast("cpu", torch.bfloat16):
        raw = raw_of(detector, targets)
    assert {level.dtype for level in (raw["selected_boxes"], *raw["layer_boxes"])} == {torch.float32}


def test_more_objects_than_queries(detector: Detector) -> None:
    raw, _ = waves(queries=3)
    raw = {name: value for name, value in raw.items() if not name.startswith("denoising")}
    targets = targets_of([[10 * i, 10 * i, 10 * i + 20, 10 * i + 30, i % 4] for i in range(9)], [], [[5, 5, 50, 50, 1]])
    losses = detector.loss(mapped(raw, lambda x: x), targets, SIZE, Phase())
    assert all(value.isfinite() for value in losses.values())
