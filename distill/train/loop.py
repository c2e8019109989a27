"""The training loop: steps, and nothing else. Data, evaluation, files and pictures belong to ``distill.train.run``.

All randomness of a step comes from (seed, step), and the learning rate from the step alone, so the whole state is
weights, optimizer, average and a few numbers: what ``state`` gives is enough to go on to the same last bit. Processes
that share every batch (``distill.train.parallel``) have the same state after every step.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from distill.data.feed.views import Origin
from distill.train.ema import ModelEma
from distill.train.optimizer import BATCH_NORMS, build_optimizer, lr_factor, set_lr
from distill.train.overflow import batch_statistics_kept, first_overflow, hold_in_float32
from distill.train.parallel.group import group
from distill.train.parallel.sync_bn import convert_sync_bn
from distill.train.recipe import TrainRecipe
from distill.train.task import Task
from workbench.errors import BadInput
from zoo.learning.targets import Phase, Targets, total

SNAPSHOT_STEPS = 50
"""A copy of the state is kept in memory so often: where an overflow rolls back to."""
MOST_ROLLBACKS = 10
SEED_STRIDE = 1_000_003
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Batch(Protocol):
    """What the loader gives."""

    @property
    def image(self) -> Tensor:
        """float32 ``[b, 3, h, w]`` as the family's ``Preprocess`` says."""

    @property
    def targets(self) -> Targets:
        """The true boxes of those images."""

    @property
    def origin(self) -> Origin | None:
        """Which views of which pictures these are, where the same ones come round again."""


@dataclass(frozen=True, slots=True)
class Report:
    """What one step did. ``losses`` are named means over images; ``rolled_back`` tells of an overflow instead."""

    losses: dict[str, float]
    rate: float
    norm: float
    """Norm of all gradients together before clipping."""
    rolled_back: str = ""


@dataclass
class Trouble:
    """Overflows so far, part of the state: a resumed run behaves as the first one did."""

    held: list[str] = field(default_factory=list)
    """Layers that calculate in float32."""
    rate_factor: float = 1.0
    rollbacks: int = 0


class Loop:
    """Trains ``task`` for ``steps`` steps, each on the images of all accumulated batches together."""

    def __init__(
        self, task: Task, recipe: TrainRecipe, steps: int, steps_per_epoch: int, *, seed: int = 0, device: str = "cpu", precision: str = "fp32"
    ) -> None:
        self.task, self.recipe, self.seed, self.device, self.precision = task.to(device), recipe, seed, torch.device(device), precision
        group().align(task)
        self.steps, self.steps_per_epoch = steps, steps_per_epoch
        self.optimizer = build_optimizer(task, recipe)
        self.average = ModelEma(task.detector, recipe.ema_decay, recipe.ema_updates)
        task.follow(self.average)
        if group().world > 1:
            convert_sync_bn(task)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        self.trouble = Trouble()
        self.step = 0
        self._snapshot: dict[str, Any] | None = None
        if self.device.type == "cuda":
            task.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def phase(self) -> Phase:
        """Where training stands before the next step."""
        closing_from = self.steps - self.recipe.closing_epochs * self.steps_per_epoch
        return Phase(self.step / max(1, self.steps), self.step >= closing_from)

    @property
    def bn_frozen_from(self) -> int:
        """The step from which on norms keep their statistics; ``steps`` where they never do."""
        return math.ceil(self.recipe.freeze_bn_from * self.steps - 1e-9)

    @property
    def bn_frozen(self) -> bool:
        """Whether the next step trains with fixed statistics."""
        return self.step >= self.bn_frozen_from

    def advance(self, batches: Sequence[Batch]) -> Report:
        """One step on the accumulated ``batches``, or this process's part of each. After an overflow the state is that of an earlier step."""
        if self._snapshot is None or self.step % SNAPSHOT_STEPS == 0:
            self._snapshot = copy.deepcopy(self.state())
        self.task.train()
        if self.bn_frozen or self.recipe.freeze_backbone_bn:
            for module in (self.task.detector if self.bn_frozen else self.task.detector.backbone).modules():
                if isinstance(module, BATCH_NORMS):
                    module.eval()
        together = group()
        images = sum(len(batch.targets) for batch in batches) * together.world
        rate = self.recipe.lr * images / self.recipe.nominal_batch * self.trouble.rate_factor
        rate *= lr_factor(self.step, self.steps, round(self.recipe.warmup_epochs * self.steps_per_epoch), self.recipe.final_lr)
        set_lr(self.optimizer, rate)
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        for number, batch in enumerate(batches):
            self._seed(number)
            image, targets = self._placed(batch)
            with self._autocast():
                losses = self.task.losses(image, targets, self.phase, batch.origin)
            share = len(targets) * together.world / images
            whole = total(losses)
            *values, everything = together.sums([*losses.values(), whole])
            for name, value in zip(losses, values, strict=True):
                sums[name] = sums.get(name, 0.0) + value * share
            if not math.isfinite(everything):
                return self._roll_back(batch, rate)
            self.scaler.scale(whole * (share * self.recipe.loss_scale)).backward()
        together.add_gradients(self.task.parameters())
        self.scaler.unscale_(self.optimizer)
        norm = float(torch.nn.utils.clip_grad_norm_(self.task.parameters(), self.recipe.clip_norm or math.inf))
        # Scaled gradients of fp16 overflow by design now and then: the scaler skips that step and scales less.
        if not math.isfinite(norm) and not (self.scaler.is_enabled() and self.scaler.get_scale() > 1):
            return self._roll_back(batches[-1], rate)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update(self.task.detector, self.bn_frozen)
        self.step += 1
        return Report(sums, rate, norm)

    def rehearse(self, batch: Batch) -> float:
        """Seconds that a step's calculations on ``batch`` take. Nothing is learnt from it: afterwards all is as before."""
        kept = copy.deepcopy(self.task.state_dict())
        self.task.train()
        began = self._clock()
        self._seed(0)
        image, targets = self._placed(batch)
        with self._autocast():
            losses = self.task.losses(image, targets, self.phase, batch.origin)
        (total(losses) * self.recipe.loss_scale).backward()
        passed = self._clock() - began
        self.optimizer.zero_grad(set_to_none=True)
        self.task.load_state_dict(kept)
        return passed

    def timed(self, do: Callable[[], object]) -> float:
        """Seconds that ``do`` takes on this device."""
        began = self._clock()
        do()
        return self._clock() - began

    def _clock(self) -> float:
        """Seconds, when the device has done all that it was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _seed(self, number: int) -> None:
        """The random numbers of the ``number``-th accumulated batch of this step."""
        torch.manual_seed(((self.seed * SEED_STRIDE + self.step) * self.recipe.accumulate + number) % 2**63)

    def _placed(self, batch: Batch) -> tuple[Tensor, Targets]:
        layout = torch.channels_last if self.device.type == "cuda" else torch.preserve_format
        return batch.image.to(self.device, non_blocking=True, memory_format=layout), batch.targets.to(self.device)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, DTYPES[self.precision])

    def _roll_back(self, batch: Batch, rate: float) -> Report:
        """Name the layer that overflowed, return to the last good state, and go on more carefully."""
        image, targets = self._placed(batch)

        def again() -> None:
            self._seed(0)
            with self._autocast():
                self.task.losses(image, targets, self.phase, batch.origin)

        with batch_statistics_kept(self.task):
            found = group().everyone(first_overflow(self.task, again))
        layer = next((name for name, _ in self.task.named_modules() if name in found), None)
        at = self.step
        trouble = copy.deepcopy(self.trouble)
        trouble.rollbacks += 1
        where = f"layer {layer}" if layer else "the loss or a gradient"
        if trouble.rollbacks > MOST_ROLLBACKS:
            raise BadInput(f"step {at}: {where} is not finite for the {trouble.rollbacks}th time: train with a lower rate (--set lr=...) or --precision fp32")
        if layer is not None and self.precision != "fp32" and layer not in trouble.held:
            trouble.held.append(layer)
            what = "it calculates in float32 from now on"
        else:
            trouble.rate_factor /= 2
            what = f"the learning rate is multiplied by {trouble.rate_factor:g} from now on"
        assert self._snapshot is not None
        self.restore(self._snapshot)
        self.trouble = trouble
        self._apply_trouble()
        self._snapshot = None
        return Report({}, rate, math.nan, f"step {at}: {where} was not finite; back to step {self.step}, {what}")

    def _apply_trouble(self) -> None:
        for name in self.trouble.held:
            hold_in_float32(self.task, name)

    def state(self) -> dict[str, Any]:
        """Everything that going on needs, as tensors and plain data (by reference: copy it, or write it at once)."""
        return {
            "step": self.step, "task": self.task.state_dict(), "optimizer": self.optimizer.state_dict(), "average": self.average.detector.state_dict(),
            "average_updates": self.average.updates, "scaler": self.scaler.state_dict(),
            "trouble": {"held": list(self.trouble.held), "rate_factor": self.trouble.rate_factor, "rollbacks": self.trouble.rollbacks},
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what ``state`` gave, in place."""
        self.task.load_state_dict(state["task"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.average.detector.load_state_dict(state["average"])
        self.average.updates = state["average_updates"]
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        self.trouble = Trouble(list(state["trouble"]["held"]), state["trouble"]["rate_factor"], state["trouble"]["rollbacks"])
        self._apply_trouble()
        self.step = state["step"]
