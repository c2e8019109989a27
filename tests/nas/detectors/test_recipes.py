"""Recipe tags as traits."""

from __future__ import annotations

import csv

import pytest

from nas.detectors.recipes import BACKBONES, NMS_FREE_FAMILIES, TRAITS, parse_recipe
from tests.nas.detectors.made import ATLAS


@pytest.mark.parametrize(
    ("tag", "traits", "epochs"),
    [
        ("scratch 300e; backbone found by NAS", {"coco-only", "scratch"}, (300, 300)),
        ("scratch 300e, distilled; backbone found by NAS", {"scratch", "teacher"}, (300, 300)),
        ("scratch, self-distilled", {"scratch", "teacher"}, None),
        ("ImageNet backbone 72e-120e", {"coco-only", "imagenet"}, (72, 120)),
        ("ImageNet backbone (AdvProp) 300e", {"coco-only", "imagenet"}, (300, 300)),
        ("DINOv3 backbone (distilled), dense one-to-one training", {"self-supervised", "nms-free"}, None),
        ("distilled ViT backbone", {"self-supervised"}, None),
        ("ViT pretrained by masked images, Objects365 pretrain", {"self-supervised", "objects365"}, None),
        (
            "Objects365 pretrain, pseudo-labels, distilled; network found by NAS",
            {"objects365", "pseudo-labels", "teacher"}, None,
        ),
        ("Objects365 pretrain, then COCO 80e", {"objects365"}, (80, 80)),
        ("not stated; AP with NMS head", {"coco-only", "not-stated"}, None),
        ("", {"coco-only", "not-stated"}, None),
        ("COCO pretrain, 100e", {"coco-boxes"}, (100, 100)),
    ],
)  # fmt: skip
def test_traits(tag: str, traits: set[str], epochs: tuple[int, int] | None) -> None:
    recipe = parse_recipe(tag)
    assert set(recipe.traits()) == traits and recipe.epochs == epochs and not recipe.unknown
    assert recipe.backbone in BACKBONES and recipe.tag == tag


def test_a_backbone_that_was_distilled_is_no_teacher_of_the_detector() -> None:
    assert not parse_recipe("DINOv3 backbone (distilled)").teacher
    assert parse_recipe("DINOv2 backbone, distilled").teacher


def test_unknown_words_are_kept_and_change_nothing() -> None:
    recipe = parse_recipe("scratch 300e, moon phase, undistilled")
    assert recipe.unknown == ("moon", "phase", "undistilled")
    assert recipe.traits() == parse_recipe("scratch 300e").traits()


def test_families_that_publish_without_nms_need_no_word_for_it() -> None:
    assert parse_recipe("scratch 500e", "YOLOv10").nms_free and not parse_recipe("scratch 500e", "YOLOv8").nms_free
    assert not parse_recipe("AP with NMS head", sorted(NMS_FREE_FAMILIES)[0]).nms_free


def test_mean_of_a_range_of_epochs() -> None:
    assert parse_recipe("72e-120e").mean_epochs == 96 and parse_recipe("scratch").mean_epochs is None


@pytest.mark.skipif(not ATLAS.exists(), reason="the atlas is not beside the repository")
def test_every_tag_of_the_atlas_parses_and_agrees_with_its_column() -> None:
    with open(ATLAS / "trainings.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(ATLAS / "accuracy.csv", newline="") as file:
        coco_only = {(row["arch"], row["input_px"]): row["coco_only_map50_95"] for row in csv.DictReader(file)}
    recipes = {row["recipe"]: parse_recipe(row["recipe"]) for row in rows}
    assert len(recipes) > 30
    assert {tag: recipe.unknown for tag, recipe in recipes.items() if recipe.unknown} == {}
    ours: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        plain = ours.setdefault((row["graph"], row["input_px"]), set())
        if recipes[row["recipe"]].coco_only:
            plain.add(row["coco_val_map50_95"])
    for key, figures in ours.items():
        assert coco_only[key] in figures if figures else not coco_only[key], key


def test_every_trait_has_a_meaning() -> None:
    assert all(meaning for _, meaning in TRAITS.values())
