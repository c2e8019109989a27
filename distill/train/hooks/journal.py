"""Hook: the run folder's journal has the machine, a record of every epoch and a note of every rollback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distill.train.hooks.base import Hook
from workbench.hardware import cpu_name, cpus, gpu_name

if TYPE_CHECKING:
    from distill.train.run_context import Run


class Journal(Hook):
    """Appends machine, epochs and notes to the journal; a note is also logged and part of the result."""

    def before_training(self, run: Run) -> None:
        machine = {"cpu": cpu_name(), "cpus": cpus(), "processes": run.group.world}
        if run.loop.device.type == "cuda":
            machine["gpu"] = gpu_name()
        run.folder.append("machine", machine)

    def after_epoch(self, run: Run) -> None:
        run.folder.append("epoch", run.record)

    def after_rollback(self, run: Run, reason: str) -> None:
        run.progress.notes.append(reason)
        run.folder.append("note", {"text": reason})
        run.log(reason)
