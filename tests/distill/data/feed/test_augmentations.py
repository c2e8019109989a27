"""Augmentation: boxes follow pixels through every transform and preset; presets close as they say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("PIL")

from distill.data.dataset import DataSet
from distill.data.feed.augmentation import Augmentation, RandomAugmentation, Stage
from distill.data.feed.augmentations import AUGMENTATIONS
from distill.data.feed.augmentations.affine import Affine
from distill.data.feed.augmentations.color import ColorJitter
from distill.data.feed.augmentations.crop import Crop, crop_region
from distill.data.feed.augmentations.distort import distorted
from distill.data.feed.augmentations.flip import Flip, flipped
from distill.data.feed.augmentations.mosaic import Mosaic, four, nine
from distill.data.feed.batch_order import BatchPlan
from distill.data.feed.cache import Pictures
from distill.data.feed.loader import Loader, ReadOptions
from distill.data.feed.presets import PRESETS, Preset, find_preset
from distill.data.feed.sample import Sample
from distill.data.feed.sampler import Sampler
from distill.data.feed.scene import BoxFilter, Scene, clip, scale_shift, transform_boxes, warp
from tests.distill.data.painted import LIT, dark_inside, lit_outside, painted, random_boxes, write_set
from workbench.errors import BadInput
from zoo.images import Preprocess, prepare, read_image

SIDE_PX = 96
EVERYTHING = BoxFilter(0.0, 0.0)
BLACK_LETTERBOX = Preprocess(resize="letterbox-center", pad=0)
seeds = st.integers(0, 10**6)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pictures]:
    """Painted pictures of several shapes, some with a crowd, one empty, for each way to resize."""
    draw = np.random.default_rng(5)
    scenes = []
    for number, (w, h) in enumerate(
        [(96, 96), (120, 80), (64, 150), (200, 140), (90, 96), (300, 200), (48, 40), (96, 60)]
    ):
        boxes = random_boxes(draw, w, h) if number != 4 else []
        scenes.append(painted(boxes, w, h, [number % 3 == 0]))
    data = write_set(tmp_path_factory.mktemp("painted"), scenes)
    ways = ("letterbox-center", "letterbox-corner", "stretch")
    return {way: Pictures(data, SIDE_PX, Preprocess(resize=way, pad=0), cache_bytes=0) for way in ways}


def follows(scene: Scene, margin_px: float = 1.0) -> None:
    """Every bright pixel is in a box, and every box is full of bright pixels."""
    assert lit_outside(scene.image, scene.boxes, margin_px) == 0
    assert dark_inside(scene.image, scene.boxes, margin_px) == 0


@given(seeds)
def test_scaled_and_moved_boxes_are_where_their_pixels_are(seed: int) -> None:
    draw = np.random.default_rng(seed)
    scene = painted(random_boxes(draw, 100, 80), 100, 80)
    matrix = scale_shift(draw.uniform(0.4, 2.5), draw.uniform(0.4, 2.5), draw.uniform(-40, 40), draw.uniform(-40, 40))
    follows(warp(scene, matrix, 90, 110, 0))


@given(seeds)
def test_turned_and_sheared_boxes_hold_their_pixels_tightly(seed: int) -> None:
    draw = np.random.default_rng(seed)
    x, y = draw.integers(60, 80, 2).tolist()
    scene = painted([(x, y, x + int(draw.integers(20, 60)), y + int(draw.integers(20, 60)))], 200, 200)
    matrix = Affine(45, (0.6, 1.3), 15, 0.05).matrix(200, 200, draw)
    out = warp(scene, matrix, 400, 400, 0)
    assert lit_outside(out.image, out.boxes, 1) == 0
    rows, columns = np.nonzero(out.image.max(2) >= LIT)
    seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    if out.visible[0] == 1:
        # an acute corner of the box's object covers little of its last pixels
        assert np.abs(seen - out.boxes[0]).max() <= 2.5


@given(seeds)
def test_flipped_boxes_are_exact(seed: int) -> None:
    scene = painted(random_boxes(np.random.default_rng(seed), 101, 64), 101, 64)
    follows(flipped(scene), 0)
    twice = flipped(flipped(scene))
    assert (twice.image == scene.image).all() and (twice.boxes == scene.boxes).all()


@pytest.mark.parametrize(("count", "lay"), [(4, four), (9, nine)])
@given(seeds)
def test_mosaic_boxes_are_exact(count: int, lay: object, seed: int) -> None:
    draw = np.random.default_rng(seed)
    scenes = []
    for _ in range(count):
        w, h = draw.integers(40, SIDE_PX + 1, 2).tolist()
        scenes.append(painted(random_boxes(draw, w, h), w, h))
    canvas = np.zeros((2 * SIDE_PX, 2 * SIDE_PX, 3), np.uint8)
    out = lay(scenes, SIDE_PX, canvas, draw)  # type: ignore[operator]
    assert len(out.labels) == sum(len(s.labels) for s in scenes)
    follows(EVERYTHING.apply(out), 0)


@pytest.mark.parametrize("way", ["letterbox-center", "letterbox-corner", "stretch"])
@pytest.mark.parametrize("side_px", [SIDE_PX, 64, 128])
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_boxes_follow_pixels_through_every_preset(
    pictures: dict[str, Pictures], name: str, side_px: int, way: str
) -> None:
    """Colors stay, since brightness is how the object is found again; only empty boxes are dropped."""
    preset = replace(PRESETS[name].without("color", "distort", "crop"), box_filter=EVERYTHING)
    mosaic, affine = preset.augmentations.get("mosaic"), preset.augmentations.get("affine")
    affines = [affine] if isinstance(affine, Affine) else []
    if isinstance(mosaic, Mosaic):
        preset = replace(preset, augmentations={**preset.augmentations, "mosaic": replace(mosaic, nine=0.3)})
        affines.append(mosaic.affine)
    straight = all(affine.degrees == 0 and affine.shear_degrees == 0 for affine in affines)
    sampler = Sampler(pictures[way])
    found = 0
    for form in (preset, preset.closing()):
        for seed in range(16):
            out = sampler.sample(seed % len(pictures[way]), form, side_px, np.random.default_rng(seed))
            assert out.image.shape == (side_px, side_px, 3) and out.image.dtype == np.uint8
            assert (
                (out.boxes >= 0).all() and (out.boxes <= side_px).all() and (out.boxes[:, 2:] > out.boxes[:, :2]).all()
            )
            assert lit_outside(out.image, out.boxes, 1) == 0
            # boxes about turned objects have dark corners
            if straight or form is not preset:
                # a mix halves what is bright, and a pixel on the rim of a shrunk object is halved again
                assert dark_inside(out.image, out.boxes, 1.5) == 0
            found += len(out.labels)
    assert found > 10


@pytest.mark.parametrize("way", ["letterbox-center", "stretch"])
def test_cropped_objects_are_those_with_their_centre_inside(pictures: dict[str, Pictures], way: str) -> None:
    preset = Preset("crop", "", {"crop": Crop(1.0)}, box_filter=EVERYTHING)
    sampler = Sampler(pictures[way])
    fewer = 0
    for seed in range(80):
        index = seed % len(pictures[way])
        out = sampler.sample(index, preset, SIDE_PX, np.random.default_rng(seed))
        assert dark_inside(out.image, out.boxes, 1.5) == 0
        fewer += len(out.labels) < len(pictures[way].scene(index).labels)
    assert fewer > 5


@given(seeds)
def test_crop_regions_obey_their_rules(seed: int) -> None:
    draw = np.random.default_rng(seed)
    boxes = np.array(random_boxes(draw, 120, 90, least_px=8), np.float32)
    squeeze = draw.uniform(0.5, 2)
    region = crop_region(boxes, 120, 90, squeeze, draw)
    if region is None:
        return
    x1, y1, x2, y2 = region
    assert 0 <= x1 < x2 <= 120 and 0 <= y1 < y2 <= 90
    assert 0.5 <= (x2 - x1) / squeeze / (y2 - y1) <= 2 and x2 - x1 >= 36 and y2 - y1 >= 27
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert ((centres > (x1, y1)) & (centres < (x2, y2))).all(1).any()


def test_no_crop_without_objects() -> None:
    assert all(
        crop_region(np.zeros((0, 4), np.float32), 50, 50, 1.0, np.random.default_rng(s)) is None for s in range(20)
    )


def test_what_is_dropped() -> None:
    boxes = np.array(
        [[0, 0, 20, 20], [0, 0, 1.5, 20], [0, 0, 4, 90], [0, 0, 20, 20], [0, 0, 0.5, 9], [5, 5, 5, 9]], np.float32
    )
    share = np.array([1, 1, 1, 0.09, 0.01, 1], np.float32)
    crowd = np.array([False, False, False, False, True, True])
    scene = Scene(np.zeros((96, 96, 3), np.uint8), boxes, np.arange(6), crowd, share)
    assert BoxFilter(0.1, 2, 20).apply(scene).labels.tolist() == [0, 4], (
        "too narrow, too long, too little left; crowds stay while anything is left"
    )
    assert BoxFilter(0.0, 1).apply(scene).labels.tolist() == [0, 1, 2, 3, 4]
    assert EVERYTHING.apply(scene).labels.tolist() == [0, 1, 2, 3, 4], "a box without area is none"


def test_visible_is_what_is_left_of_the_whole_object() -> None:
    scene = clip(clip(painted([(10, 10, 50, 50)], 96, 96), 0, 0, 30, 96), 0, 20, 96, 96)
    assert scene.boxes.tolist() == [[10, 20, 30, 50]] and scene.visible[0] == pytest.approx(0.5 * 0.75)


def test_an_affine_map_about_the_centre_keeps_the_centre() -> None:
    draw = np.random.default_rng(0)
    for about, place in (("center", (96.0, 48.0)), ("corner", (0.0, 0.0))):
        for _ in range(20):
            matrix = Affine(30, (0.1, 2), 10, 0, about).matrix(192, 96, draw)  # type: ignore[arg-type]
            assert np.allclose(matrix @ [place[0], place[0], 1], [place[1], place[1]])


def test_colours_change_as_they_are_told() -> None:
    grey = np.full((8, 8, 3), 100, np.uint8)
    ramp = np.dstack([np.arange(64).reshape(8, 8), np.full((8, 8), 90), np.full((8, 8), 200)]).astype(np.uint8)
    values = {
        int(ColorJitter("gain", 0.5, 0.5, 0.4).jitter(grey, np.random.default_rng(s))[0, 0, 0]) for s in range(200)
    }
    assert min(values) >= 60 and max(values) <= 140 and len(values) > 40, (
        "value times 0.6 to 1.4; grey has no hue to turn"
    )
    values = {int(ColorJitter("shift", 5, 0, 30).jitter(grey, np.random.default_rng(s))[0, 0, 0]) for s in range(200)}
    assert min(values) >= 70 and max(values) <= 130 and 100 in values
    assert np.abs(ColorJitter("shift", 0, 0, 0).jitter(ramp, np.random.default_rng(0)).astype(int) - ramp).max() <= 6, (
        "8 bits hold hues in steps of two degrees"
    )
    before = ramp.copy()
    for seed in range(50):
        assert distorted(ramp, np.random.default_rng(seed)).shape == ramp.shape
    assert (ramp == before).all(), "a picture may be the cache's own"


def test_closing_forms_have_nothing_strong() -> None:
    strong = {"mosaic", "mixup", "distort", "zoom_out", "crop"}
    for preset in PRESETS.values():
        closing = preset.closing()
        assert not strong & closing.augmentations.keys()
        assert closing.box_filter == preset.box_filter
        assert all(closing.augmentations.get(name) == preset.augmentations.get(name) for name in ("flip", "color"))
        assert closing.closing() == closing
    assert PRESETS["yolox"].closing().sizes == PRESETS["yolox"].sizes and PRESETS["detr"].closing().sizes is None


def test_input_sizes() -> None:
    assert PRESETS["yolox"].sides_px(640) == tuple(range(480, 801, 32))
    assert PRESETS["detr"].sides_px(640) == (480, 512, 544, 576, 608, 640, 640, 640, 672, 704, 736, 768, 800), (
        "RT-DETRv2's own list"
    )
    assert PRESETS["damo"].sides_px(416) == (416,)
    assert PRESETS["damo"].with_sizes(0.2).sides_px(320) == (256, 288, 320, 352, 384)
    assert PRESETS["yolox"].with_sizes(0).sides_px(320) == (320,)
    with pytest.raises(BadInput, match="less than 1"):
        PRESETS["yolox"].with_sizes(1.0)


def test_upright_is_light_without_the_flip() -> None:
    light, upright = PRESETS["light"], PRESETS["upright"]
    assert "flip" not in upright.augmentations and upright.name == "upright"
    assert replace(light.without("flip"), name=upright.name, about=upright.about) == upright
    assert "flip" in light.augmentations


def test_presets_by_name() -> None:
    assert find_preset("light") is PRESETS["light"] and find_preset(PRESETS["damo"]) is PRESETS["damo"]
    with pytest.raises(BadInput, match="yolox"):
        find_preset("yolxo")
    with pytest.raises(BadInput, match=r"Flip probability 1\.5: must be from 0 to 1"):
        Flip(1.5)
    with pytest.raises(BadInput, match="Affine scale"):
        Affine(scale=(2.0, 0.5))
    with pytest.raises(BadInput, match="mosaic"):
        Preset("mine", "", {"mosiac": Mosaic(1.0)})
    with pytest.raises(BadInput, match="'flip' is a Mosaic, not Flip"):
        Preset("mine", "", {"flip": Mosaic(1.0)})


@dataclass(frozen=True)
class Invert(RandomAugmentation):
    """A toy augmentation: what a new file in ``augmentations`` holds."""

    stage: ClassVar[Stage] = Stage.SAMPLE

    def apply(self, sample: Sample, rng: np.random.Generator) -> None:
        sample.scene = sample.scene.with_image(255 - sample.scene.image)


def first_batch(data: DataSet, preset: Preset | str) -> np.ndarray:
    with Loader(data, Preprocess(scale=1.0), preset, SIDE_PX, BatchPlan(4, 0), ReadOptions(workers=0)) as loader:
        return next(iter(loader.epoch(0))).image.numpy()


def test_a_new_augmentation_is_one_class_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_set(tmp_path, [painted([(10, 10, 50, 50)], 96, 96)] * 4)
    before = {name: first_batch(data, name) for name in PRESETS}
    monkeypatch.setitem(AUGMENTATIONS, "invert", Invert)
    monkeypatch.setitem(PRESETS, "inverted", Preset("inverted", "", {"invert": Invert(1.0)}))
    assert np.array_equal(first_batch(data, "inverted"), 255 - before["none"])
    assert all(np.array_equal(first_batch(data, name), image) for name, image in before.items())


@pytest.mark.parametrize("stage", list(Stage))
def test_every_stage_takes_a_new_augmentation(
    pictures: dict[str, Pictures], stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Toy(Augmentation):
        def apply(self, sample: Sample, rng: np.random.Generator) -> None:
            sample.scene = sample.scene.with_image(np.full_like(sample.scene.image, 7))
            if stage is Stage.COMPOSE:
                sample.scene = sample.warp_native(sample.scene, scale_shift(1, 1))

    Toy.stage = stage
    monkeypatch.setitem(AUGMENTATIONS, "toy", Toy)
    sampler = Sampler(pictures["stretch"])
    out = sampler.sample(0, Preset("toy", "", {"toy": Toy()}), SIDE_PX, np.random.default_rng(0))
    assert out.image.shape == (SIDE_PX, SIDE_PX, 3) and (out.image == 7).all()


@pytest.mark.parametrize("way", ["letterbox-center", "letterbox-corner", "stretch"])
def test_none_is_the_picture_as_evaluation_sees_it(pictures: dict[str, Pictures], way: str) -> None:
    shelf = pictures[way]
    how = Preprocess(scale=1.0, resize=way, pad=0)  # type: ignore[arg-type]
    for index in range(len(shelf)):
        out = Sampler(shelf).sample(index, PRESETS["none"], SIDE_PX, np.random.default_rng(index))
        image, (place,) = prepare([read_image(shelf.file(index))], SIDE_PX, how)
        assert np.abs(out.image.astype(float) - image[0].permute(1, 2, 0).numpy()).max() <= 1
        (h, w) = shelf.original(index).shape[:2]
        assert (place.width, place.height) == (w, h)
        follows(out)


def test_a_set_without_objects_goes_through_mixup(tmp_path: Path) -> None:
    data = write_set(tmp_path, [painted([], 40, 40) for _ in range(4)])
    sampler = Sampler(Pictures(data, 64, BLACK_LETTERBOX, cache_bytes=0))
    assert all(not len(sampler.sample(s % 4, PRESETS["yolox"], 64, np.random.default_rng(s)).labels) for s in range(8))


@settings(max_examples=20)
@given(seeds)
def test_transformed_is_the_upright_box_about_the_corners(seed: int) -> None:
    draw = np.random.default_rng(seed)
    box = np.sort(draw.uniform(0, 50, (2, 2)), axis=0)
    matrix = draw.normal(size=(2, 3))
    corners = np.array([[x, y, 1] for x in box[:, 0] for y in box[:, 1]]) @ matrix.T
    assert np.allclose(transform_boxes(box.reshape(1, 4), matrix)[0], [*corners.min(0), *corners.max(0)], atol=1e-3)
