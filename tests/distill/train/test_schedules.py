"""Official schedules against the published formulas, written here once more as loops over iterations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from distill.train.recipe import TrainRecipe, load_recipe, official_families, recipe_names
from distill.train.schedules import SCHEDULES, Length, StepSettings, decay_scale, epoch_progress, is_due
from workbench.errors import BadInput

EPOCHS, PER_EPOCH = 40, 50
Row = tuple[float, float, float, int, bool]
"""Rate of weights, rate of biases, momentum, batches accumulated, whether the optimizer steps."""


def official(family: str, model: str = "", **changes: object) -> TrainRecipe:
    return load_recipe("official", {"epochs": EPOCHS, **changes}, family, model)


def ours(recipe: TrainRecipe) -> list[Row]:
    """Every step of the recipe, rates times what the loop multiplies them with for full batches."""
    length, last, rows = Length(EPOCHS * PER_EPOCH, PER_EPOCH), -1, []
    filling = recipe.schedule in ("yolov7", "ultralytics")
    for step in range(length.steps):
        found: StepSettings = SCHEDULES[recipe.schedule](recipe, step, length, recipe.batch)
        factor = 1.0 if filling else recipe.batch / recipe.nominal_batch
        due = not filling or is_due(recipe, step, last, found.accumulate)
        last = step if due else last
        rows.append((found.lr * factor, found.bias_lr * factor, found.momentum, found.accumulate, due))
    return rows


def assert_rows(found: list[Row], wanted: list[Row]) -> None:
    np.testing.assert_allclose(np.array(found, float), np.array(wanted, float), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(("batch", "nominal"), [(16, 64), (24, 64), (128, 64), (64, 64)])
def test_ultralytics_by_its_formulas(batch: int, nominal: int) -> None:
    warm, last, rows = max(round(3.0 * PER_EPOCH), 100), -1, []
    accumulate = max(round(nominal / batch), 1)
    for epoch in range(EPOCHS):
        base = 0.01 * (max(1 - epoch / EPOCHS, 0) * (1.0 - 0.01) + 0.01)
        for i in range(PER_EPOCH):
            ni, rate, bias, momentum = i + PER_EPOCH * epoch, base, base, 0.937
            if ni <= warm:
                ends = [0, warm]
                accumulate = max(1, int(np.interp(ni, ends, [1, nominal / batch]).round()))
                bias, rate = (float(np.interp(ni, ends, [start, base])) for start in (0.1, 0.0))
                momentum = float(np.interp(ni, ends, [0.8, 0.937]))
            due = ni - last >= accumulate
            last = ni if due else last
            rows.append((rate, bias, momentum, accumulate, due))
    recipe = official("yolo11", "yolo11n", batch=batch)
    assert_rows(ours(recipe), rows)
    assert decay_scale(recipe, batch) == pytest.approx(batch * max(round(64 / batch), 1) / 64)


@pytest.mark.parametrize(("model", "low"), [("yolov7", 0.1), ("yolov7-tiny", 0.01)])
def test_yolov7_by_its_formulas(model: str, low: float) -> None:
    batch, warm, accumulate, rows = 32, max(round(3.0 * PER_EPOCH), 1000), 2, []
    for epoch in range(EPOCHS):
        base = 0.01 * (((1 - math.cos(epoch * math.pi / EPOCHS)) / 2) * (low - 1) + 1)
        for i in range(PER_EPOCH):
            ni, rate, bias, momentum = i + PER_EPOCH * epoch, base, base, 0.937
            if ni <= warm:
                ends = [0, warm]
                accumulate = max(1, int(np.interp(ni, ends, [1, 64 / batch]).round()))
                bias, rate = (float(np.interp(ni, ends, [start, base])) for start in (0.1, 0.0))
                momentum = float(np.interp(ni, ends, [0.8, 0.937]))
            rows.append((rate, bias, momentum, accumulate, ni % accumulate == 0))
    assert_rows(ours(official("yolov7", model)), rows)


@pytest.mark.parametrize(("family", "batch", "closing"), [("yolox", 64, 15), ("damo-yolo", 256, 16)])
def test_square_warm_up_and_cosine(family: str, batch: int, closing: int) -> None:
    peak = 0.01 / 64 * batch
    steps, warm, flat = EPOCHS * PER_EPOCH, 5 * PER_EPOCH, closing * PER_EPOCH
    rows = []
    for i in range(steps):
        if i < warm:
            rate = peak * (i / warm) ** 2
        elif i >= steps - flat:
            rate = 0.05 * peak
        else:
            share = (1 + math.cos(math.pi * (i - warm) / (steps - warm - flat))) / 2
            rate = 0.05 * peak + (peak - 0.05 * peak) * share
        rows.append((rate, rate, 0.9, 1, True))
    assert_rows(ours(official(family)), rows)


def test_rtdetrv2_warms_up_for_2000_steps_and_stays() -> None:
    rows = [(1e-4 * min(1, (i + 1) / 2000), 1e-4 * min(1, (i + 1) / 2000), 0.9, 1, True) for i in range(2000)]
    assert_rows(ours(official("rtdetrv2", "rtdetrv2-l")), rows)


def test_sizes_have_their_own_values() -> None:
    by_model = {model: load_recipe("official", None, "rtdetrv2", f"rtdetrv2-{model}") for model in "smlx"}
    assert [by_model[m].epochs for m in "smlx"] == [120, 84, 72, 72]
    assert [by_model[m].closing_epochs for m in "smlx"] == [3, 3, 1, 1]
    assert [by_model[m].backbone_lr for m in "mlx"] == [0.1, 0.1, 0.01]
    assert by_model["s"].parameter_groups == "detr-norms" and by_model["s"].preset().sizes is None
    nano = load_recipe("official", None, "yolox", "yolox-nano").preset()
    assert "mixup" not in nano.augmentations and nano.sides_px(416) == tuple(range(320, 641, 32))
    assert load_recipe("official", None, "damo-yolo", "damo-yolo-m").preset().name == "damo-s"
    assert [load_recipe("official", None, "damo-yolo", f"damo-yolo-{m}").lr for m in ("t", "nm")] == [0.01, 0.001]
    assert load_recipe("official", None, "damo-yolo", "searched").preset().name == "damo"


def test_every_family_has_an_official_recipe_that_opens_with_its_command() -> None:
    from importlib import resources

    assert official_families() == sorted(set(recipe_names()) - {"small"})
    for family in official_families():
        text = resources.files("distill.train.recipes").joinpath("official", f"{family}.yaml").read_text()
        lines = text.splitlines()
        assert lines[0].startswith("# nas train ") and lines[1].startswith("# Expected")
        recipe = load_recipe("official", None, family)
        assert recipe.name == f"official/{family}" and recipe.source
        assert TrainRecipe(**recipe.to_dict()) == recipe
    with pytest.raises(BadInput, match="official"):
        load_recipe("official")
    with pytest.raises(BadInput, match="yolov9"):
        load_recipe("official/yolov9/yolov9-c")
    nano = load_recipe("official", {"epochs": 4}, "yolox", "yolox-nano")
    assert load_recipe(nano.name, {"epochs": 4}) == nano and nano.name == "official/yolox/yolox-nano"


def test_the_command_takes_the_official_recipe_of_its_model() -> None:
    from distill.prepare import choose_recipe
    from distill.request import TrainRequest

    request = TrainRequest("rtdetrv2-x", "data", recipe="official", changes=("closing_epochs=2",), batch=8)
    recipe = choose_recipe(request, "rtdetrv2", 20_000, "rtdetrv2-x")
    assert (recipe.backbone_lr, recipe.closing_epochs, recipe.batch) == (0.01, 2, 8)


def test_loss_weights_move_by_epoch_in_ultralytics_recipes_alone() -> None:
    length = Length(EPOCHS * PER_EPOCH, PER_EPOCH)
    recipe = official("yolo26", "yolo26n")
    found = [epoch_progress(recipe, step, length) for step in range(length.steps)]
    assert found == [step // PER_EPOCH / (EPOCHS - 1) for step in range(length.steps)]
    assert epoch_progress(load_recipe("small"), 7, length) is None


def test_recipes_of_our_own_write_what_they_wrote_before() -> None:
    written = load_recipe("small").to_dict()
    assert not {"schedule", "warmup_steps", "warmup_momentum", "parameter_groups", "ema_start"} & written.keys()


def test_filled_batches_are_not_accumulated_twice() -> None:
    with pytest.raises(BadInput, match=r"accumulate 2.*nominal_batch"):
        official("yolo11", accumulate=2)
