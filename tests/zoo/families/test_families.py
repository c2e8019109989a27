"""The list of families: what holds for all of them together, and that a new one is one file, its card and one line."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import zoo
from tests.zoo.families.checks import on_meta
from workbench.errors import BadInput
from zoo.families import FAMILIES, SEARCHED, families, find_family
from zoo.families.card import find_card, load_cards
from zoo.weights.official import identify

TOY_MODULE = '''
from zoo.detector import Detector
from zoo.families.family import Family
from zoo.families.yolox import YOLOX, Backbone, Head, Neck, Size

SIZES = {"toy-s": Size(0.33, 0.125)}


class Toy(YOLOX):
    family = "toy"

    def __init__(self, recipe):
        Detector.__init__(self, recipe)
        size = SIZES[recipe.model]
        self.backbone, self.neck, self.head = Backbone(size), Neck(size), Head(size, recipe.classes)


FAMILY = Family(
    name="toy",
    title="Toy",
    sizes=SIZES,
    make=Toy,
    landmark=r"toy\\.backbone\\.stem\\.conv\\.conv\\.weight",
    count_classes=lambda shapes: shapes["toy.head.class_preds.0.weight"][0],
    renames=((r"^", "toy."),),
    recipe="yolox",
)
'''
TOY_CARD = """
family: toy
code_licence: MIT (somebody/toy)
weights_licence: MIT
models:
  toy-s:
    aliases: [toys]
    input_px: 96
    ap: 1.0
    params_m: 0.5
    gflops: 0.1
    source: nowhere
    note: ''
    measured_params: 1
    measured_flops: 1
"""


def test_names_are_those_of_the_list() -> None:
    assert [family.name for family in families()] == list(FAMILIES)
    assert SEARCHED in FAMILIES
    with pytest.raises(BadInput, match="yolo11"):
        find_family("yolo12")


def test_every_model_has_one_landmark_and_names_of_its_own() -> None:
    """Official names are unique within a model, and only its own family's landmark is among them."""
    for family in families():
        for model in family.sizes:
            names = [family.official_name(name) for name in on_meta(family, model).state_dict()]
            assert len(set(names)) == len(names), model
            matching = [one.name for one in families() if any(re.fullmatch(one.landmark, name) for name in names)]
            assert matching == [family.name], model


def test_a_new_family_is_a_module_a_card_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "toyzoo"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "toy.py").write_text(TOY_MODULE, encoding="utf-8")
    (package / "toy.yaml").write_text(TOY_CARD, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(FAMILIES, "toy", "toyzoo.toy")
    try:
        assert "toy-s" in zoo.models().names and zoo.card("toys") is find_card("toy-s")
        detector = zoo.build("toy-s", classes=2)
        assert (detector.family, detector.info.input_px) == ("toy", 96)
        zoo.save(detector, tmp_path / "toy.safetensors")
        assert zoo.load(tmp_path / "toy.safetensors").recipe == detector.recipe
        official = {find_family("toy").official_name(name): value for name, value in detector.state_dict().items()}
        assert identify(official)[1:] == ("toy-s", 2)
        torch.save({"model": official}, tmp_path / "official.pth")
        imported = zoo.import_weights(tmp_path / "official.pth", out=tmp_path / "imported.safetensors")
        assert (imported.model, imported.licence, imported.input_px) == ("toy-s", "MIT", 96)
        assert "toy-s" in str(imported) and imported.sha256 == imported.lineage[0]["sha256"]
    finally:
        for name in ("toyzoo", "toyzoo.toy"):
            sys.modules.pop(name, None)
    monkeypatch.delitem(FAMILIES, "toy")
    assert "toy-s" not in load_cards()
