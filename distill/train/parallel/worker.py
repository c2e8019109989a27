"""A worker of a training on Ray: it prepares the run as the driver did, and trains on its part of every batch.

Only the first worker writes files and reports. It sends progress to the driver's coordinator about once a second, and
receives the request to stop.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from workbench.errors import BadInput
from workbench.locks import InUse
from workbench.workers.base import run_job

if TYPE_CHECKING:
    from distill.train.run import TrainResult
    from workbench.run_folder import RunFolder

REPORT_INTERVAL_S = 1.0
"""Seconds between two reports to the driver, unless one is urgent."""
LOCK_TIMEOUT_S = 60.0
"""Seconds that the workers of a killed driver may take to release the run folder."""


class TrainableRun(Protocol):
    """A prepared training; see ``distill.prepare.PreparedRun``."""

    settings: dict[str, Any]

    def open_folder(self) -> RunFolder: ...

    def train(self, log: Callable[..., None], *, asked_to_stop: Callable[[], bool] = ...) -> TrainResult: ...


@dataclass(frozen=True)
class WorkerJob:
    """What every worker receives."""

    prepare: Callable[[], TrainableRun]
    settings: dict[str, Any]
    """Of the run, as the driver prepared it."""
    device: str
    cpus: int
    working_folder: str
    """The driver's."""
    versions: dict[str, str]


class Coordinator:
    """Exchanges messages between driver and workers; a Ray actor on the driver's node."""

    def __init__(self) -> None:
        self._messages: list[tuple[str, bool]] = []
        self._failure = ""
        self._stop = False
        self._starts = 0

    def start(self) -> int:
        """Count a start of the workers; the number of starts so far."""
        self._starts += 1
        return self._starts

    def report(self, text: str = "", force: bool = False) -> bool:
        """Add ``text`` to the messages, unless it is empty; whether the driver asks the run to stop."""
        if text:
            self._messages.append((text, force))
        return self._stop

    def fail(self, reason: str) -> None:
        """Record an error that a restart would not fix."""
        self._failure = self._failure or reason

    def poll(self, stop: bool) -> tuple[list[tuple[str, bool]], str]:
        """Messages since the last call, and a failure; the driver's call, which may ask to ``stop``."""
        self._stop = self._stop or stop
        messages, self._messages = self._messages, []
        return messages, self._failure


class _CoordinatorClient:
    """The coordinator as a worker calls it."""

    def __init__(self, coordinator: Any) -> None:
        import ray

        self._ray, self._coordinator = ray, coordinator
        self._reported_at = 0.0
        self._stop = False

    def log(self, text: str, force: bool = False) -> None:
        """Report ``text``, unless the last report is too recent."""
        if force or time.monotonic() - self._reported_at >= REPORT_INTERVAL_S:
            self._report(text, force)

    def stop(self) -> bool:
        """Whether the driver asks to stop, at most a second out of date."""
        if time.monotonic() - self._reported_at >= REPORT_INTERVAL_S:
            self._report("", False)
        return self._stop

    def start(self) -> int:
        """Count a start of the workers; the number of starts so far."""
        return int(self._ray.get(self._coordinator.start.remote()))

    def fail(self, reason: str) -> None:
        """Report an error that a restart would not fix."""
        self._ray.get(self._coordinator.fail.remote(reason))

    def _report(self, text: str, force: bool) -> None:
        self._stop = self._ray.get(self._coordinator.report.remote(text, force))
        self._reported_at = time.monotonic()


def worker_main(config: dict[str, Any]) -> TrainResult | None:
    """Ray Train's training function. The first worker returns the result; None if the driver asked to stop."""
    coordinator = _CoordinatorClient(config["coordinator"])
    job: WorkerJob = config["job"]
    try:
        result: TrainResult | None = run_job(job.versions, train_part, job, coordinator)
        return result
    except BadInput as error:
        coordinator.fail(str(error))
        return None
    except KeyboardInterrupt:
        return None


def train_part(job: WorkerJob, coordinator: _CoordinatorClient) -> TrainResult:
    """This worker's part of the run. All workers must find the same data and network as the driver."""
    import torch

    from distill.train.parallel.group import joined
    from workbench.workers.on_ray import RETRIES

    os.chdir(job.working_folder)
    if job.device == "cpu":
        torch.set_num_threads(job.cpus)
    prepared = job.prepare()
    for name, value in job.settings.items():
        if prepared.settings.get(name) != value:
            raise BadInput(
                f"node {platform.node()!r} finds {name}={prepared.settings.get(name)!r}, not {value!r} as the driver "
                "did: all nodes must see the same files"
            )
    with joined() as group:
        if not group.writes:
            return prepared.train(lambda text, force=False: None)
        starts = coordinator.start()
        if starts > 1:
            restarts = f"{starts - 1} of {RETRIES} times"
            coordinator.log(f"a worker died: all of them restart from the last state ({restarts})", force=True)
        _wait_for_lock(prepared)
        return prepared.train(coordinator.log, asked_to_stop=coordinator.stop)


def _wait_for_lock(prepared: TrainableRun) -> None:
    """Wait until the workers of an earlier group, which may still be exiting, release the run folder."""
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            prepared.open_folder().close()
            return
        except InUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
