"""Batch norms measured over the data: the numbers themselves, and what is left alone."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")
from torch import Tensor, nn

from distill.data.dataset import DataSet
from distill.data.feed.evaluation_batches import evaluation_batches
from distill.data.formats.readers import open_data
from distill.data.synthetic.synth import make
from distill.train.bn_calibration import MAX_BATCHES, calibrate_bn, calibration_images, update_bn_statistics
from distill.train.parallel.sync_bn import convert_sync_bn
from tests.distill.tiny import PX, tiny_detector
from zoo.detector import Detector


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    folder = tmp_path_factory.mktemp("norms") / "data"
    make(folder, 25, 0, lambda text: None)
    return open_data(folder, "train")


def statistics(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.named_buffers() if "running" in name}


def norms_of(detector: Detector) -> list[nn.BatchNorm2d]:
    return [one for one in detector.modules() if type(one) is nn.BatchNorm2d]


@pytest.mark.parametrize(
    ("there", "images", "taken", "batch"), [(3, 64, 3, 3), (20, 8, 20, 7), (20, 2, 16, 2), (20, 19, 20, 10)]
)
def test_batches_are_about_alike_and_spread_over_the_data(
    there: int, images: int, taken: int, batch: int, data: DataSet
) -> None:
    assert len(data) == 20
    some = DataSet(data.root, data.name, data.classes, data.pictures[:there])
    found, size = calibration_images(some, images)
    assert (len(found), size) == (taken, batch)
    assert len(set(found.pictures)) == taken <= MAX_BATCHES * images
    assert found.pictures[0] == some.pictures[0] and some.pictures.index(found.pictures[-1]) >= there - 2


def test_a_norm_has_the_statistics_of_what_it_is_really_given(data: DataSet) -> None:
    """All pictures at once: in evaluation too, every norm is given what it was measured on."""
    detector = tiny_detector()
    # norms far from the data, as those are that followed something else
    for one in norms_of(detector):
        one.running_var.fill_(7.0)
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    found = calibrate_bn(detector, data, PX, 64, workers=0)
    given: dict[int, Tensor] = {}
    norms = norms_of(found)
    hooks = [
        one.register_forward_pre_hook(lambda module, inputs: given.update({id(module): inputs[0]})) for one in norms
    ]
    (batch,) = evaluation_batches(data, found.preprocess, PX, len(data), workers=0)
    with torch.no_grad():
        found.head(found.features(batch.image))
    for hook in hooks:
        hook.remove()
    assert len(given) == len(norms) > 20
    for one in norms:
        variance, mean = torch.var_mean(given[id(one)], (0, 2, 3))
        # running variances are those of a sample (n - 1); 20 images have as few as 80 positions on the coarsest level,
        # and such differences add up with depth
        assert ((one.running_mean - mean).abs() <= 0.1 * variance.sqrt() + 1e-6).all()
        assert torch.allclose(one.running_var, variance, rtol=0.3, atol=1e-9)
    # nothing else of it changed, and nothing at all of the one that goes on moving
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in found.state_dict().items() if "running" not in name)
    assert not found.training and [one.momentum for one in norms] == [one.momentum for one in norms_of(detector)]


def test_a_frozen_backbone_keeps_its_norms(data: DataSet) -> None:
    detector = tiny_detector()
    before, after = (
        statistics(detector),
        statistics(calibrate_bn(detector, data, PX, 8, workers=0, frozen_backbone=True)),
    )
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if not name.startswith("backbone.")}


def test_norms_that_processes_share_are_measured_by_one(data: DataSet) -> None:
    plain, shared = tiny_detector(), tiny_detector()
    convert_sync_bn(shared)
    expected, found = (calibrate_bn(one, data, PX, 8, workers=0) for one in (plain, shared))
    assert all(torch.equal(value, statistics(found)[name]) for name, value in statistics(expected).items())
    assert statistics(found) != {} and not norms_of(shared)


def test_a_branch_that_sees_nothing_keeps_its_norms() -> None:
    detector = tiny_detector()
    unseen = nn.BatchNorm2d(4)
    unseen.running_mean.fill_(3.0)
    unseen.num_batches_tracked.fill_(5)
    detector.eval()
    update_bn_statistics(detector, [*norms_of(detector), unseen], [torch.rand(4, 3, PX, PX) * 255])
    assert unseen.running_mean.eq(3.0).all() and int(unseen.num_batches_tracked) == 5


def test_each_batch_counts_alike() -> None:
    detector = tiny_detector().eval()
    first = norms_of(detector)[0]
    batches = [torch.rand(4, 3, PX, PX) * 255, torch.rand(4, 3, PX, PX) * 25]
    alone = []
    for batch in batches:
        update_bn_statistics(detector, [first], [batch])
        alone.append((first.running_mean.clone(), first.running_var.clone()))
    update_bn_statistics(detector, [first], batches)
    assert torch.allclose(first.running_mean, (alone[0][0] + alone[1][0]) / 2, atol=1e-4)
    assert torch.allclose(first.running_var, (alone[0][1] + alone[1][1]) / 2, rtol=1e-4)


def test_what_a_run_keeps_is_what_was_measured(data: DataSet, tmp_path: Path) -> None:
    """The checkpoint has the average's weights and measured norms; with 0 the norms that moved along."""
    from distill.train.recipe import load_recipe
    from distill.train.run import PRODUCTS, train
    from distill.train.run_context import RunSettings, TrainData
    from distill.train.task import SupervisedTask
    from distill.train.transfer import adapt_classes
    from workbench.run_folder import RunFolder
    from zoo.weights.checkpoint import load

    def detector() -> Detector:
        torch.manual_seed(0)
        return adapt_classes(tiny_detector(), data.classes)[0]

    for images in (8, 0):
        recipe = load_recipe(
            "small",
            {"epochs": 1, "batch": 4, "closing_epochs": 0, "bn_calibration_images": images, "freeze_bn_from": 1.0},
        )
        folder = RunFolder.open(tmp_path / f"run-{images}", {}, {}, PRODUCTS)
        train(SupervisedTask(detector()), TrainData(data, data), recipe, folder, RunSettings(PX, data_workers=0))
        folder.close()
        state = torch.load(tmp_path / f"run-{images}" / "resume.pt", weights_only=True)
        average = detector()
        average.load_state_dict(state["loop"]["average"])
        kept = load(tmp_path / f"run-{images}" / "last.safetensors").state_dict()
        expected = calibrate_bn(average, data, PX, images, workers=0) if images else average
        assert all(torch.equal(value, kept[name]) for name, value in expected.state_dict().items())
        assert images == 0 or not all(torch.equal(value, kept[name]) for name, value in average.state_dict().items())


def test_norms_are_held_at_what_was_measured_when_the_hold_began(
    data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distill.train.loop import Loop
    from distill.train.recipe import load_recipe
    from distill.train.run import PRODUCTS, train
    from distill.train.run_context import RunSettings, TrainData
    from distill.train.task import SupervisedTask
    from distill.train.transfer import adapt_classes
    from workbench.run_folder import RunFolder
    from zoo.weights.checkpoint import load

    torch.manual_seed(0)
    detector = adapt_classes(tiny_detector(), data.classes)[0]
    recipe = load_recipe(
        "small", {"epochs": 2, "batch": 4, "closing_epochs": 0, "bn_calibration_images": 8, "freeze_bn_from": 0.7}
    )
    at_hold: list[Detector] = []

    def advance(self: Loop, batches: Any) -> Any:
        if self.step == self.bn_frozen_from - 1:
            report = plain(self, batches)
            at_hold.append(copy.deepcopy(self.task.detector))
            return report
        return plain(self, batches)

    plain = Loop.advance
    monkeypatch.setattr(Loop, "advance", advance)
    folder = RunFolder.open(tmp_path / "run", {}, {}, PRODUCTS)
    train(SupervisedTask(detector), TrainData(data, data), recipe, folder, RunSettings(PX, data_workers=0))
    folder.close()
    (before,) = at_hold
    expected, kept = (
        statistics(calibrate_bn(before, data, PX, 8, workers=0)),
        statistics(load(tmp_path / "run" / "last.safetensors")),
    )
    assert all(torch.equal(expected[name], kept[name]) for name in expected)
