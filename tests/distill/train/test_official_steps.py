"""Official recipes in the loop: groups of parameters, batches added up, momentum, decay and average, step by step."""

from __future__ import annotations

import copy
import io
import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from distill.train.ema import ModelEma
from distill.train.loop import Loop
from distill.train.optimizer import parameter_groups
from distill.train.recipe import load_recipe
from distill.train.task import SupervisedTask
from tests.distill.tiny import batches, tiny_detector
from zoo.detector import Detector, Recipe
from zoo.factory import build_recipe
from zoo.learning.targets import Phase, total

STEPS = 9
CHANGES: dict[str, Any] = {
    "batch": 4, "nominal_batch": 12, "loss_scale": 12, "epochs": 3, "closing_epochs": 0, "warmup_epochs": 0,
    "warmup_steps": 4, "lr": 2e-3, "clip_norm": 0.5, "bn_calibration_images": 0,
    "channels_last": True,
}  # fmt: skip


def loop_for(family: str = "yolo11") -> Loop:
    recipe = load_recipe("official", CHANGES, family)
    return Loop(SupervisedTask(tiny_detector()), recipe, STEPS, STEPS // 3)


def weights(loop: Loop) -> dict[str, torch.Tensor]:
    return {**loop.task.state_dict(), **{f"average.{k}": v for k, v in loop.average.detector.state_dict().items()}}


def by_hand(fed: list[Any]) -> tuple[Detector, list[int], list[torch.Tensor]]:
    """Weights after training as ultralytics trains, at which batches the optimizer stepped, and the average."""
    layout = torch.channels_last  # as the loop, whose rounding depends on it
    detector: Detector = tiny_detector().train().to(memory_format=layout)  # type: ignore[call-overload]
    norms = {id(p) for m in detector.modules() if isinstance(m, torch.nn.BatchNorm2d) for p in m.parameters(False)}
    named = dict(detector.named_parameters())
    kinds = {
        name: "bias" if name.endswith("bias") else "norm" if id(p) in norms or name.endswith("scale") else "weight"
        for name, p in named.items()
    }
    velocity = {name: torch.zeros_like(p) for name, p in named.items()}
    average = {name: value.clone() for name, value in detector.state_dict().items()}
    last, updates, stepped, rising = -1, 0, [], {0: 1, 1: 2, 2: 2, 3: 2, 4: 3}
    for ni, batch in enumerate(fed):
        epoch = ni // 3
        base = 2e-3 * ((1 - epoch / 3) * 0.99 + 0.01)
        warm = min(ni / 4, 1.0)
        rates = {"weight": base * warm, "norm": base * warm, "bias": 0.1 + (base - 0.1) * warm}
        momentum = 0.8 + (0.937 - 0.8) * warm
        torch.manual_seed(0)
        raw = detector(batch.image.to(memory_format=layout))
        losses = detector.loss(raw, batch.targets, tuple(batch.image.shape[2:]), Phase())
        (total(losses) * len(batch.targets)).backward()
        if ni - last < rising.get(ni, 3):
            continue
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 0.5)
        with torch.no_grad():
            for name, p in named.items():
                grad = p.grad + (5e-4 * p if kinds[name] == "weight" else 0.0)  # 4 * 3 / 12 of the decay
                velocity[name] = grad.clone() if not updates else momentum * velocity[name] + grad
                p -= rates[kinds[name]] * (grad + momentum * velocity[name])
                p.grad = None
            updates, last = updates + 1, ni
            share = 0.9999 * (1 - math.exp(-updates / 2000))
            for name, value in detector.state_dict().items():
                if value.is_floating_point():
                    average[name] = share * average[name] + (1 - share) * value
        stepped.append(ni)
    return detector, stepped, [average[name] for name in named]


def test_steps_of_ultralytics_by_hand() -> None:
    fed, loop = batches(STEPS), loop_for()
    reports = [loop.advance([batch]) for batch in fed]
    expected, stepped, average = by_hand(fed)
    assert [at for at, report in enumerate(reports) if not math.isnan(report.grad_norm)] == stepped
    assert stepped == [0, 2, 4 + 1, 8]
    found = loop.task.detector
    for name, value in expected.named_parameters():
        torch.testing.assert_close(found.get_parameter(name), value, rtol=2e-4, atol=2e-6, msg=name)
    for (name, _), value in zip(expected.named_parameters(), average, strict=True):
        torch.testing.assert_close(loop.average.detector.get_parameter(name), value, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("at", [4])
def test_resuming_between_two_steps_of_the_optimizer_gives_the_same_bits(at: int) -> None:
    fed, whole, part = batches(STEPS), loop_for("yolov7"), loop_for("yolov7")
    for batch in fed:
        whole.advance([batch])
    for batch in fed[:at]:
        part.advance([batch])
    file = io.BytesIO()
    torch.save(part.state(), file)
    file.seek(0)
    again = loop_for("yolov7")
    again.restore(torch.load(file, weights_only=True))
    again.rehearse(fed[0])
    for batch in fed[at:]:
        again.advance([batch])
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(whole).items())


def groups_of(model: str, family: str) -> dict[str, tuple[float, float, bool]]:
    """Parameter to its decay, its share of the rate and whether it is a bias."""
    with torch.device("meta"):
        task = SupervisedTask(build_recipe(Recipe(model)))
    names = {id(p): name for name, p in task.named_parameters()}
    found = {}
    for group in parameter_groups(task, load_recipe("official", None, family, model)):
        for parameter in group["params"]:
            found[names[id(parameter)]] = (group["weight_decay"], group["share"], group["bias"])
    return found


def test_groups_of_yolo_families() -> None:
    for model, family in (("yolox-nano", "yolox"), ("yolo11n", "yolo11"), ("yolov7-tiny", "yolov7")):
        found = groups_of(model, family)
        for name, (decay, share, bias) in found.items():
            norm = ".bn." in name
            implicit = name.endswith((".shift", ".scale"))
            plain = name.endswith("weight") and not norm and not implicit
            assert (decay, share, bias) == (5e-4 if plain else 0.0, 1.0, name.endswith("bias")), name
        assert "detector.head.distance.conv.weight" not in found


def test_groups_of_damo_yolo_leave_the_scales_out() -> None:
    found = groups_of("damo-yolo-t", "damo-yolo")
    assert found and not any("scales" in name for name in found)


def test_groups_of_rtdetrv2() -> None:
    large, small = groups_of("rtdetrv2-l", "rtdetrv2"), groups_of("rtdetrv2-s", "rtdetrv2")
    assert not any("backbone.stem" in name for name in large) and any("backbone.stem" in name for name in small)
    for name, (decay, share, _) in large.items():
        norm = ".bn." in name or ".norm" in name or "_norm." in name
        assert (decay, share) == (0.0 if norm else 1e-4, 0.1 if ".backbone." in name else 1.0), name
    for name, (decay, share, _) in small.items():
        norm = ".bn." in name or ".norm" in name or "_norm." in name or ".identity." in name
        assert (decay, share) == (0.0 if norm else 1e-4, 1.0), name


def test_damo_yolos_first_average_is_the_model() -> None:
    detector = tiny_detector()
    average = ModelEma(detector, 0.9998, 2000, start=-1)
    with torch.no_grad():
        for value in detector.parameters():
            value.add_(1.0)
    average.update(detector)
    found = average.detector.state_dict()
    assert all(torch.equal(found[name], value) for name, value in detector.state_dict().items())
    later = copy.deepcopy(found)
    with torch.no_grad():
        for value in detector.parameters():
            value.add_(1.0)
    average.update(detector)
    name = next(name for name, _ in detector.named_parameters())
    share = 0.9998 * (1 - math.exp(-1 / 2000))
    wanted = later[name] * share + detector.state_dict()[name] * (1 - share)
    torch.testing.assert_close(average.detector.state_dict()[name], wanted)
