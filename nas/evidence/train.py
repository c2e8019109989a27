"""A truth of our own: architectures of equal predicted latency, each trained briefly by one recipe, written as a folder that scores are held against.

Every training depends on its request alone, runs on one thread and is kept in the folder's journal, so it does not matter where it ran or how
often the command was killed. What a training learns from is an easy synthetic set, unless other pictures are named.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.data.formats.readers import open_pair
from distill.prepare import prepare
from distill.request import TrainRequest
from distill.study.subruns import SubRuns, sub_run_result
from nas.budgets import parse_budget
from nas.devices.profile import load_device
from nas.evidence.export import FILES, Run, write_folder
from nas.evidence.images import make_easy
from nas.evidence.sampling import SampledArchitecture, draw, shrunk
from nas.searcher.evaluator import one_thread
from search_spaces.space_file import load_space
from workbench.console import Progress
from workbench.errors import BadInput
from workbench.files import write_atomic
from workbench.run_folder import RunFiles, RunFolder
from workbench.signals import watch_signals
from workbench.workers import Workers, open_workers

RUNS = "runs"
PRODUCTS = RunFiles("training of evidence", FILES, (RUNS,), "--data", "--data")
CHECKED = "damo-yolo-t"
"""Stands for the architectures when the request is checked; they are of its family."""
MOST = 10_000
"""Trainings of one folder."""


@dataclass(frozen=True)
class EvidenceRequest:
    """What ``--train`` asks for. ``request`` is what all trainings have in common; its ``data`` may be empty: then the easy synthetic set."""

    folder: Path
    count: int
    seeds: int
    repeat: int | None
    """So many architectures, the first ones, have all seeds, the others one; None: all."""
    spaces: tuple[str, ...]
    shrink: int
    device: str
    budget: str | None
    input_px: int
    images: int
    request: TrainRequest
    jobs: int = 1

    def check(self) -> None:
        """Refuse what cannot be."""
        for name in ("seeds", "images", "jobs"):
            if getattr(self, name) < 1:
                raise BadInput(f"--{name} {getattr(self, name)} must be at least 1")
        if self.count < max(2, len(self.spaces)):
            raise BadInput(f"--train {self.count} must be at least {max(2, len(self.spaces))}: {len(self.spaces)} spaces take turns, and one architecture has no rank")
        if self.repeat is not None and not (self.seeds > 1 and 1 <= self.repeat <= self.count):
            raise BadInput(f"--repeat {self.repeat} must be from 1 to {self.count}, and --seeds at least 2: so many architectures are trained with all seeds")
        if self.count * self.seeds > MOST:
            raise BadInput(f"--train {self.count} with --seeds {self.seeds} are more than {MOST:,} trainings: ask for fewer")
        doubled = sorted({name for name in self.spaces if self.spaces.count(name) > 1})
        if doubled:
            raise BadInput(f"--space {doubled[0]} stands twice: the spaces take turns already")
        if (self.folder / "accuracy.csv").exists() and not (self.folder / "journal.jsonl").exists():
            raise BadInput(f"{str(self.folder)!r} holds trained detectors, but no journal of ours to go on with: judge them without --train, or give another --data")


def train_evidence(wish: EvidenceRequest, progress: Progress) -> None:
    """Do what ``wish`` asks for in its folder, or go on with it; in the end the folder can be read by ``read_trained``."""
    import torch

    import workbench

    wish.check()
    synthetic = not wish.request.data
    data = str(wish.folder / f"pictures-{wish.images}-{wish.input_px}px-seed{wish.request.seed}") if synthetic else wish.request.data
    device, whole = load_device(wish.device), [load_space(name) for name in wish.spaces]
    budget = None if wish.budget is None else parse_budget(wish.budget)
    if synthetic and not Path(data).exists():
        make_easy(Path(data), wish.images, wish.request.seed, wish.input_px, progress.show)
    spaces = [shrunk(space, wish.shrink, len(open_pair(data)[0].classes)) for space in whole]
    progress.show("drawing architectures of equal latency", force=True)
    budget, drawn = draw(spaces, device, wish.input_px, budget, wish.count, wish.request.seed)
    request = dataclasses.replace(wish.request, data=data, input_px=wish.input_px, quiet=True)
    first = prepare(dataclasses.replace(request, model=CHECKED))  # what is wrong is found before the first training
    settings = {
        "kind": "bench-scores --train", "spaces": list(wish.spaces), "shrink": wish.shrink, "latency_of": device.name, "budget": str(budget),
        "images": wish.images if synthetic else None, **first.settings, "data": "easy synthetic" if synthetic else Path(data).name,
    }  # fmt: skip
    for own in ("model", "weights"):
        settings.pop(own)
    folder = RunFolder.open(wish.folder, settings, {"nas": workbench.__version__, "torch": str(torch.__version__)}, PRODUCTS, wish.request.fresh)
    try:
        with open_workers(None if wish.jobs == 1 else wish.jobs, None) as workers:
            runs = _Trainings(folder, request, wish, drawn, workers, progress).go()
        write_folder(wish.folder, drawn, runs, device.name, wish.input_px)
    finally:
        progress.done()
        folder.close()


def train_one(request: TrainRequest, below: str, working_folder: str) -> dict[str, Any]:
    """One training: what came of it as it is written down, or the ``failure``."""
    if os.getcwd() != working_folder:
        os.chdir(working_folder)
    ready = prepare(request)
    with one_thread():
        try:
            return sub_run_result(ready.run(), f"{below}/{request.name}").to_dict()
        except (BadInput, RuntimeError, MemoryError, ArithmeticError) as error:
            return {"failure": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


class _Trainings:
    """Keeps as many trainings going as there are workers: all architectures with the first seed, then with the next."""

    def __init__(self, folder: RunFolder, request: TrainRequest, wish: EvidenceRequest, drawn: Sequence[SampledArchitecture], workers: Workers, progress: Progress) -> None:
        self.folder, self.request, self.workers, self.progress = folder, request, workers, progress
        self.kept = SubRuns(folder, RUNS)
        self.wanted = [(one, request.seed + step) for step in range(wish.seeds) for one in drawn[: wish.repeat if step else None]]
        self.failures: dict[str, str] = {}

    def go(self) -> dict[tuple[str, int], Run]:
        """Every training's outcome by architecture and seed. One that failed has its reason, and is tried again by the next call."""
        waiting = [(one, seed) for one, seed in self.wanted if self.kept.done(_name(one, seed)) is None][::-1]
        whole, began = len(waiting), time.monotonic()
        with watch_signals() as asked_to_end:
            while waiting or self.workers.in_flight:
                if asked_to_end():
                    raise KeyboardInterrupt
                while waiting and self.workers.in_flight < self.workers.count:
                    self._start(*waiting.pop())
                done = self.workers.wait()
                self._take(str(done.key), done.value or {}, done.failure)
                left = len(waiting) + self.workers.in_flight
                minutes = (time.monotonic() - began) / (whole - left) * left / 60
                self.progress.show(f"{len(self.wanted) - left} of {len(self.wanted)} trainings, {self._span()}, about {minutes:.0f} min left", force=True)
        return {(one.name, seed): Run(seed, self.kept.done(_name(one, seed)), self.failures.get(_name(one, seed), "")) for one, seed in self.wanted}

    def _start(self, one: SampledArchitecture, seed: int) -> None:
        name = _name(one, seed)
        self.progress.show(f"training {one.name}, seed {seed}")
        where = str(self.folder.folder / RUNS)
        request = dataclasses.replace(self.request, model=_file(self.folder.folder, one), seed=seed, name=name, runs=where, fresh=False)
        self.workers.start(name, train_one, request, RUNS, os.getcwd())

    def _take(self, name: str, record: dict[str, Any], failure: str) -> None:
        failure = failure or record.get("failure", "")
        if failure:
            self.failures[name] = failure
            self.progress.show(f"{name} failed: {failure}", force=True)
            return
        self.folder.append(name, record)
        self.kept.drop_state(name)

    def _span(self) -> str:
        aps = [trial.ap for one, seed in self.wanted if (trial := self.kept.done(_name(one, seed))) is not None]
        return f"AP {100 * min(aps):.1f} to {100 * max(aps):.1f} %" if aps else "none without failure"


def _name(one: SampledArchitecture, seed: int) -> str:
    """Of a training, in the journal and as a folder: what was trained, and not only what it is called."""
    return f"{one.name}-{one.architecture.digest()}-seed{seed}"


def _file(folder: Path, one: SampledArchitecture) -> str:
    """The architecture as a file that a training can take."""
    path = folder / RUNS / f"{one.name}-{one.architecture.digest()}.yaml"
    if not path.exists():
        write_atomic(path, one.architecture.to_yaml())
    return str(path)
