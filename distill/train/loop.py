"""The training loop: optimizer steps, and nothing else. A run around it is in ``distill.train.run``.

All random numbers of a step come from (seed, step), and the learning rate from the step alone, so the whole state is
weights, optimizer, average and a few numbers: ``restore`` of what ``state`` gave resumes to the same bits. Processes
that share every batch (``distill.train.parallel``) have the same state after every step.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from distill.data.feed.views import Origin
from distill.train.ema import ModelEma
from distill.train.freeze import is_frozen_norm
from distill.train.optimizer import BATCH_NORMS, build_optimizer, set_lr
from distill.train.overflow import batch_statistics_restored, first_overflow, run_in_float32
from distill.train.parallel.group import group
from distill.train.parallel.sync_bn import convert_sync_bn
from distill.train.recipe import TrainRecipe
from distill.train.schedules import SCHEDULES, Length, StepSettings, epoch_progress, fills_batch, is_due
from distill.train.task import Task
from workbench.errors import BadInput
from zoo.learning.targets import Phase, Targets, total

SNAPSHOT_STEPS = 50
"""Steps between two copies of the state in memory, to which an overflow rolls back."""
MAX_ROLLBACKS = 10
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
        """Which views of which pictures these are, where views repeat."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step did."""

    losses: dict[str, float]
    """Named means over images."""
    lr: float
    grad_norm: float
    """Norm of all gradients together before clipping; NaN where the optimizer waits for more batches."""
    rolled_back: str = ""
    """Why the loop returned to an earlier step instead; empty after a regular step."""


@dataclass
class OverflowState:
    """What overflows so far have changed. Part of the state: a resumed run behaves as an uninterrupted one."""

    held: list[str] = field(default_factory=list)
    """Layers that calculate in float32."""
    rate_factor: float = 1.0
    rollbacks: int = 0


class Loop:
    """Trains ``task`` for ``steps`` optimizer steps, each on the images of all accumulated batches together."""

    def __init__(
        self, task: Task, recipe: TrainRecipe, steps: int, steps_per_epoch: int, *, seed: int = 0, device: str = "cpu",
        precision: str = "fp32",
    ) -> None:  # fmt: skip
        self.task, self.recipe, self.seed, self.precision = task.to(device), recipe, seed, precision
        self.device = torch.device(device)
        group().align(task)
        self.steps, self.steps_per_epoch = steps, steps_per_epoch
        self.optimizer = build_optimizer(task, recipe)
        self.average = ModelEma(task.detector, recipe.ema_decay, recipe.ema_updates, recipe.ema_start)
        task.follow(self.average)
        if group().world > 1:
            convert_sync_bn(task)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        self.overflows = OverflowState()
        self.step = 0
        self.last_update = -1
        """The batch after which the optimizer stepped last, where the schedule adds up batches."""
        self.frozen_norms = {name: m for name, m in task.detector.named_modules() if is_frozen_norm(m)}
        """Batch norms that are not trained (``--freeze``), by name."""
        self._snapshot: dict[str, Any] | None = None
        last = self.device.type == "cuda" or recipe.channels_last
        self.layout = torch.channels_last if last else torch.preserve_format
        if last:
            task.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def phase(self) -> Phase:
        """Where training stands before the next step."""
        closing_from = self.steps - self.recipe.closing_epochs * self.steps_per_epoch
        by_epoch = epoch_progress(self.recipe, self.step, Length(self.steps, self.steps_per_epoch))
        return Phase(self.step / max(1, self.steps), self.step >= closing_from, by_epoch)

    @property
    def bn_frozen_from(self) -> int:
        """The step from which on batch norms keep their statistics; ``steps`` where they never do."""
        return math.ceil(self.recipe.freeze_bn_from * self.steps - 1e-9)

    @property
    def bn_frozen(self) -> bool:
        """Whether the next step trains with frozen batch-norm statistics."""
        return self.step >= self.bn_frozen_from

    def advance(self, batches: Sequence[Batch]) -> StepReport:
        """One step on the accumulated ``batches``, or this process's share of each; a rollback after an overflow.

        Where the schedule adds up batches itself, a step takes one batch and may leave the optimizer waiting.
        """
        if self._snapshot is None or self.step % SNAPSHOT_STEPS == 0:
            self._snapshot = copy.deepcopy(self.state())
        self._set_modes()
        together = group()
        images = sum(len(batch.targets) for batch in batches) * together.world
        settings, factor = self._settings(images)
        lr = settings.lr * factor
        set_lr(self.optimizer, lr, settings.bias_lr * factor, settings.momentum)
        filling = fills_batch(self.recipe)
        if not filling or self.last_update == self.step - 1:
            self.optimizer.zero_grad(set_to_none=True)
        scale = self.recipe.loss_scale * (images / self.recipe.nominal_batch if filling else 1.0)
        sums: dict[str, float] = {}
        for number, batch in enumerate(batches):
            losses = self._losses(batch, number)
            share = len(batch.targets) * together.world / images
            loss = total(losses)
            *values, loss_value = together.sums([*losses.values(), loss])
            for name, value in zip(losses, values, strict=True):
                sums[name] = sums.get(name, 0.0) + value * share
            if not math.isfinite(loss_value):
                return self._roll_back(batch, lr)
            self.scaler.scale(loss * (share * scale)).backward()
        if filling and not is_due(self.recipe, self.step, self.last_update, settings.accumulate):
            self.step += 1
            return StepReport(sums, lr, math.nan)
        together.add_gradients(self.task.parameters())
        self.scaler.unscale_(self.optimizer)
        norm = float(torch.nn.utils.clip_grad_norm_(self.task.parameters(), self.recipe.clip_norm or math.inf))
        # Scaled gradients of fp16 overflow by design now and then: the scaler skips that step and scales less.
        if not math.isfinite(norm) and not (self.scaler.is_enabled() and self.scaler.get_scale() > 1):
            return self._roll_back(batches[-1], lr)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update(self.task.detector, self.bn_frozen)
        self.last_update = self.step
        self.step += 1
        return StepReport(sums, lr, norm)

    def rehearse(self, batch: Batch) -> float:
        """Seconds of a step's forward and backward pass on ``batch``. The state afterwards is as before."""
        before, waiting = copy.deepcopy(self.task.state_dict()), self._waiting_gradients()
        self.optimizer.zero_grad(set_to_none=True)
        self.task.train()
        began = self._clock()
        (total(self._losses(batch, 0)) * self.recipe.loss_scale).backward()
        passed = self._clock() - began
        self._restore_gradients(waiting)
        self.task.load_state_dict(before)
        return passed

    def _waiting_gradients(self) -> dict[str, Tensor]:
        """Gradients that wait for more batches, by the names of their parameters."""
        if not fills_batch(self.recipe) or self.last_update == self.step - 1:
            return {}
        return {name: x.grad for name, x in self.task.named_parameters() if x.grad is not None}

    def _restore_gradients(self, waiting: dict[str, Tensor]) -> None:
        """Set the gradients that ``_waiting_gradients`` gave, and no others."""
        for name, parameter in self.task.named_parameters():
            found = waiting.get(name)
            parameter.grad = None if found is None else found.detach().clone().to(parameter.device)

    def timed(self, function: Callable[[], object]) -> float:
        """Seconds that ``function`` takes on this device."""
        began = self._clock()
        function()
        return self._clock() - began

    def _clock(self) -> float:
        """Seconds, after the device has finished its queue."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _set_modes(self) -> None:
        """Training mode, except for the norms that are frozen."""
        self.task.train()
        if self.bn_frozen or self.recipe.freeze_backbone_bn:
            for module in (self.task.detector if self.bn_frozen else self.task.detector.backbone).modules():
                if isinstance(module, BATCH_NORMS):
                    module.eval()
        for module in self.frozen_norms.values():
            module.eval()

    def _settings(self, images: int) -> tuple[StepSettings, float]:
        """The schedule's settings for this step, and the factor of its learning rates on so many images."""
        length = Length(self.steps, self.steps_per_epoch)
        settings = SCHEDULES[self.recipe.schedule](self.recipe, self.step, length, self.recipe.batch)
        grown = 1.0 if fills_batch(self.recipe) else images / self.recipe.nominal_batch
        return settings, grown * self.overflows.rate_factor

    def _losses(self, batch: Batch, number: int) -> dict[str, Tensor]:
        """The task's losses on the ``number``-th accumulated batch of this step."""
        torch.manual_seed(((self.seed * SEED_STRIDE + self.step) * self.recipe.accumulate + number) % 2**63)
        image = batch.image.to(self.device, non_blocking=True, memory_format=self.layout)
        targets = batch.targets.to(self.device)
        with self._autocast():
            return self.task.losses(image, targets, self.phase, batch.origin)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, DTYPES[self.precision])

    def _roll_back(self, batch: Batch, lr: float) -> StepReport:
        """Find the layer that overflowed, return to the last good state, and continue more carefully."""
        with batch_statistics_restored(self.task):
            layers = group().everyone(first_overflow(self.task, lambda: self._losses(batch, 0)))
        layer = next((name for name, _ in self.task.named_modules() if name in layers), None)
        step = self.step
        overflows = copy.deepcopy(self.overflows)
        overflows.rollbacks += 1
        where = f"layer {layer}" if layer else "the loss or a gradient"
        if overflows.rollbacks > MAX_ROLLBACKS:
            raise BadInput(
                f"step {step}: {where} is not finite for the {overflows.rollbacks}th time: "
                "train with a lower rate (--set lr=...) or --precision fp32"
            )
        if layer is not None and self.precision != "fp32" and layer not in overflows.held:
            overflows.held.append(layer)
            change = "it calculates in float32 from now on"
        else:
            overflows.rate_factor /= 2
            change = f"the learning rate is multiplied by {overflows.rate_factor:g} from now on"
        assert self._snapshot is not None
        self.restore(self._snapshot)
        self.overflows = overflows
        self._apply_overflows()
        self._snapshot = None
        return StepReport({}, lr, math.nan, f"step {step}: {where} was not finite; back to step {self.step}, {change}")

    def _apply_overflows(self) -> None:
        for name in self.overflows.held:
            run_in_float32(self.task, name)

    def state(self) -> dict[str, Any]:
        """Everything that resuming needs, as tensors and plain data (by reference: copy it, or write it at once)."""
        waiting = {"last_update": self.last_update, "gradients": self._waiting_gradients()}
        return {
            "step": self.step, "task": self.task.state_dict(), "optimizer": self.optimizer.state_dict(),
            "average": self.average.detector.state_dict(), "average_updates": self.average.updates,
            "scaler": self.scaler.state_dict(), "trouble": asdict(self.overflows),
            **(waiting if fills_batch(self.recipe) else {}),
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what ``state`` gave, in place."""
        self.task.load_state_dict(state["task"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.average.detector.load_state_dict(state["average"])
        self.average.updates = state["average_updates"]
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        overflows = state["trouble"]
        self.overflows = OverflowState(list(overflows["held"]), overflows["rate_factor"], overflows["rollbacks"])
        self._apply_overflows()
        self.step = state["step"]
        self.last_update = state.get("last_update", -1)
        self._restore_gradients(state.get("gradients", {}))
