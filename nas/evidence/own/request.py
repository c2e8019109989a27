"""What ``nas bench-scores --train`` asks for, with its defaults and checks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import BadInput

if TYPE_CHECKING:
    from distill.request import TrainRequest

COUNT = 24
SPACES = ("res", "csp", "mob")
SHRINK, DEVICE, INPUT_PX = 4, "raspberry-pi-4", 96
"""On a T4 the latency of networks as small as these is their number of kernels; on a small CPU their sizes count."""
IMAGES, EPOCHS, BATCH = 2000, 3, 8
"""Images of the easy synthetic set (a fifth of them for validation), and a brief training: few epochs of many images,
since every epoch ends with an evaluation."""
RECIPE = "small"
CHANGES = (
    "optimizer=muon", "lr=0.02", "momentum=0.95", "nominal_batch=8", "warmup_epochs=0.1", "closing_epochs=0",
    "ema_updates=150",
)  # fmt: skip
"""Changes of the recipe, whose own settings are made for a hundred epochs, for a few hundred steps."""
MAX_TRAININGS = 10_000
"""Of one folder."""


def default_training(seed: int = 0) -> TrainRequest:
    """What all trainings have in common by default; without ``data``, which stands for the easy synthetic set."""
    from distill.request import TrainRequest

    return TrainRequest(
        model="", data="", recipe=RECIPE, changes=CHANGES, epochs=EPOCHS, batch=BATCH, data_workers=0, seed=seed
    )


@dataclass(frozen=True)
class EvidenceRequest:
    """Architectures to sample and train, and the folder for the results."""

    folder: Path
    training: TrainRequest
    """What all trainings have in common; without ``data`` they use the easy synthetic set."""
    count: int = COUNT
    """Number of architectures."""
    seeds: int = 1
    """Number of trainings of each architecture, with consecutive seeds."""
    repeat: int | None = None
    """Only the first ``repeat`` architectures are trained with all seeds, the others with one (None: all)."""
    design: str | None = None
    """A design by name or file, instead of architectures sampled from ``spaces``."""
    spaces: tuple[str, ...] = SPACES
    shrink: int = SHRINK
    """Divisor of the spaces' channels."""
    device: str = DEVICE
    """Profile that predicts the latency."""
    budget: str | None = None
    """A band of latency (None: the band in which the spaces overlap most)."""
    input_px: int = INPUT_PX
    images: int = IMAGES
    """Of the easy synthetic set."""
    jobs: int = 1
    """Trainings at once, in local Ray processes; 1 needs no Ray."""

    def check(self) -> None:
        """Refuse what cannot be."""
        for name in ("seeds", "images", "jobs"):
            if getattr(self, name) < 1:
                raise BadInput(f"--{name} {getattr(self, name)} must be at least 1")
        least = 2 if self.design else max(2, len(self.spaces))
        if self.count < least:
            turns = "" if self.design else f"{len(self.spaces)} spaces take turns, and "
            why = f"{turns}one architecture has no rank"
            raise BadInput(f"--train {self.count} must be at least {least}: {why}")
        if self.repeat is not None and not (self.seeds > 1 and 1 <= self.repeat <= self.count):
            why = "that many architectures are trained with all seeds"
            raise BadInput(f"--repeat {self.repeat} must be from 1 to {self.count}, and --seeds at least 2: {why}")
        if self.count * self.seeds > MAX_TRAININGS:
            asked = f"--train {self.count} with --seeds {self.seeds}"
            raise BadInput(f"{asked} are more than {MAX_TRAININGS:,} trainings: ask for fewer")
        repeated = sorted({name for name in self.spaces if self.spaces.count(name) > 1})
        if repeated:
            raise BadInput(f"--space {repeated[0]} stands twice: the spaces take turns already")
        if (self.folder / "accuracy.csv").exists() and not (self.folder / "journal.jsonl").exists():
            holds = f"{str(self.folder)!r} holds trained detectors, but no journal of ours to resume from"
            raise BadInput(f"{holds}: leave --train out to use them, or give another --data")
