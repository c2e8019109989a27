"""The file ``resume.pt``: everything a training run needs to resume to the same bits, and the disk space it takes.

Its checksum stands at its end, so that a damaged file is refused.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from distill.train.loop import Loop
from distill.train.parallel.group import group
from workbench.errors import BadInput
from workbench.files import check_seal, replacing, seal

STATE_FILE = "resume.pt"
STATE_FORMAT = "nas-training-1"
DISK_MARGIN = 1.2


@dataclass
class RunProgress:
    """What is stored beside the loop's state."""

    history: list[dict[str, Any]] = field(default_factory=list)
    """One record an epoch."""
    best_ap: float = -1.0
    best_epoch: int = 0
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0


def write_state(folder: Path, loop: Loop, progress: RunProgress) -> None:
    """Replace the state file atomically: the previous one stays until the new one is complete."""
    with replacing(folder / STATE_FILE) as temporary:
        try:
            state = {"format": STATE_FORMAT, "loop": loop.state(), "progress": dataclasses.asdict(progress)}
            torch.save(state, temporary)
            seal(temporary)
        except RuntimeError as error:  # torch's error for a full disk
            raise OSError(f"{' '.join(str(error).split())[:120]} (is the disk full?)") from error


def resume(folder: Path, loop: Loop) -> RunProgress | None:
    """Restore ``loop`` from the folder's state file as the first process reads it; None where there is none."""
    together, file = group(), folder / STATE_FILE
    if not together.first(file.exists()):
        return None
    device = loop.device if together.world == 1 else torch.device("cpu")
    state = together.first(_read_state(file, device) if together.writes else {})
    try:
        loop.restore(state["loop"])
        return RunProgress(**state["progress"])
    except Exception as error:  # torch raises a different type for every kind of damage
        raise _cannot_resume(file, error) from error


def _read_state(file: Path, device: torch.device) -> dict[str, Any]:
    try:
        check_seal(file)
        state = torch.load(file, map_location=device, weights_only=True)
        if not isinstance(state, dict) or state.get("format") != STATE_FORMAT:
            raise ValueError(f"its format is not {STATE_FORMAT!r}")
        return state
    except Exception as error:  # of many types, too
        raise _cannot_resume(file, error) from error


def _cannot_resume(file: Path, error: Exception) -> BadInput:
    reason = " ".join(str(error).split())[:200]
    return BadInput(f"cannot resume from {str(file)!r}: {reason}; start over with --fresh")


def required_bytes(loop: Loop) -> int:
    """Disk space of a run: the state file twice while it is replaced, and two checkpoints, one of them twice."""
    weights = sum(value.numel() * value.element_size() for value in loop.average.detector.state_dict().values())
    trained = sum(p.numel() * p.element_size() for p in loop.task.parameters())
    moments = 2 if loop.recipe.optimizer == "adamw" else 1
    return 2 * (2 * weights + moments * trained) + 3 * weights


def check_disk(folder: Path, loop: Loop) -> None:
    """Refuse to start a run that does not fit on the disk."""
    needed, free = math.ceil(required_bytes(loop) * DISK_MARGIN), shutil.disk_usage(folder).free
    if needed > free:
        raise BadInput(
            f"this run needs {needed / 1e6:,.0f} MB in {str(folder)!r} and the disk has {free / 1e6:,.0f} MB left: "
            "free some, or choose another --runs"
        )
