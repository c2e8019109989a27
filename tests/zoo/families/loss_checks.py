"""Checks that the test of every family's loss makes: what moves, what stays finite, what is repeatable, what is
ignored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.detector import Detector, Raw
from zoo.learning.targets import Phase, Targets, total

SIZE = (128, 128)
"""Height and width in pixels of the checks' inputs."""
PHASE = Phase(0.5)


def targets_of(*images: Sequence[Sequence[float]], ignored: Sequence[Sequence[float]] = ()) -> Targets:
    """Targets from rows x1, y1, x2, y2, class; ``ignored`` regions are of every image."""
    rows = [torch.tensor(image, dtype=torch.float32).reshape(-1, 5) for image in images]
    regions = torch.tensor(ignored, dtype=torch.float32).reshape(-1, 4)
    return Targets(
        tuple(one[:, :4] for one in rows), tuple(one[:, 4].long() for one in rows), tuple(regions for _ in rows)
    )


def some_targets() -> Targets:
    """Objects for every level on two images, a crowd of three on the second, and an image without any."""
    first = [[4, 4, 36, 40, 0], [40, 30, 106, 98, 1], [1, 2, 127, 126, 2], [100, 100, 108, 110, 1]]
    second = [[10, 10, 60, 60, 2], [12, 10, 60, 62, 2], [10, 12, 64, 60, 0], [70, 80, 80, 86, 1]]
    return targets_of(first, second, [])


def raw_of(detector: Detector, targets: Targets, seed: int = 0) -> Raw:
    """What the detector gives in training for drawn images."""
    torch.manual_seed(seed)
    image = torch.rand(len(targets), 3, *SIZE)
    return detector.train().training_raw(detector.features(image), targets)


def mapped(raw: Raw, change: Callable[[Tensor], Tensor]) -> Raw:
    """The same with every tensor changed."""

    def of(value: Any) -> Any:
        return change(value) if isinstance(value, Tensor) else [of(one) for one in value]

    return {name: of(value) for name, value in raw.items()}


def losses_of(detector: Detector, raw: Raw, targets: Targets, phase: Phase = PHASE) -> dict[str, Tensor]:
    """The named losses, each of them a scalar in single precision."""
    losses = detector.loss(raw, targets, SIZE, phase)
    assert all(value.shape == () and value.dtype == torch.float32 for value in losses.values())
    return losses


def assert_every_parameter_moves(detector: Detector) -> None:
    """In one optimizer step, by gradients that are finite."""
    targets = some_targets()
    before = {name: value.clone() for name, value in detector.named_parameters() if value.requires_grad}
    optimizer = torch.optim.Adam([value for value in detector.parameters() if value.requires_grad], lr=1e-3)
    total(losses_of(detector, raw_of(detector, targets), targets)).backward()
    grads = {name: value.grad for name, value in detector.named_parameters() if value.requires_grad}
    assert [name for name, grad in grads.items() if grad is None or not grad.isfinite().all()] == []
    optimizer.step()
    still = [name for name, value in detector.named_parameters() if name in before and torch.equal(value, before[name])]
    assert still == []


def assert_learns_background_without_objects(detector: Detector, background: Sequence[str]) -> None:
    """A batch without objects has finite losses, of which only ``background`` are not 0, and finite gradients."""
    targets = targets_of([], [])
    detector.zero_grad()
    losses = losses_of(detector, raw_of(detector, targets), targets)
    assert {name for name, value in losses.items() if float(value.detach()) > 0} == set(background)
    total(losses).backward()
    grads = [value.grad for value in detector.parameters() if value.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)
    assert any(grad.any() for grad in grads)
    detector.zero_grad()


def assert_finite_in_half_precision(detector: Detector) -> None:
    """Losses of float16 outputs are those of the same numbers in float32, and a step under autocast stays finite."""
    targets = some_targets()
    raw = mapped(raw_of(detector, targets), lambda x: x.detach().half())
    half, whole = losses_of(detector, raw, targets), losses_of(detector, mapped(raw, Tensor.float), targets)
    for name, value in half.items():
        torch.testing.assert_close(value, whole[name], rtol=1e-5, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        losses = losses_of(detector, raw_of(detector, targets), targets)
        total(losses).backward()
    assert all(value.isfinite() for value in losses.values())
    assert all(value.grad.isfinite().all() for value in detector.parameters() if value.grad is not None)
    detector.zero_grad()


def assert_repeatable(detector: Detector) -> None:
    """The same seed gives the same losses and gradients to the bit."""
    targets, runs = some_targets(), []
    state = {name: value.clone() for name, value in detector.state_dict().items()}
    for _ in range(2):
        detector.load_state_dict(state)
        detector.zero_grad()
        losses = losses_of(detector, raw_of(detector, targets), targets)
        total(losses).backward()
        runs.append([*losses.values(), *(value.grad for value in detector.parameters() if value.grad is not None)])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    detector.zero_grad()


def assert_counts_images(detector: Detector) -> None:
    """Twice the same images give twice the loss, or the same one, as ``loss_counts_images`` says."""
    targets = some_targets()
    raw = mapped(raw_of(detector, targets), Tensor.detach)
    twice = Targets(targets.boxes * 2, targets.labels * 2, targets.ignored * 2)
    once, doubled = losses_of(detector, raw, targets), losses_of(
        detector, mapped(raw, lambda x: torch.cat([x, x])), twice
    )
    for name, value in once.items():
        torch.testing.assert_close(
            doubled[name], value * (2 if detector.loss_counts_images else 1), rtol=1e-4, atol=1e-5
        )


def gradients_of(detector: Detector, raw: Raw, targets: Targets) -> Raw:
    """The gradient of the whole loss at every raw tensor."""
    raw = mapped(raw, lambda x: x.detach().requires_grad_())
    total(losses_of(detector, raw, targets)).backward()
    return mapped(raw, lambda x: torch.zeros_like(x) if x.grad is None else x.grad)
