"""The result of a recovery: a cut child taught by its parent, beside its controls, as JSON, CSV, table and text."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.study.gain import CONFIDENCE, Gain, paired, signed, t_interval
from distill.study.subruns import SubRunResult
from workbench.console import table
from workbench.tables import Result

FORMAT = "nas-recovery-1"
TAUGHT, UNTAUGHT, RANDOM = "taught", "untaught", "random"
"""The child taught by its parent, the child without a teacher, and its architecture from random weights."""
BEST = "best.safetensors"

Runs = dict[int, SubRunResult]
"""Results by seed."""


@dataclass(frozen=True)
class RecoveryResult(Result):
    """Trainings of a cut detector and its controls. Prints as a table with a verdict."""

    folder: Path
    runs: Mapping[str, Runs]
    """By kind: ``taught``, ``untaught``, ``random``, then the stock checkpoints by name; controls may be missing."""
    notes: tuple[str, ...] = ()
    parent_ap: float | None = None
    """AP of the parent, as it teaches, on the validation images; None where it knows other classes."""
    earlier_epochs: int = 0
    """Epochs that the child has had in earlier rounds; they count in its curves."""

    @property
    def best(self) -> Path:
        """Checkpoint of the taught child with the first seed, at its best epoch."""
        return self.folder / self.runs[TAUGHT][self.seeds[0]].folder / BEST

    @property
    def last(self) -> Path:
        """Checkpoint of the taught child with the first seed, after the last epoch."""
        return self.best.with_name("last.safetensors")

    @property
    def seeds(self) -> list[int]:
        """Seeds of the taught child."""
        return sorted(self.runs[TAUGHT])

    @property
    def ap(self) -> float:
        """Mean AP of the taught child after the last epoch, 0 to 1."""
        return mean_ap(self.runs[TAUGHT])

    @property
    def gains(self) -> dict[str, Gain]:
        """AP of the taught child minus that of every control, paired by seed."""
        taught = final(self.runs[TAUGHT])
        return {kind: paired(final(runs), taught) for kind, runs in self.runs.items() if kind != TAUGHT}

    def curve(self, kind: str) -> dict[int, float]:
        """Mean AP over the seeds by epoch, those of earlier rounds counted."""
        earlier = self._earlier(kind)
        curves = [run.curve for run in self.runs[kind].values()]
        epochs = sorted(set.intersection(*(set(curve) for curve in curves)))
        return {earlier + epoch: statistics.fmean(curve[epoch] for curve in curves) for epoch in epochs}

    def at(self, kind: str, epoch: int) -> dict[int, float]:
        """AP by seed after an epoch, those of earlier rounds counted; without seeds not evaluated there."""
        own = epoch - self._earlier(kind)
        return {seed: run.curve[own] for seed, run in self.runs[kind].items() if own in run.curve}

    def _earlier(self, kind: str) -> int:
        """Epochs before the first of a kind's curve."""
        return self.earlier_epochs if kind in (TAUGHT, UNTAUGHT) else 0

    def catches_up(self, kind: str = RANDOM) -> tuple[int, float] | None:
        """The first evaluated epoch at which the taught child has the final AP of ``kind``, and its share of all steps.

        Of the mean curves; None where it never has it, or where ``kind`` was not trained.
        """
        if kind not in self.runs:
            return None
        goal = mean_ap(self.runs[kind])
        curve = self.curve(TAUGHT)
        reached = [epoch for epoch, ap in curve.items() if ap >= goal]
        return (reached[0], reached[0] / max(curve)) if reached else None

    def to_table(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Header and rows: AP and AP of the taught child minus it, with intervals, and seconds of a run, by kind."""
        gains = self.gains
        rows: list[tuple[Any, ...]] = []
        for kind, runs in self.runs.items():
            low, high = t_interval(list(final(runs).values())) or (None, None)
            gain = gains.get(kind)
            least, most = (None if gain is None else gain.interval) or (None, None)
            seconds = statistics.fmean(run.seconds for run in runs.values())
            ahead = None if gain is None else gain.mean
            rows.append((kind, len(runs), mean_ap(runs), low, high, ahead, least, most, seconds))
        return ["start", "seeds", "AP", "low", "high", "taught ahead", "ahead low", "ahead high", "s a run"], rows

    def to_csv(self) -> str:
        """One row an evaluation: kind, seed, epoch, AP, and whether it is the last epoch."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("kind", "seed", "epoch", "ap", "last", "seconds"))
        for kind, runs in self.runs.items():
            for seed, run in runs.items():
                for epoch, ap in run.curve.items():
                    row = (kind, seed, self._earlier(kind) + epoch, ap, int(epoch == max(run.curve)), run.seconds)
                    writer.writerow(row)
        return out.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, as in ``recovery.json``."""
        reached = self.catches_up()
        return {
            "format": FORMAT,
            "folder": str(self.folder),
            "best": str(self.best),
            "seeds": self.seeds,
            "confidence": CONFIDENCE,
            "verdict": self.verdict(),
            "kinds": {
                kind: {
                    "ap": mean_ap(runs),
                    "interval": t_interval(list(final(runs).values())),
                    "curve": [[epoch, ap] for epoch, ap in self.curve(kind).items()],
                    "runs": {str(seed): run.to_dict() for seed, run in runs.items()},
                }
                for kind, runs in self.runs.items()
            },
            "taught_minus": {
                kind: {"mean": gain.mean, "interval": gain.interval, "differences": list(gain.differences)}
                for kind, gain in self.gains.items()
            },
            "reaches_random": None if reached is None else {"epoch": reached[0], "share": reached[1]},
            "notes": list(self.all_notes),
            "parent_ap": self.parent_ap,
        }

    @property
    def all_notes(self) -> tuple[str, ...]:
        """``notes``, and a word about a parent that has little to teach."""
        if self.parent_ap is None or self.parent_ap >= self.ap:
            return self.notes
        return (
            *self.notes,
            f"the parent has AP {self.parent_ap:.4f} on the validation images, less than the child that it teaches: "
            "fine-tune it on this data with nas train, and shrink the result",
        )

    def verdict(self) -> str:
        """What teaching and inherited weights are worth, in one sentence with its figures."""
        seeds = len(self.seeds)
        text = f"taught by its parent the child has AP {self.ap:.4f} ({seeds} seed{'s' if seeds > 1 else ''})"
        untaught = "the child untaught in its last round" if self.earlier_epochs else "the untaught child"
        names = {UNTAUGHT: untaught, RANDOM: "the same architecture from random weights"}
        parts = [_compare(gain, names.get(kind, kind)) for kind, gain in self.gains.items()]
        if parts:
            text += ": " + "; ".join(parts)
        if RANDOM in self.runs:
            reached = self.catches_up()
            text += (
                "; it never reaches the final AP from random weights" if reached is None
                else f"; it has the final AP from random weights after {100 * reached[1]:.0f} % of the steps"
            )  # fmt: skip
        return text

    def __str__(self) -> str:
        lines = [table(*self.to_table()), "", self.verdict()]
        if self.parent_ap is not None:
            lines.append(f"the parent itself has AP {self.parent_ap:.4f} on the validation images")
        if RANDOM in self.runs and len(self.seeds) == 1:
            lines.append("one seed has no interval: more seeds tell the differences from chance")
        lines += [f"note: {note}" for note in self.all_notes]
        files = "recovery.json, recovery.csv, recovery/ (the runs with checkpoints), TensorBoard events (nas board)"
        return "\n".join([*lines, f"written to {self.folder}: {files}"])


def final(runs: Mapping[int, SubRunResult]) -> dict[int, float]:
    """AP after the last epoch by seed. The best epoch's would be chosen on the images that it is measured on."""
    return {seed: run.ap for seed, run in runs.items()}


def mean_ap(runs: Mapping[int, SubRunResult]) -> float:
    """Mean AP after the last epoch."""
    return statistics.fmean(final(runs).values())


def _compare(gain: Gain, name: str) -> str:
    """The difference to the control ``name`` in words, with its interval."""
    if gain.interval is None:
        return f"{signed(gain.mean)} to {name}"
    low, high = gain.interval
    words = {"helps": "ahead of", "harms": "BEHIND", "open": "not told from"}
    return f"{words[gain.verdict]} {name} ({signed(gain.mean)}, interval {signed(low)} to {signed(high)})"
