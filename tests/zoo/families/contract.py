"""The tests that every family passes. A family's test file subclasses ``FamilyContract`` and fills in its attributes.

``FAMILY``, ``MODEL``, ``LICENCE``, ``PARAMS``, ``LAYOUTS`` and ``write_official`` are required; an empty table leaves
its test out. Parity fixtures are found by the names of the models.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from search_spaces.graph import Graph
from tests.zoo.families import loss_checks, parity
from tests.zoo.families.checks import (
    assert_folding_and_prediction,
    assert_same_detector,
    convolutions,
    disturb,
    official_graph,
    official_state,
    on_meta,
    outputs,
    parameters,
)
from tests.zoo.families.overfit import CLASSES as SHAPES
from tests.zoo.families.overfit import overfit
from zoo.coco_names import COCO_NAMES
from zoo.detector import Detector, Info, Recipe
from zoo.factory import build_recipe, family_of
from zoo.families import find_family
from zoo.families.card import find_card, weights_licence
from zoo.families.family import Family
from zoo.weights.checkpoint import load, save
from zoo.weights.official import import_official

NAMES = ("nut", "bolt", "écrou")
LINEAGE = ({"model": "teacher", "licence": "Apache-2.0", "sha256": "ab" * 32},)
PROVENANCE = {"file": "best.pth", "licence": "Apache-2.0", "facts": {"epoch": 300, "loss": 0.25}}


@dataclass(frozen=True)
class OfficialLayout:
    """One official file: its model, and ``write`` for its layout, which has the weights under ``key``."""

    model: str
    classes: int
    write: Callable[[Path, Mapping[str, Tensor]], None]
    key: str = "model"
    half: bool = False
    named: bool = False
    """Whether the file has the class names ``NAMES``."""
    suffix: str = ".pt"


class FamilyContract:
    """Inherit in a class ``Test...`` of the family's test file."""

    FAMILY: ClassVar[Family]
    MODEL: ClassVar[str]
    """The model that everything with weights is tested on: the smallest."""
    LICENCE: ClassVar[str]
    """Licence of the official weights."""
    PARAMS: ClassVar[Mapping[str, tuple[int, int, str]]]
    """Parameters in training form and deployed, and the authors' figure in millions (``published_params``)."""
    CONV_MACS: ClassVar[Mapping[str, int]] = {}
    """MACs of the convolutions of the deploy form at 640 px."""
    GFLOPS: ClassVar[Mapping[str, str]] = {}
    """The authors' figure, where it is twice the MACs of the convolutions at 640 px."""
    LOGGED: ClassVar[Mapping[tuple[str, int], int]] = {}
    """Parameters in users' training logs of the official code, by model and number of classes."""
    GRAPHS: ClassVar[Mapping[str, str]] = {}
    """Model to the name of the graph that was traced from the official code."""
    LAYOUTS: ClassVar[Mapping[str, OfficialLayout]]
    """Official file layouts to import, the plain one first."""
    FRESH_SCORES: ClassVar[tuple[float, float]]
    """Bounds of the mean score of a fresh detector."""
    BACKGROUND: ClassVar[tuple[str, ...]]
    """Losses that are not 0 in a batch without objects."""
    LOSS_COUNTS_IMAGES: ClassVar[bool]
    """Whether losses grow with the number of images."""
    OVERFIT: ClassVar[Mapping[str, Any]]
    """Arguments of ``overfit`` with which the family learns 16 images by heart."""

    # ---- what a family may override

    def write_official(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        """Write tensors as the official code does, in float32."""
        raise NotImplementedError

    def published_params(self, training: int, deployed: int, published: str) -> str:
        """Our parameters in the form in which the authors publish them."""
        return f"{deployed / 1e6:.1f}"

    def recipe(self, classes: int) -> Recipe:
        """The recipe of ``MODEL``."""
        return Recipe(self.MODEL, classes)

    def make(self, classes: int = 3) -> Detector:
        """``MODEL`` with fresh weights that depend on nothing but the seed."""
        torch.manual_seed(0)
        return build_recipe(self.recipe(classes))

    def disturb(self, detector: Detector) -> None:
        """Change whatever a fresh detector has neutral values for."""
        disturb(detector)

    def prepare_to_learn(self, detector: Detector) -> None:
        """Change a fresh detector so that every parameter has a gradient in the first step."""

    def assert_same_graph(self, ours: Graph, official: Graph, detector: Detector) -> None:
        """Wiring and operators of the deploy form are the official ones."""
        raise NotImplementedError

    # ---- parametrization and fixtures

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        fixtures = [path for path in parity.fixture_files() if path.stem in self.FAMILY.sizes]
        branches = self.branches()
        tables: dict[str, tuple[list[Any], list[str]]] = {
            "size": (list(self.PARAMS), list(self.PARAMS)),
            "logged": (list(self.LOGGED), [f"{model}-{classes}" for model, classes in self.LOGGED]),
            "graph_of": (list(self.GRAPHS), list(self.GRAPHS)),
            "parity_file": (fixtures, [path.stem for path in fixtures]),
            "layout": (list(self.LAYOUTS.values()), list(self.LAYOUTS)),
            "branch": (branches, branches),
        }
        for name, (values, ids) in tables.items():
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, values, ids=ids)

    def branches(self) -> list[str]:
        """Branches of the head, the default one first."""
        with torch.device("meta"):
            return list(build_recipe(self.recipe(3)).selections)

    @pytest.fixture(autouse=True, scope="class")
    def one_thread(self) -> Iterator[None]:
        """Small networks gain nothing from threads."""
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(before)

    @pytest.fixture(scope="class")
    def learner(self) -> Detector:
        """A detector to compute losses with; tests leave its parameters as they are."""
        detector = self.make()
        self.prepare_to_learn(detector)
        return detector

    @pytest.fixture(scope="class")
    def trained(self) -> Detector:
        """A detector whose batch norms have statistics; tests work on copies."""
        detector = self.make().eval()
        self.disturb(detector)
        detector.info = Info(NAMES, 96, PROVENANCE, LINEAGE, (7, 90, 13))
        return detector

    # ---- sizes and wiring

    def test_parameters_and_macs(self, size: str) -> None:
        detector = on_meta(self.FAMILY, size)
        training, deployed, published = self.PARAMS[size]
        assert parameters(detector) == training
        detector.fuse()
        assert parameters(detector) == deployed
        assert self.published_params(training, deployed, published) == published
        assert not any(isinstance(part, nn.BatchNorm2d) for part in detector.modules())
        if size in self.CONV_MACS or size in self.GFLOPS:
            macs = convolutions(detector)[0]
            assert self.CONV_MACS.get(size, macs) == macs
            assert self.GFLOPS.get(size, f"{2 * macs / 1e9:.1f}") == f"{2 * macs / 1e9:.1f}"

    def test_training_form_has_the_parameters_of_training_logs(self, logged: tuple[str, int]) -> None:
        assert parameters(on_meta(self.FAMILY, *logged)) == self.LOGGED[logged]

    def test_deploy_form_equals_the_official_graph(self, graph_of: str, shared_dir: Path) -> None:
        official = official_graph(shared_dir, self.GRAPHS[graph_of])
        detector = on_meta(self.FAMILY, graph_of).fuse()
        ours, table = detector.graph(), official.table(640)
        assert int(ours.table(640).params.sum()) == int(table.total(table.params))
        self.assert_same_graph(ours, official, detector)

    def test_feature_maps_have_the_strides(self) -> None:
        with torch.device("meta"):
            detector = build_recipe(self.recipe(3)).eval()
            image = torch.empty(1, 3, 320, 256)
            maps = [detector.features(image), detector.backbone(image)]
        for levels in maps:
            assert [tuple(level.shape[2:]) for level in levels] == [(320 // s, 256 // s) for s in detector.strides]

    # ---- official checkpoints

    def test_official_numbers(self, parity_file: Path, tmp_path: Path) -> None:
        """An official checkpoint, imported from its file, gives the official outputs, in training form and folded."""
        fixture = parity.read_fixture(parity_file)
        self.write_official(tmp_path / "official.pt", parity.official_tensors(fixture))
        detector = import_official(tmp_path / "official.pt")
        (tmp_path / "official.pt").unlink()
        assert detector.recipe.model == family_of(fixture["model"])[1]
        assert (detector.family, detector.classes) == (fixture["family"], 80)
        assert parameters(detector) / 1e6 == pytest.approx(fixture["params_m_train_form"], abs=5e-7)
        image, expected = parity.image(fixture), {output["name"] for output in fixture["outputs"]}
        with torch.no_grad():
            gaps = parity.gaps(fixture, detector.official_outputs(image))
            assert set(gaps) == expected and max(gaps.values()) <= 1e-4, gaps
            seen: set[str] = set()
            for branch in detector.selections:  # a folded head has one branch left
                folded = copy.deepcopy(detector)
                folded.choose_branch(branch)
                gaps = parity.gaps(fixture, folded.fuse().official_outputs(image))
                assert max(gaps.values()) <= 1e-3, gaps
                seen |= set(gaps)
            assert seen == expected

    def test_import_from_the_official_layout(self, layout: OfficialLayout, tmp_path: Path) -> None:
        torch.manual_seed(0)
        detector = build_recipe(Recipe(layout.model, layout.classes)).eval()
        self.disturb(detector)
        path = tmp_path / f"official{layout.suffix}"
        layout.write(path, official_state(detector))
        imported = import_official(path)
        assert (imported.family, imported.recipe) == (detector.family, detector.recipe)
        assert (imported.fused, imported.training) == (False, False)
        expected = detector.state_dict()
        if layout.half:
            expected = {k: v.half().float() if v.is_floating_point() else v for k, v in expected.items()}
        assert set(imported.state_dict()) == set(expected)
        for name, value in imported.state_dict().items():
            assert value.dtype == expected[name].dtype and torch.equal(value, expected[name]), name
        numbered = tuple(f"class {i}" for i in range(layout.classes))
        info = imported.info
        assert info.class_names == (NAMES if layout.named else COCO_NAMES if layout.classes == 80 else numbered)
        assert info.input_px == find_card(layout.model).input_px
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        facts = {"sha256": digest, "licence": self.LICENCE, "read_from": layout.key}
        assert {key: info.provenance[key] for key in facts} == facts
        assert info.lineage == ({"model": layout.model, "licence": self.LICENCE, "sha256": digest},)
        save(imported, tmp_path / "ours.safetensors")
        assert load(tmp_path / "ours.safetensors").info == info

    def test_number_of_classes_follows_from_the_shapes(self) -> None:
        state = official_state(on_meta(self.FAMILY, self.MODEL, 7))
        assert self.FAMILY.count_classes({name: tuple(value.shape) for name, value in state.items()}) == 7

    def test_is_listed_with_its_licence(self) -> None:
        assert find_family(self.FAMILY.name) is self.FAMILY
        assert weights_licence(self.FAMILY.name) == self.LICENCE

    # ---- our form: folding, prediction, checkpoints

    def test_folding_and_prediction(self, trained: Detector, branch: str) -> None:
        detector = copy.deepcopy(trained)
        detector.choose_branch(branch)
        torch.manual_seed(0)
        assert_folding_and_prediction(detector, torch.rand(2, 3, 64, 96) / detector.preprocess.scale / 255)

    @pytest.mark.parametrize("fused", [False, True], ids=["training form", "folded"])
    def test_checkpoint_round_trip(self, trained: Detector, branch: str, fused: bool, tmp_path: Path) -> None:
        detector = copy.deepcopy(trained)
        detector.choose_branch(branch)
        if fused:
            detector.fuse()
        save(detector, tmp_path / "a.safetensors")
        back = load(tmp_path / "a.safetensors")
        assert_same_detector(back, detector)
        assert back.end2end == (detector.selections[branch].iou_threshold is None)
        # a tensor that no file holds would have no values
        assert not any(value.is_meta for value in (*back.parameters(), *back.buffers()))

    def test_branches_differ(self, trained: Detector) -> None:
        detector, scores = copy.deepcopy(trained), []
        for branch in detector.selections:
            detector.choose_branch(branch)
            scores.append(outputs(detector)[1])
        assert not any(torch.allclose(a, b) for i, a in enumerate(scores) for b in scores[:i])

    def test_fresh_detector_has_low_scores(self) -> None:
        detector = self.make(80).eval()
        image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) / detector.preprocess.scale / 255
        with torch.no_grad():
            _, scores = detector.decode(detector(image), (64, 64))
        low, high = self.FRESH_SCORES
        assert low < float(scores.mean()) < high

    # ---- losses

    def test_every_parameter_moves(self) -> None:
        detector = self.make()
        self.prepare_to_learn(detector)
        loss_checks.assert_every_parameter_moves(detector)

    def test_without_objects_background_is_learned(self, learner: Detector) -> None:
        loss_checks.assert_learns_background_without_objects(learner, self.BACKGROUND)

    def test_losses_are_finite_in_half_precision(self, learner: Detector) -> None:
        loss_checks.assert_finite_in_half_precision(learner)

    def test_losses_are_repeatable(self, learner: Detector) -> None:
        loss_checks.assert_repeatable(learner)

    def test_losses_scale_with_the_number_of_images(self, learner: Detector) -> None:
        assert learner.loss_counts_images == self.LOSS_COUNTS_IMAGES
        loss_checks.assert_counts_images(learner)

    @pytest.mark.slow
    def test_learns_sixteen_images_by_heart(self) -> None:
        """AP50 on the same images."""
        options = dict(self.OVERFIT)
        assert overfit(self.make(SHAPES), options.pop("steps"), **options) >= 0.9
