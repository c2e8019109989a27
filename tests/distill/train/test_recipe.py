"""Recipes: the ones that ship, changes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.data.feed.presets import find_preset
from distill.train.recipe import TrainRecipe, default_recipe, load_recipe, parse_changes, recipe_names
from workbench.errors import BadInput

FAMILIES = ("damo-yolo", "yolox", "yolov7", "yolo11", "yolo26", "rtdetrv2")


def test_every_family_has_its_recipe_and_names_its_source() -> None:
    assert set(recipe_names()) == {*FAMILIES, "small"}
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.name == name and recipe.source
        assert recipe.closing_epochs < recipe.epochs


def test_published_values() -> None:
    assert load_recipe("rtdetrv2").optimizer == "adamw" and load_recipe("rtdetrv2").backbone_lr == 0.1
    assert load_recipe("yolo26").optimizer == "muon"
    assert (load_recipe("damo-yolo").closing_epochs, load_recipe("yolox").closing_epochs) == (16, 15)


def test_changes_are_values_not_texts() -> None:
    changes = parse_changes(["lr=1e-3", "epochs=7", "optimizer=sgd", "clip_norm=null", "freeze_backbone_bn=true"])
    assert changes == {"lr": 1e-3, "epochs": 7, "optimizer": "sgd", "clip_norm": None, "freeze_backbone_bn": True}
    recipe = load_recipe("small", changes)
    assert recipe.lr == 1e-3 and recipe.epochs == 7 and recipe.clip_norm is None


def test_a_file_of_your_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("lr: 0.02\nepochs: 3\nclosing_epochs: 1\n")
    recipe = load_recipe(str(tmp_path / "mine.yaml"))
    assert (recipe.name, recipe.lr, recipe.epochs) == ("mine", 0.02, 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr: fast", "lr 'fast': must be a number"),
        ("lr: .nan", "lr nan"),
        ("lr: -1", "lr -1"),
        ("epochs: 0", "epochs 0: must be a whole number"),
        ("epochs: 1.5", "epochs 1.5"),
        ("batch: true", "batch True"),
        ("optimizer: adam", "did you mean adamw"),
        ("colour: red", "unknown setting 'colour'"),
        ("- a", "must be a table"),
        ("{", "not YAML"),
        ("a: &a [*a]", "has the alias"),
        ("ema_decay: 1.0", "ema_decay"),
    ],
)
def test_bad_recipes_are_one_line(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(BadInput) as error:
        load_recipe(str(file))
    assert words in str(error.value) and "\n" not in str(error.value)


def test_unknown_names_and_words() -> None:
    with pytest.raises(BadInput, match="unknown recipe 'yoloxx'"):
        load_recipe("yoloxx")
    with pytest.raises(BadInput, match="must be KEY=VALUE"):
        parse_changes(["lr"])


def test_small_data_take_the_small_recipe() -> None:
    assert default_recipe("yolox", 800) == "small"
    assert default_recipe("yolox", 118_287) == "yolox"


def test_recipes_round_trip() -> None:
    recipe = load_recipe("yolo11")
    assert TrainRecipe(**recipe.to_dict()) == recipe


def test_augmentation_can_be_changed_on_the_command_line() -> None:
    from distill.data.feed.augmentations.flip import Flip
    from distill.data.feed.augmentations.mixup import Mixup

    plain = load_recipe("small")
    assert plain.preset() == find_preset("light").with_sizes(plain.multi_scale)
    assert "flip" not in plain.to_dict()
    changed = load_recipe("small", parse_changes(["flip=0", "mosaic=0.2", "mixup=0.1", "hue=0", "value=0.5"]))
    found = changed.preset().augmentations
    assert "flip" not in found and found["mosaic"].probability == 0.2  # type: ignore[attr-defined]
    assert isinstance(found["mixup"], Mixup) and found["mixup"].probability == 0.1
    assert (found["color"].hue, found["color"].saturation, found["color"].value) == (0, 0.4, 0.5)  # type: ignore[attr-defined]
    assert load_recipe("small", {"augmentation": "none", "flip": 1.0}).preset().augmentations == {"flip": Flip(1.0)}
    with pytest.raises(BadInput, match="flip"):
        load_recipe("small", {"flip": 2})
