"""Hook: the run folder's journal has a record of every epoch and a note of every rollback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distill.train.hooks.base import Hook

if TYPE_CHECKING:
    from distill.train.run_context import Run


class Journal(Hook):
    """Appends epochs and notes to the journal; a note is also logged and part of the result."""

    def after_epoch(self, run: Run) -> None:
        run.folder.append("epoch", run.record)

    def after_rollback(self, run: Run, reason: str) -> None:
        run.progress.notes.append(reason)
        run.folder.append("note", {"text": reason})
        run.log(reason)
