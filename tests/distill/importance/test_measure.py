"""A measurement runs on every family, resumes to the same bits, is cached, and refuses what it cannot use."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")

from distill.data.classes import ClassMap
from distill.data.dataset import DataSet
from distill.data.formats.readers import open_data
from distill.data.synthetic.synth import make
from distill.importance import measure as measuring
from distill.importance.measure import MeasureOptions, measure_importance
from distill.importance.methods import DEFAULT_IMPORTANCE, IMPORTANCES
from distill.importance.scores import ImportanceScores
from distill.importance.training_loss import loss_batches
from workbench.errors import BadInput
from zoo.detector import Detector, Info, Recipe
from zoo.factory import build_recipe
from zoo.pruning.groups import ChannelGroups, channel_groups

SMALLEST = [
    "yolox-nano", "damo-yolo-ns",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("yolo11n", "yolo26n", "yolov7", "rtdetrv2-s")),
]  # fmt: skip
DATA_METHODS = [name for name in IMPORTANCES if name != "norm"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """A few synthetic images."""
    folder = tmp_path_factory.mktemp("data") / "set"
    make(folder, 8, 0)
    return open_data(folder, "train")


def detector_for(model: str, data: DataSet) -> Detector:
    """A detector of random weights for the classes of ``data``, none of which is 0 as at the start of a training."""
    torch.manual_seed(0)
    detector = build_recipe(Recipe(model, len(data.classes)))
    for parameter in detector.parameters():
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    detector.info = Info(data.classes.names, 64)
    return detector


@pytest.fixture(scope="module")
def nano(data: DataSet) -> tuple[Detector, ChannelGroups]:
    """The smallest YOLOX and its groups."""
    detector = detector_for("yolox-nano", data)
    return detector, channel_groups(detector)


def assert_equal(one: ImportanceScores, other: ImportanceScores) -> None:
    assert json.dumps(one.to_dict()) == json.dumps(other.to_dict())


@pytest.mark.parametrize("model", SMALLEST)
def test_every_family_is_measured(model: str, data: DataSet) -> None:
    detector = detector_for(model, data)
    groups = channel_groups(detector)
    options = MeasureOptions(images=2, batch=2)
    for method in IMPORTANCES:
        scores = measure_importance(detector, groups, method, data, options)
        assert list(scores.groups) == [group.name for group in groups.groups]
        for group in groups.groups:
            values = scores.groups[group.name]
            assert values.shape == (len(group),) and values.dtype == np.float64
            assert np.isfinite(values).all() and (values >= 0).all()
        assert sum((values > 0).mean() for values in scores.groups.values()) > 0.9 * len(groups.groups)
        assert scores.blocks.keys() == set(groups.blocks) and min(scores.blocks.values(), default=0) >= 0
        assert {path: len(values) for path, values in scores.stacks.items()} == dict(groups.stacks)
        assert all(values[-1] == 0 and (values >= 0).all() for values in scores.stacks.values())
        if method != "norm":
            assert scores.images == 2 and scores.loss is not None and scores.loss > 0
        assert_equal(ImportanceScores.from_dict(json.loads(json.dumps(scores.to_dict()))), scores)


@pytest.mark.parametrize("method", DATA_METHODS)
def test_an_interrupted_measurement_resumes_to_the_same_bits(
    method: str, nano: tuple[Detector, ChannelGroups], data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = MeasureOptions(images=5, batch=2, seed=3)
    whole = measure_importance(*nano, method, data, options)
    calls, original = [], measuring._add

    def stops(*args: object) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(measuring, "_add", stops)
    with pytest.raises(KeyboardInterrupt):
        measure_importance(*nano, method, data, options, folder=tmp_path)
    assert len(list(tmp_path.glob("importance-*.json"))) == 1
    assert_equal(measure_importance(*nano, method, data, options, folder=tmp_path), whole)
    assert len(calls) == 4  # of three batches the first two were not repeated
    # complete: nothing is calculated any more
    assert_equal(measure_importance(*nano, method, data, options, folder=tmp_path), whole)
    assert len(calls) == 4


def test_other_weights_data_or_settings_are_measured_anew(
    nano: tuple[Detector, ChannelGroups], data: DataSet, tmp_path: Path
) -> None:
    detector, groups = nano
    options = MeasureOptions(images=2, batch=2)
    first = measure_importance(detector, groups, "taylor", data, options, folder=tmp_path)
    changed = copy.deepcopy(detector)
    with torch.no_grad():
        next(changed.head.parameters()).mul_(1.5)
    other = measure_importance(changed, groups, "taylor", data, options, folder=tmp_path)
    assert other.to_dict() != first.to_dict()
    measure_importance(detector, groups, "taylor", data, MeasureOptions(images=3, batch=2), folder=tmp_path)
    fewer = DataSet(data.root, data.name, data.classes, data.pictures[:3])
    measure_importance(detector, groups, "taylor", fewer, options, folder=tmp_path)
    assert len(list(tmp_path.glob("importance-taylor-*.json"))) == 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"batches": 1', '"batches": 0'),
        lambda text: "[]",
        lambda text: "",
    ],
    ids=["truncated", "changed", "another kind", "empty"],
)
def test_a_damaged_cache_is_measured_again_with_a_line(
    damage: Callable[[str], str], nano: tuple[Detector, ChannelGroups], data: DataSet, tmp_path: Path
) -> None:
    options = MeasureOptions(images=2, batch=2)
    first = measure_importance(*nano, "taylor", data, options, folder=tmp_path)
    (file,) = tmp_path.glob("importance-*.json")
    text = file.read_text()
    assert damage(text) != text
    file.write_text(damage(text))
    lines: list[str] = []
    assert_equal(measure_importance(*nano, "taylor", data, options, folder=tmp_path, log=lines.append), first)
    assert len(lines) == 1 and "measured again" in lines[0]
    assert file.read_text() == text


def test_units_do_not_depend_on_the_size_of_batches(nano: tuple[Detector, ChannelGroups], data: DataSet) -> None:
    one, other = (measure_importance(*nano, "taylor", data, MeasureOptions(images=3, batch=b)) for b in (2, 3))
    for name, values in one.groups.items():
        np.testing.assert_allclose(values, other.groups[name], rtol=1e-9)


def test_batches_are_the_same_images(nano: tuple[Detector, ChannelGroups], data: DataSet) -> None:
    numbers = [[part.first for part in loss_batches(data, nano[0].preprocess, 64, 5, 2, 0, start)] for start in (0, 2)]
    assert numbers == [[0, 2, 4], [4]]
    whole = next(iter(loss_batches(data, nano[0].preprocess, 64, 5, 5, 0)))
    parts = list(loss_batches(data, nano[0].preprocess, 64, 5, 2, 0))
    assert torch.equal(torch.cat([part.image for part in parts]), whole.image)
    assert [len(part) for part in parts] == [2, 2, 1]
    for joined, single in zip(whole.targets.boxes, [b for part in parts for b in part.targets.boxes], strict=True):
        assert torch.equal(joined, single)
    other = next(iter(loss_batches(data, nano[0].preprocess, 64, 5, 5, 1)))
    assert not torch.equal(other.image, whole.image)


def test_wrong_requests_are_refused_in_one_line(nano: tuple[Detector, ChannelGroups], data: DataSet) -> None:
    detector, groups = nano
    nothing = DataSet(data.root, data.name, data.classes, ())
    foreign = DataSet(data.root, data.name, ClassMap(("cat",), (1,)), data.pictures)
    folded = copy.deepcopy(detector).eval().fuse()
    requests = {
        "unknown importance 'tailor'": lambda: measure_importance(detector, groups, "tailor", data),
        "give data": lambda: measure_importance(detector, groups, "taylor"),
        "no pictures": lambda: measure_importance(detector, groups, "taylor", nothing),
        "importance images 0": lambda: measure_importance(detector, groups, "taylor", data, MeasureOptions(images=0)),
        "importance batch 0": lambda: measure_importance(detector, groups, "taylor", data, MeasureOptions(batch=0)),
        "is folded": lambda: measure_importance(folded, groups, "norm"),
        "the model": lambda: measure_importance(detector, groups, "taylor", foreign),
    }
    for expected, request in requests.items():
        with pytest.raises(BadInput) as caught:
            request()
        assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_a_loss_that_is_not_finite_is_an_error(nano: tuple[Detector, ChannelGroups], data: DataSet) -> None:
    broken = copy.deepcopy(nano[0])
    with torch.no_grad():
        broken.head.get_parameter(next(iter(dict(broken.head.named_parameters())))).fill_(float("nan"))
    with pytest.raises(BadInput, match="not finite on image 0"):
        measure_importance(broken, nano[1], "taylor", data, MeasureOptions(images=2))


@pytest.mark.parametrize(
    "change",
    [
        {"groups": {"a": [1.0, -1.0]}}, {"groups": {"a": [float("nan")]}}, {"groups": [1]}, {"blocks": {"a": "1"}},
        {"stacks": {"a": 1.0}}, {"images": -1}, {"loss": -1.0}, {"method": 3},
    ],
)  # fmt: skip
def test_scores_that_are_none_are_refused(change: dict[str, object]) -> None:
    fine = ImportanceScores({"a": np.array([1.0, 2.0])}, {"b": 0.5}, {"c": np.array([1.0, 0.0])}, "taylor", 2, 1.5)
    assert ImportanceScores.from_dict(fine.to_dict()).blocks == {"b": 0.5}
    with pytest.raises(BadInput, match="importance scores"):
        ImportanceScores.from_dict({**fine.to_dict(), **change})


def test_the_default_is_a_method() -> None:
    assert DEFAULT_IMPORTANCE in IMPORTANCES
    assert all(method.about for method in IMPORTANCES.values())
