"""The folder of detectors trained here: the layout that ``nas.evidence.trained`` reads, and ``trained.jsonl``.

``trained.jsonl`` holds one line per architecture: its description, its costs, and every training with its seed, AP,
epochs and seconds.
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
from nas.detectors.entry import SEED_SUFFIX
from nas.evidence.own.sampling import SampledArchitecture
from search_spaces.lowering import lower
from workbench.errors import BadInput
from workbench.files import write_atomic

FILES = ("trained.jsonl", "accuracy.csv", "latency.csv", "graphs.jsonl.gz")
TARGET = "map50_95"


@dataclass(frozen=True)
class SeedRun:
    """The training of one architecture with one seed: its result, or the reason of its failure."""

    seed: int
    result: SubRunResult | None
    failure: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; AP is that of the averaged weights after the last epoch."""
        if self.result is None:
            return {"seed": self.seed, "failure": self.failure}
        return {
            "seed": self.seed,
            "ap": round(self.result.ap, 6),
            "epochs": self.result.epochs,
            "seconds": round(self.result.seconds, 1),
            "curve": [[epoch, round(ap, 6)] for epoch, ap in self.result.curve.items()],
        }


def write_evidence(
    folder: Path,
    sampled: Sequence[SampledArchitecture],
    runs: Mapping[tuple[str, int], SeedRun],
    device: str,
    input_px: int,
) -> None:
    """Write ``FILES``, each replaced as a whole; ``runs`` are by architecture name and seed, and may be some of all.

    ``input_px``: of architectures without an input side of their own.
    """
    seeds = sorted({seed for _, seed in runs})
    if all(run.result is None for run in runs.values()):
        raise BadInput(f"no training came to its end; the first one: {next(iter(runs.values())).failure}")
    per_seed = seeds if len(seeds) > 1 else []
    lines, graphs = [], []
    accuracy = [["arch", "input_px", "family", TARGET, *(f"{TARGET}{SEED_SUFFIX}{seed}" for seed in per_seed)]]
    latency = [["arch", "input_px", f"{device.replace('-', '_')}_predicted_ms"]]
    for arch in sampled:
        if not any(name == arch.name for name, _ in runs):
            continue
        side = str(arch.side(input_px))
        arch_runs = {seed: runs[arch.name, seed] for seed in seeds if (arch.name, seed) in runs}
        costs = {name: round(value, 6) if name == LATENCY else int(value) for name, value in arch.costs.items()}
        lines.append({
            "name": arch.name,
            "space": arch.space,
            "digest": arch.architecture.digest(),
            "input_px": arch.side(input_px),
            "latency_of": device,
            "costs": costs,
            **({"levels": dict(arch.levels)} if arch.levels else {}),
            "runs": [run.to_dict() for run in arch_runs.values()],
            "architecture": arch.architecture.to_dict(),
        })  # fmt: skip
        aps = {seed: run.result.ap for seed, run in arch_runs.items() if run.result is not None}
        mean = sum(aps.values()) / len(aps) if aps else None
        accuracy.append([arch.name, side, arch.space, *map(_cell, (mean, *(aps.get(s) for s in per_seed)))])
        latency.append([arch.name, side, f"{costs[LATENCY]:.6f}"])
        graph = lower(arch.architecture)
        graph.name = arch.name
        graphs.append(graph.to_json())
    write_atomic(folder / "trained.jsonl", _json_lines(lines))
    write_atomic(folder / "graphs.jsonl.gz", gzip.compress(_json_lines(graphs).encode(), mtime=0))
    write_atomic(folder / "latency.csv", _csv(latency))
    write_atomic(folder / "accuracy.csv", _csv(accuracy))


def _cell(ap: float | None) -> str:
    return "" if ap is None else f"{ap:.6f}"


def _json_lines(records: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
