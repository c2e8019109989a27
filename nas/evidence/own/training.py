"""Train sampled architectures briefly by one recipe, and write them as a folder of trained detectors.

Every training depends on its request alone, runs on one thread and is recorded in the folder's journal, so the result
depends neither on where it ran nor on how often the command was interrupted. Trainings use an easy synthetic dataset
unless data are named.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.data.formats.readers import open_pair
from distill.prepare import prepare
from distill.request import TrainRequest
from distill.study.subruns import SubRuns, sub_run_result
from nas.budgets import parse_budget
from nas.devices.profile import load_device
from nas.evidence.own.design import designed_architectures
from nas.evidence.own.design_file import load_design
from nas.evidence.own.export import FILES, SeedRun, write_evidence
from nas.evidence.own.images import write_easy_dataset
from nas.evidence.own.request import EvidenceRequest
from nas.evidence.own.sampling import SampledArchitecture, sample_architectures, shrink_space
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
STAND_IN = "damo-yolo-t"
"""Model with which the request is checked before the first training; the architectures are of its family."""


def train_evidence(request: EvidenceRequest, progress: Progress) -> None:
    """Sample and train what ``request`` asks for, or resume; afterwards ``read_trained`` reads the folder."""
    import torch

    import workbench

    request.check()
    seed, synthetic = request.training.seed, not request.training.data
    easy = request.folder / f"pictures-{request.images}-{request.input_px}px-seed{seed}"
    data = str(easy) if synthetic else request.training.data
    architectures = _architectures(request)
    if synthetic and not easy.exists():
        write_easy_dataset(easy, request.images, seed, request.input_px, progress.show)
    classes = len(open_pair(data)[0].classes)
    progress.show("finding architectures of equal latency", force=True)
    source, sampled = architectures(classes, progress.show)
    training = dataclasses.replace(request.training, data=data, input_px=request.input_px, quiet=True)
    checked = prepare(dataclasses.replace(training, model=STAND_IN))  # errors surface before the first training
    shared = {key: value for key, value in checked.settings.items() if key not in ("model", "weights")}
    settings = {
        "kind": "bench-scores --train",
        **source,
        "images": request.images if synthetic else None,
        **shared,
        "data": "easy synthetic" if synthetic else Path(data).name,
    }
    versions = {"nas": workbench.__version__, "torch": str(torch.__version__)}
    folder = RunFolder.open(request.folder, settings, versions, PRODUCTS, training.fresh)

    def write(runs: Mapping[tuple[str, int], SeedRun]) -> None:
        write_evidence(request.folder, sampled, runs, source["latency_of"], request.input_px)

    try:
        with open_workers(None if request.jobs == 1 else request.jobs, None) as workers:
            write(_Trainings(folder, training, _plan(request, sampled), workers, progress, write).run())
    finally:
        progress.done()
        folder.close()


def _architectures(
    request: EvidenceRequest,
) -> Callable[[int, Callable[[str], None]], tuple[dict[str, Any], list[SampledArchitecture]]]:
    """A function from the number of classes (and a log) to the architectures, with the settings that they follow from.

    Wrong names and files are refused before it is called.
    """
    device = load_device(request.device)
    if request.design is not None:
        design = load_design(request.design)

        def of_design(
            classes: int, log: Callable[[str], None]
        ) -> tuple[dict[str, Any], list[SampledArchitecture]]:
            source = {"design": design.name, "design_digest": design.digest, "latency_of": device.name}
            return source, designed_architectures(design, device, request.input_px, request.count, classes, log)

        return of_design
    whole = [load_space(name) for name in request.spaces]
    budget = None if request.budget is None else parse_budget(request.budget)

    def of_spaces(classes: int, log: Callable[[str], None]) -> tuple[dict[str, Any], list[SampledArchitecture]]:
        spaces = [shrink_space(space, request.shrink, classes) for space in whole]
        seed = request.training.seed
        band, sampled = sample_architectures(spaces, device, request.input_px, budget, request.count, seed)
        source = {
            "spaces": list(request.spaces), "shrink": request.shrink, "latency_of": device.name, "budget": str(band),
        }  # fmt: skip
        return source, sampled

    return of_spaces


def _plan(request: EvidenceRequest, sampled: Sequence[SampledArchitecture]) -> list[tuple[SampledArchitecture, int]]:
    """Architecture and seed of every training: all architectures with the first seed, then with the next."""
    first = request.training.seed
    return [
        (arch, first + step)
        for step in range(request.seeds)
        for arch in sampled[: request.repeat if step else None]
    ]


def train_job(request: TrainRequest, below: str, working_folder: str) -> dict[str, Any]:
    """One training: its result as it is recorded, or the ``failure``."""
    if os.getcwd() != working_folder:
        os.chdir(working_folder)
    run = prepare(request)
    with one_thread():
        try:
            return sub_run_result(run.run(), f"{below}/{request.name}").to_dict()
        except (BadInput, RuntimeError, MemoryError, ArithmeticError) as error:
            return {"failure": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


class _Trainings:
    """Keeps as many trainings running as there are workers."""

    def __init__(
        self,
        folder: RunFolder,
        request: TrainRequest,
        plan: Sequence[tuple[SampledArchitecture, int]],
        workers: Workers,
        progress: Progress,
        write: Callable[[Mapping[tuple[str, int], SeedRun]], None],
    ) -> None:
        """``write`` takes the finished runs after every training, so that the folder can be read as it grows."""
        self.write = write
        self.folder, self.request, self.plan = folder, request, plan
        self.workers, self.progress = workers, progress
        self.runs = SubRuns(folder, RUNS)
        self.failures: dict[str, str] = {}

    def run(self) -> dict[tuple[str, int], SeedRun]:
        """Every training by architecture and seed. A failed one has its reason, and is tried again by the next call."""
        waiting = [(arch, seed) for arch, seed in self.plan if self.runs.done(_key(arch, seed)) is None][::-1]
        total, began = len(waiting), time.monotonic()
        with watch_signals() as interrupted:
            while waiting or self.workers.in_flight:
                if interrupted():
                    raise KeyboardInterrupt
                while waiting and self.workers.in_flight < self.workers.count:
                    self._start(*waiting.pop())
                done = self.workers.wait()
                self._record(str(done.key), done.value or {}, done.failure)
                finished = {key: run for key, run in self._runs().items() if run.result is not None}
                if finished:
                    self.write(finished)
                left = len(waiting) + self.workers.in_flight
                minutes = (time.monotonic() - began) / (total - left) * left / 60
                count = f"{len(self.plan) - left} of {len(self.plan)} trainings"
                self.progress.show(f"{count}, {self._range_text()}, about {minutes:.0f} min left", force=True)
        return self._runs()

    def _runs(self) -> dict[tuple[str, int], SeedRun]:
        return {
            (arch.name, seed): SeedRun(seed, self.runs.done(_key(arch, seed)), self.failures.get(_key(arch, seed), ""))
            for arch, seed in self.plan
        }

    def _start(self, arch: SampledArchitecture, seed: int) -> None:
        key = _key(arch, seed)
        self.progress.show(f"training {arch.name}, seed {seed}")
        model, runs = _write_architecture(self.folder.folder, arch), str(self.folder.folder / RUNS)
        request = dataclasses.replace(
            self.request, model=model, seed=seed, name=key, runs=runs, fresh=False,
            input_px=arch.architecture.input_px or self.request.input_px,
        )  # fmt: skip
        self.workers.start(key, train_job, request, RUNS, os.getcwd())

    def _record(self, key: str, record: dict[str, Any], failure: str) -> None:
        failure = failure or record.get("failure", "")
        if failure:
            self.failures[key] = failure
            self.progress.show(f"{key} failed: {failure}", force=True)
            return
        self.folder.append(key, record)
        self.runs.drop_state(key)

    def _range_text(self) -> str:
        results = (self.runs.done(_key(arch, seed)) for arch, seed in self.plan)
        aps = [result.ap for result in results if result is not None]
        return f"AP {100 * min(aps):.1f} to {100 * max(aps):.1f} %" if aps else "all failed so far"


def _key(arch: SampledArchitecture, seed: int) -> str:
    """Name of a training in the journal and of its folder; the digest tells architectures of one name apart."""
    return f"{arch.name}-{arch.architecture.digest()}-seed{seed}"


def _write_architecture(folder: Path, arch: SampledArchitecture) -> str:
    """Write the architecture as a file for training; its path."""
    path = folder / RUNS / f"{arch.name}-{arch.architecture.digest()}.yaml"
    if not path.exists():
        write_atomic(path, arch.architecture.to_yaml())
    return str(path)
