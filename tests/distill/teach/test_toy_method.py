"""One addition, one file and one line: toy methods, put into the public dicts, train through the public path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("pycocotools")
from torch import Tensor

from distill.prepare import train_from
from distill.request import TrainRequest
from distill.teach.features.base import FeatureMethod
from distill.teach.methods import FEATURE_METHODS, RESPONSE_METHODS, make_feature_method
from distill.teach.predictions import Predictions
from distill.teach.request import TeacherRequest
from distill.teach.responses.base import Pair, ResponseMethod
from tests.distill.taught import untaught, write_pictures
from tests.distill.tiny import tiny_detector
from workbench.errors import BadInput
from zoo.learning.targets import Targets
from zoo.weights.checkpoint import save


class ToyFeature(FeatureMethod):
    """The absolute difference of aligned maps."""

    def __init__(self, student_channels: Sequence[int], teacher_channels: Sequence[int], power: float = 1.0) -> None:
        super().__init__(student_channels, teacher_channels)
        self.power = power

    def level_loss(
        self, level: int, student: Tensor, teacher: Tensor, targets: Targets, size: tuple[int, int]
    ) -> Tensor:
        return (student - teacher).abs().pow(self.power).mean()


class ToyResponse(ResponseMethod):
    """The squared difference of the best scores; it asks for distributions, and is the default of pairs with them."""

    needs: ClassVar[frozenset[str]] = frozenset({"scores", "distributions"})

    @classmethod
    def is_default(cls, pair: Pair) -> bool:
        return pair.distributions

    def loss(self, student: Predictions, teacher: Predictions) -> Tensor:
        assert teacher.distributions is not None, "the cache keeps what the method needs"
        best = self.classes.select_student(student.scores).amax(-1)
        return (best - self.classes.select_teacher(teacher.scores).amax(-1)).square().mean()


def test_a_toy_method_is_one_class_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FEATURE_METHODS, "toy", ToyFeature)
    monkeypatch.setitem(RESPONSE_METHODS, "toy-response", ToyResponse)
    monkeypatch.delitem(RESPONSE_METHODS, "localisation")
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "data")
    save(untaught(), tmp_path / "teacher.safetensors")
    arch = tiny_detector().recipe.architecture
    assert arch is not None
    (tmp_path / "tiny.yaml").write_text(arch.to_yaml())
    result = train_from(TrainRequest(
        model="tiny.yaml", data="data", epochs=2, batch=8, input_px=64, data_workers=0, quiet=True, name="toy",
        changes=("closing_epochs=1", "views=1"),
        teaching=TeacherRequest(("teacher.safetensors",), features=("toy",)),
    ))  # fmt: skip
    losses = result.history[0]["losses"]
    assert {name for name in losses if name.startswith("teacher_")} == {
        "teacher_toy", "teacher_scores", "teacher_toy-response",
    }  # fmt: skip
    assert losses["teacher_toy"] > 0 and losses["teacher_toy-response"] > 0
    settings = yaml.safe_load((result.folder / "settings.yaml").read_text())
    assert settings["features"] == ["toy"] and settings["responses"] == ["scores", "toy-response"]


def test_options_of_a_toy_method_are_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FEATURE_METHODS, "toy", ToyFeature)
    method = make_feature_method("toy", (4,), (4,), {"power": 2.0})
    assert isinstance(method, ToyFeature) and method.power == 2.0
    with pytest.raises(BadInput, match="toy has no option 'root'; it has power"):
        make_feature_method("toy", (4,), (4,), {"root": 2.0})
    with pytest.raises(BadInput, match=r"unknown feature distillation 'tyo'.*toy"):
        make_feature_method("tyo", (4,), (4,))
