"""The result of ``nas tune``: every trial, the best settings, and the files of the study."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.train.recipe import OFFICIAL, load_recipe
from nas.tuning.ranges import SHARE, Range
from workbench.doors.yaml import yaml_text
from workbench.errors import BadInput
from workbench.files import write_atomic
from workbench.tables import Result, Table

if TYPE_CHECKING:
    import optuna

    from distill.request import TrainRequest
    from distill.train.recipe import TrainRecipe

SHOWN = 10
"""Best trials that the text lists."""


@dataclass(frozen=True)
class TuningResult(Result):
    """A study: ``trials`` has one record per trial, by number; ``best`` is one of them."""

    folder: Path
    best: dict[str, Any]
    trials: list[dict[str, Any]]
    ranges: tuple[Range, ...]
    next_command: str
    """The command that trains with the best settings."""

    @property
    def counts(self) -> dict[str, int]:
        """Number of trials by state."""
        states = ("complete", "pruned", "fail", "running")
        return {state: sum(trial["state"] == state for trial in self.trials) for state in states}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the stable keys of ``--json``."""
        return {
            "format": "nas-tune-1",
            "folder": str(self.folder),
            "best": self.best,
            "trials": self.trials,
            "counts": self.counts,
            "vary": [varied.text() for varied in self.ranges],
        }

    def to_table(self) -> Table:
        """Header and one row per completed trial, best first: number from 1, AP (0 to 1), settings."""
        complete = [trial for trial in self.trials if trial["state"] == "complete"]
        complete.sort(key=lambda trial: (-trial["ap"], trial["number"]))
        names = [varied.name for varied in self.ranges]
        rows = [[trial["number"] + 1, trial["ap"], *(trial["settings"][name] for name in names)] for trial in complete]
        return Table(["trial", "AP", *names], rows)

    def __str__(self) -> str:
        header, rows = self.to_table()
        counts = self.counts
        ends = f"{counts['complete']} completed, {counts['pruned']} ended early, {counts['fail']} failed"
        lines = [str(Table(header, rows[:SHOWN])), "", f"{len(self.trials)} trials: {ends}"]
        for trial in self.trials:
            if trial["state"] == "fail":
                lines.append(f"trial {trial['number'] + 1} failed: {trial['reason']}")
        files = "best.yaml (a recipe), trials.csv, optuna.log (optuna-dashboard), trials/"
        return "\n".join([*lines, f"\nwritten to {self.folder}: {files}", f"next: {self.next_command}"])


def write_result(
    folder: Path, study: optuna.Study, ranges: Sequence[Range], request: TrainRequest, recipe: TrainRecipe
) -> TuningResult:
    """Write the best recipe, a table of trials and the result; ``recipe`` is the one that the trials vary."""
    records = [_record(trial) for trial in study.get_trials(deepcopy=False)]
    complete = [record for record in records if record["state"] == "complete"]
    if not complete:
        reasons = {record["reason"] for record in records if record["reason"]}
        why = next(iter(sorted(reasons)), "all were pruned")
        raise BadInput(f"none of {len(records)} trials was completed: {why}")
    best = max(complete, key=lambda record: (record["ap"], -record["number"]))
    varied = {name: value for name, value in best["settings"].items() if name != SHARE}
    data = dataclasses.replace(recipe, **varied).to_dict() | {
        "precision": load_recipe(recipe.name if request.recipe == OFFICIAL else str(request.recipe)).precision,
        "source": f"nas tune, trial {best['number']} of {folder.name}: AP {best['ap']:.4f}",
    }
    without_name = {key: value for key, value in data.items() if key != "name"}
    write_atomic(folder / "best.yaml", yaml_text(without_name))
    write_atomic(folder / "trials.csv", _csv(records, ranges))
    result = TuningResult(folder, best, records, tuple(ranges), _next_command(request, folder, best))
    write_atomic(folder / "result.json", json.dumps(result.to_dict(), indent=1, allow_nan=False))
    return result


def _record(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """A trial, JSON-ready."""
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "ap": trial.value if trial.state.name == "COMPLETE" else None,
        "settings": dict(trial.params),
        "ap_by_epoch": {str(step): value for step, value in sorted(trial.intermediate_values.items())},
        "reason": trial.user_attrs.get("reason", ""),
    }


def _next_command(request: TrainRequest, folder: Path, best: dict[str, Any]) -> str:
    command, teacher = "train", ""
    if request.teaching is not None:
        command, teacher = "distill", f" --teacher {request.teaching.teachers[0]}"
    share = f" --share {best['settings'][SHARE]:.4g}" if SHARE in best["settings"] else ""
    recipe = folder / "best.yaml"
    return f"nas {command} {request.model}{teacher} --data {request.data} --recipe {recipe}{share}"


def _csv(records: Sequence[dict[str, Any]], ranges: Sequence[Range]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [varied.name for varied in ranges]
    writer.writerow(["number", "state", "ap", *names, "epochs", "last_ap", "reason"])
    for record in records:
        steps, settings = record["ap_by_epoch"], [record["settings"].get(name) for name in names]
        last = max(steps, key=int, default="")
        writer.writerow(
            [record["number"], record["state"], record["ap"], *settings, last, steps.get(last), record["reason"]]
        )
    return out.getvalue()
