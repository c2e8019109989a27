"""The result of a comparison with and without a teacher, as JSON, CSV, table and text."""

from __future__ import annotations

import csv
import io
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.study.gain import CONFIDENCE, Gain, paired, signed
from distill.study.subruns import SubRunResult
from workbench.console import table
from workbench.tables import Result

FORMAT = "nas-control-1"
PLAIN, TAUGHT = "plain", "taught"


@dataclass(frozen=True)
class ControlResult(Result):
    """Runs with and without a teacher, by seed. Prints as a table with its conclusion."""

    folder: Path
    plain: dict[int, SubRunResult]
    taught: dict[int, SubRunResult]
    harmful_at: tuple[int, int] | None
    """Seed and epoch at which harm was found first."""
    stopped: bool
    """Whether the remaining runs were not trained because of harm."""

    @property
    def gain(self) -> Gain:
        """Differences in AP at ``epoch``, one a seed."""
        plain, taught = (
            {seed: result.curve[self.epoch] for seed, result in results.items()}
            for results in (self.plain, self.taught)
        )
        return paired(plain, taught)

    @property
    def epoch(self) -> int:
        """The epoch after which all runs are compared: the last one, or the one where a taught run was stopped."""
        return min(max(result.curve) for result in self.taught.values())

    @property
    def seeds(self) -> list[int]:
        """Seeds that were trained both with and without the teacher."""
        return sorted(set(self.plain) & set(self.taught))

    @property
    def verdict(self) -> str:
        """``helps``, ``harms`` or ``open``."""
        return "harms" if self.stopped else self.gain.verdict

    @property
    def mean_ap(self) -> dict[str, float]:
        """Mean AP without (``plain``) and with the teacher (``taught``), at ``epoch``."""
        _, rows = self.to_table()
        return {PLAIN: statistics.fmean(row[1] for row in rows), TAUGHT: statistics.fmean(row[2] for row in rows)}

    @property
    def mean_seconds(self) -> dict[str, float]:
        """Mean duration of a run without and with the teacher."""
        return {
            kind: statistics.fmean(result.seconds for result in results.values()) for kind, results in self._by_kind()
        }

    def _by_kind(self) -> list[tuple[str, dict[int, SubRunResult]]]:
        return [(PLAIN, self.plain), (TAUGHT, self.taught)]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, as in ``control.json``."""
        gain = self.gain
        alarm = None if self.harmful_at is None else {"seed": self.harmful_at[0], "epoch": self.harmful_at[1]}
        return {
            "format": FORMAT,
            "folder": str(self.folder),
            "gain": gain.mean,
            "interval": gain.interval,
            "confidence": CONFIDENCE,
            "verdict": self.verdict,
            "epoch": self.epoch,
            "seeds": self.seeds,
            "differences": list(gain.differences),
            "ap": self.mean_ap,
            "seconds": self.mean_seconds,
            "alarm": alarm,
            "stopped": self.stopped,
            "runs": {
                kind: {str(seed): result.to_dict() for seed, result in results.items()}
                for kind, results in self._by_kind()
            },
        }

    def to_table(self) -> tuple[list[str], list[tuple[int, float, float, float]]]:
        """Header and rows: seed, AP without and with the teacher at ``epoch``, and their difference."""
        rows = []
        for seed in self.seeds:
            plain, taught = self.plain[seed].curve[self.epoch], self.taught[seed].curve[self.epoch]
            rows.append((seed, plain, taught, taught - plain))
        return ["seed", "AP without", "AP with", "gain"], rows

    def to_csv(self) -> str:
        """One row a seed."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("seed", "plain_ap", "taught_ap", "gain", "plain_s", "taught_s", "epoch"))
        for seed, plain, taught, gain in self.to_table()[1]:
            seconds = self.plain[seed].seconds, self.taught[seed].seconds
            writer.writerow((seed, plain, taught, gain, *seconds, self.epoch))
        return out.getvalue()

    def __str__(self) -> str:
        header, rows = self.to_table()
        cells = [[str(seed), plain, taught, signed(gain)] for seed, plain, taught, gain in rows]
        cells.append(["mean", self.mean_ap[PLAIN], self.mean_ap[TAUGHT], signed(self.gain.mean)])
        plain_s, taught_s = self.mean_seconds[PLAIN], self.mean_seconds[TAUGHT]
        change = "" if self.stopped else f" ({100 * (taught_s / max(plain_s, 1e-9) - 1):+.0f} %)"
        return "\n".join([
            table(header, cells),
            "",
            self.conclusion(),
            f"time a run: {plain_s:.0f} s without the teacher, {taught_s:.0f} s with it{change}; "
            f"compared after epoch {self.epoch}",
            f"written to {self.folder}: control.json, control.csv, control/ (every run with its best.safetensors), "
            "TensorBoard events (nas board)",
        ])  # fmt: skip

    def conclusion(self) -> str:
        """Whether the teacher helps, in one sentence."""
        gain = self.gain
        if self.stopped:
            assert self.harmful_at is not None
            seed, epoch = self.harmful_at
            return (
                f"THE TEACHER HARMS: stopped after epoch {epoch} of seed {seed}, where the taught runs are "
                "significantly "
                f"behind ({signed(gain.mean)} AP there); the other runs were not trained"
            )
        if gain.interval is None:
            return (
                f"gain {signed(gain.mean)} AP from one seed. One seed has no interval: use --seeds 3 to tell the "
                "teacher "
                "from chance"
            )
        if max(max(plain, taught) for _, plain, taught, _ in self.to_table()[1]) == 0:
            return "NOTHING SHOWN: AP is 0 with and without the teacher, so there is nothing to compare; train longer"
        endings = {
            "open": "NOTHING SHOWN. The interval holds 0; more seeds make it narrower",
            "helps": "the teacher helps",
            "harms": "THE TEACHER HARMS",
        }
        return f"{gain}: {endings[gain.verdict]}"
