"""The driver's side: Ray Train starts the workers and starts them anew when one dies; here their words are shown and their end is waited for."""

from __future__ import annotations

import dataclasses
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.train.parallel.worker import Desk, Order, work
from workbench.errors import BadInput, missing_package
from workbench.workers.base import environment_versions
from workbench.workers.on_ray import NODES_S, RETRIES, RayWorkers

if TYPE_CHECKING:
    from distill.study.request import PreparedRun
    from distill.train.parallel.worker_request import WorkerRequest
    from distill.train.run import TrainResult

LOOK_S = 0.3
"""Seconds between two looks at what the workers say."""
SETTINGS = {"RAY_CHDIR_TO_TRIAL_DIR": "0", "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600"}
"""Ray Train's by the environment: paths stay relative to the driver's folder, and a busy machine may take its time to start workers."""
FOLDER = "ray"
"""Where Ray Train keeps its notes while a run goes on, in the run's folder. It holds nothing that going on needs."""


def train_on_ray(prepared: PreparedRun, log: Callable[[str, bool], None]) -> TrainResult:
    """Do what was prepared in ``prepared.request.spread``. Ctrl-C lets the workers write their state; a second one ends them at once."""
    request, spread = prepared.request, prepared.request.spread
    assert spread is not None
    prepared.open_folder().close()  # what cannot be gone on with is refused now, and --fresh is obeyed once
    scratch = (Path(request.runs) / prepared.name / FOLDER).resolve()
    told = dataclasses.replace(request, spread=None, fresh=False, device=spread.device, data_workers=spread.data_workers if request.data_workers is None else request.data_workers)
    order = Order(told, prepared.settings, spread.cpus, os.getcwd(), environment_versions())
    with RayWorkers(spread.workers, spread.address, spread.cpus, spread.gpus):
        try:
            _check_room(spread)
            shutil.rmtree(scratch, ignore_errors=True)
            return _Fitting(order, spread, scratch).outcome(log)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _check_room(spread: WorkerRequest) -> None:
    """Refuse more workers than the cluster has room for; its nodes may still be on their way."""
    import ray

    deadline = time.monotonic() + NODES_S
    while True:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        room = sum(int(min(node.get("CPU", 0) // spread.cpus, node.get("GPU", 0) // spread.gpus if spread.gpus else spread.workers)) for node in nodes)
        if room >= spread.workers:
            return
        if time.monotonic() > deadline:
            raise BadInput(
                f"the cluster has room for {room} workers of {spread.cpus} CPUs and {spread.gpus} GPUs, not for {spread.workers}: "
                "start nodes with `ray start --address HOST:PORT`, or ask for fewer --workers"
            )
        time.sleep(1.0)


class _Fitting:
    """Ray Train's fit in a thread of its own, because this one listens to Ctrl-C and to what the workers say."""

    def __init__(self, order: Order, spread: WorkerRequest, scratch: Path) -> None:
        try:
            import ray
            from ray.train import FailureConfig, RunConfig, ScalingConfig
            from ray.train.torch import TorchConfig, TorchTrainer
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            from distill.train.parallel.one_machine import OneMachine
            from distill.train.parallel.rendezvous import TIMEOUT_S
        except ImportError as error:
            raise missing_package("training in several processes", error.name or "ray[train]", "ray") from error
        self._ray, self._spread = ray, spread
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        desk: Any = ray.remote(Desk)
        self._desk = desk.options(num_cpus=0, scheduling_strategy=here).remote()
        backend = "nccl" if spread.gpus else "gloo"
        torch_config = TorchConfig(backend, timeout_s=int(TIMEOUT_S)) if spread.address else OneMachine(backend, timeout_s=int(TIMEOUT_S), folder=str(scratch))
        resources = {"CPU": spread.cpus, **({"GPU": spread.gpus} if spread.gpus else {})}
        train: Any = work
        self._trainer = TorchTrainer(
            train, train_loop_config={"order": order, "desk": self._desk}, torch_config=torch_config,
            scaling_config=ScalingConfig(num_workers=spread.workers, use_gpu=spread.gpus > 0, resources_per_worker=resources),
            run_config=RunConfig(name=scratch.name, storage_path=str(scratch.parent), failure_config=FailureConfig(max_failures=RETRIES)),
        )  # fmt: skip
        self._found: Any = None
        self._error: BaseException | None = None

    def outcome(self, log: Callable[[str, bool], None]) -> TrainResult:
        """Wait for the end, and show what is said meanwhile."""
        from distill.train.hooks.stop import interruptible

        before = {name: os.environ.get(name) for name in SETTINGS}
        os.environ.update(SETTINGS)
        thread = threading.Thread(target=self._fit, daemon=True, name="nas-fit")
        try:
            with interruptible() as stop:
                thread.start()
                asked = False
                while thread.is_alive():
                    thread.join(LOOK_S)
                    if stop() and not asked:
                        asked = True
                        log("stopping after this step; Ctrl-C again ends at once", True)
                    self._listen(log, asked)
                self._listen(log, asked)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        if self._error is not None:
            raise self._told() from self._error
        if self._found.return_value is None:
            assert asked, "the workers ended early without a reason"
            raise KeyboardInterrupt
        found: TrainResult = self._found.return_value
        return found

    def _fit(self) -> None:
        try:
            self._found = self._trainer.fit()
        except BaseException as error:
            self._error = error

    def _listen(self, log: Callable[[str, bool], None], stop: bool) -> None:
        try:
            said, failure = self._ray.get(self._desk.read.remote(stop))
        except self._ray.exceptions.RayError as error:
            raise BadInput(f"Ray broke off ({type(error).__name__}, {' '.join(str(error).split())[:300]}): the same command goes on from the last state") from error
        for text, force in said:
            log(text, force)
        if failure:
            raise BadInput(failure)

    def _told(self) -> BaseException:
        """The error to raise for Ray Train's: in one line where workers failed again and again."""
        from ray.train import WorkerGroupError

        error = self._error
        assert error is not None
        if not isinstance(error, WorkerGroupError):
            return error
        reasons = [f"worker {rank}: {type(one).__name__}, {' '.join(str(one).split())[-300:]}" for rank, one in sorted(error.worker_failures.items())]
        return BadInput(
            f"{self._spread.workers} workers were begun {RETRIES + 1} times and did not get through ({'; '.join(reasons)[:700]}): mend that, or take another "
            "number of --workers; the same command goes on from the last state"
        )
