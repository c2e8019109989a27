"""The driver of a training on Ray: Ray Train starts and restarts the workers, the driver shows their progress."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.train.parallel.worker import Coordinator, WorkerJob, worker_main
from workbench.errors import BadInput, missing_package
from workbench.workers.on_ray import NODES_S, RETRIES, RayWorkers

if TYPE_CHECKING:
    from distill.train.parallel.worker_request import WorkerRequest
    from distill.train.run import TrainResult

POLL_INTERVAL_S = 0.3
"""Seconds between two polls of the workers' messages."""
ENVIRONMENT = {"RAY_CHDIR_TO_TRIAL_DIR": "0", "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600"}
"""Ray Train's settings: paths stay relative to the driver's folder, and a busy machine may be slow to start workers."""
FOLDER = "ray"
"""Ray Train's own files during a run, in the run folder. Resuming needs none of them."""


def train_on_ray(
    job: WorkerJob, workers: WorkerRequest, run_folder: Path, log: Callable[[str, bool], None]
) -> TrainResult:
    """Train ``job`` with ``workers``. Ctrl-C lets the workers write their state; a second one ends them at once."""
    scratch = (run_folder / FOLDER).resolve()
    with RayWorkers(workers.workers, workers.address, workers.cpus, workers.gpus):
        try:
            _check_capacity(workers)
            shutil.rmtree(scratch, ignore_errors=True)
            return _RayTraining(job, workers, scratch).result(log)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _check_capacity(workers: WorkerRequest) -> None:
    """Refuse more workers than the cluster has resources for; its nodes may still be starting."""
    import ray

    deadline = time.monotonic() + NODES_S
    while True:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        capacity = sum(_workers_per_node(node, workers) for node in nodes)
        if capacity >= workers.workers:
            return
        if time.monotonic() > deadline:
            raise BadInput(
                f"the cluster has room for {capacity} workers of {workers.cpus} CPUs and {workers.gpus} GPUs, not for "
                f"{workers.workers}: start nodes with `ray start --address HOST:PORT`, or ask for fewer --workers"
            )
        time.sleep(1.0)


def _workers_per_node(resources: dict[str, float], workers: WorkerRequest) -> int:
    by_cpus = resources.get("CPU", 0) // workers.cpus
    by_gpus = resources.get("GPU", 0) // workers.gpus if workers.gpus else workers.workers
    return int(min(by_cpus, by_gpus))


class _RayTraining:
    """Runs Ray Train's ``fit`` in a thread, because the main thread handles Ctrl-C and the workers' messages."""

    def __init__(self, job: WorkerJob, workers: WorkerRequest, scratch: Path) -> None:
        try:
            import ray
            from ray.train import FailureConfig, RunConfig, ScalingConfig
            from ray.train.torch import TorchConfig, TorchTrainer
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            from distill.train.parallel.one_machine import OneMachine
            from distill.train.parallel.rendezvous import TIMEOUT_S
        except ImportError as error:
            raise missing_package("training in several processes", error.name or "ray[train]", "ray") from error
        self._ray, self._workers = ray, workers
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor: Any = ray.remote(Coordinator)
        self._coordinator = actor.options(num_cpus=0, scheduling_strategy=here).remote()
        backend, timeout_s = "nccl" if workers.gpus else "gloo", int(TIMEOUT_S)
        torch_config = TorchConfig(backend, timeout_s=timeout_s)
        if not workers.address:
            torch_config = OneMachine(backend, timeout_s=timeout_s, folder=str(scratch))
        resources = {"CPU": workers.cpus, **({"GPU": workers.gpus} if workers.gpus else {})}
        main: Any = worker_main
        self._trainer = TorchTrainer(
            main,
            train_loop_config={"job": job, "coordinator": self._coordinator},
            torch_config=torch_config,
            scaling_config=ScalingConfig(
                num_workers=workers.workers, use_gpu=workers.gpus > 0, resources_per_worker=resources
            ),
            run_config=RunConfig(
                name=scratch.name, storage_path=str(scratch.parent),
                failure_config=FailureConfig(max_failures=RETRIES),
            ),
        )  # fmt: skip
        self._fit_result: Any = None
        self._error: BaseException | None = None

    def result(self, log: Callable[[str, bool], None]) -> TrainResult:
        """Wait for the end, and show the workers' messages meanwhile."""
        from distill.train.hooks.stop import interruptible

        thread = threading.Thread(target=self._fit, daemon=True, name="nas-fit")
        asked_to_stop = False
        with _environment(ENVIRONMENT), interruptible() as interrupted:
            thread.start()
            while thread.is_alive():
                thread.join(POLL_INTERVAL_S)
                if interrupted() and not asked_to_stop:
                    asked_to_stop = True
                    log("stopping after this step; Ctrl-C again ends at once", True)
                self._show_messages(log, asked_to_stop)
            self._show_messages(log, asked_to_stop)
        if self._error is not None:
            raise self._translated_error() from self._error
        if self._fit_result.return_value is None:
            assert asked_to_stop, "the workers ended early without a reason"
            raise KeyboardInterrupt
        result: TrainResult = self._fit_result.return_value
        return result

    def _fit(self) -> None:
        try:
            self._fit_result = self._trainer.fit()
        except BaseException as error:
            self._error = error

    def _show_messages(self, log: Callable[[str, bool], None], stop: bool) -> None:
        try:
            messages, failure = self._ray.get(self._coordinator.poll.remote(stop))
        except self._ray.exceptions.RayError as error:
            reason = f"{type(error).__name__}, {' '.join(str(error).split())[:300]}"
            raise BadInput(f"Ray failed ({reason}): the same command resumes from the last state") from error
        for text, force in messages:
            log(text, force)
        if failure:
            raise BadInput(failure)

    def _translated_error(self) -> BaseException:
        """The error of Ray Train, as one line where workers failed again and again."""
        from ray.train import WorkerGroupError

        error = self._error
        assert error is not None
        if not isinstance(error, WorkerGroupError):
            return error
        reasons = "; ".join(
            f"worker {rank}: {type(failure).__name__}, {' '.join(str(failure).split())[-300:]}"
            for rank, failure in sorted(error.worker_failures.items())
        )
        return BadInput(
            f"{self._workers.workers} workers were started {RETRIES + 1} times and did not finish ({reasons[:700]}): "
            "fix the cause, or take another number of --workers; the same command resumes from the last state"
        )


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Environment variables that are set inside of it."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
