"""The folder that detectors trained here leave: the layout that ``nas.evidence.trained`` takes, and one readable file with everything.

``trained.jsonl`` holds a line an architecture: its description, its costs, and every training with its seed, AP, epochs and seconds.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.study.subruns import SubRunResult
from nas.budgets import LATENCY
from nas.evidence.noise import SEED
from nas.evidence.sampling import SampledArchitecture
from search_spaces.lowering import lower
from workbench.errors import BadInput
from workbench.files import write_atomic

FILES = ("trained.jsonl", "accuracy.csv", "latency.csv", "graphs.jsonl.gz")
TARGET = "map50_95"


@dataclass(frozen=True)
class Run:
    """What came of one architecture with one seed: a trial, or the ``failure``."""

    seed: int
    trial: SubRunResult | None
    failure: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; AP is that of the averaged weights after the last epoch."""
        if self.trial is None:
            return {"seed": self.seed, "failure": self.failure}
        curve = [[epoch, round(ap, 6)] for epoch, ap in self.trial.curve.items()]
        return {"seed": self.seed, "ap": round(self.trial.ap, 6), "epochs": self.trial.epochs, "seconds": round(self.trial.seconds, 1), "curve": curve}


def write_folder(folder: Path, drawn: Sequence[SampledArchitecture], runs: Mapping[tuple[str, int], Run], device: str, input_px: int) -> None:
    """Write ``FILES``; every one is replaced as a whole."""
    seeds = sorted({seed for _, seed in runs})
    if all(run.trial is None for run in runs.values()):
        raise BadInput(f"no training came to its end; the first one: {next(iter(runs.values())).failure}")
    lines, graphs = [], []
    accuracy = [["arch", "input_px", "family", TARGET, *(f"{TARGET}{SEED}{seed}" for seed in seeds if len(seeds) > 1)]]
    latency = [["arch", "input_px", f"{device.replace('-', '_')}_predicted_ms"]]
    for one in drawn:
        own = {seed: runs[one.name, seed] for seed in seeds if (one.name, seed) in runs}
        costs = {name: round(value, 6) if name == LATENCY else int(value) for name, value in one.costs.items()}
        lines.append({
            "name": one.name, "space": one.space, "digest": one.architecture.digest(), "input_px": input_px, "latency_of": device, "costs": costs,
            "runs": [run.to_dict() for run in own.values()], "architecture": one.architecture.to_dict(),
        })  # fmt: skip
        aps = {seed: run.trial.ap for seed, run in own.items() if run.trial is not None}
        cells = [_cell(sum(aps.values()) / len(aps) if aps else None), *(_cell(aps.get(seed)) for seed in seeds if len(seeds) > 1)]
        accuracy.append([one.name, str(input_px), one.space, *cells])
        latency.append([one.name, str(input_px), f"{costs[LATENCY]:.6f}"])
        graph = lower(one.architecture)
        graph.name = one.name
        graphs.append(graph.to_json())
    write_atomic(folder / "trained.jsonl", _lines(lines))
    write_atomic(folder / "graphs.jsonl.gz", gzip.compress(_lines(graphs).encode(), mtime=0))
    write_atomic(folder / "latency.csv", _csv(latency))
    write_atomic(folder / "accuracy.csv", _csv(accuracy))


def _cell(ap: float | None) -> str:
    return "" if ap is None else f"{ap:.6f}"


def _lines(records: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
