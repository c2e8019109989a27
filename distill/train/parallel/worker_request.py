"""Training in several processes, on this machine or a Ray cluster: what is asked for, and whether it is available.

Ray Train starts the processes and restarts them when one dies; ``distill.train.parallel`` does the rest. The run's own
state is the only checkpoint, so a run can be resumed with another number of processes, or with one and without Ray.
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.errors import BadInput
from workbench.workers import check_workers


@dataclass(frozen=True, slots=True)
class WorkerRequest:
    """``workers`` processes with ``cpus`` and ``gpus`` each, on a local Ray or on the cluster at ``address``."""

    workers: int
    gpus: int = 0
    cpus: int = 1
    address: str | None = None

    @property
    def data_workers(self) -> int:
        """Default number of processes that read images for each worker, which needs one CPU itself."""
        return self.cpus - 1

    @property
    def device(self) -> str:
        """The device of each worker."""
        return "cuda" if self.gpus else "cpu"


def worker_request(
    workers: int | None, gpus: int | None, cpus: int | None, address: str | None
) -> WorkerRequest | None:
    """The request from command line options; None without ``--workers``."""
    if workers is None:
        for option, value in (("--gpus-per-worker", gpus), ("--cpus-per-worker", cpus), ("--address", address)):
            if value is not None:
                raise BadInput(f"{option} {value} has no effect without workers: add --workers N")
        return None
    check_workers(workers, address)
    if gpus not in (None, 0, 1):
        raise BadInput(
            f"--gpus-per-worker {gpus} must be 0 or 1: a worker uses one GPU; for more of them, more --workers"
        )
    if cpus is not None and cpus < 1:
        raise BadInput(f"--cpus-per-worker {cpus} must be at least 1")
    return WorkerRequest(workers, gpus or 0, cpus or 1, address)


def check_worker_device(workers: WorkerRequest, device: str) -> None:
    """Refuse GPUs that this machine does not have; a cluster is asked when it is joined."""
    import torch

    if device == "cuda" and not workers.gpus:
        raise BadInput("--device cuda with --workers: add --gpus-per-worker 1")
    available = torch.cuda.device_count()
    if workers.gpus and workers.address is None and workers.workers > available:
        raise BadInput(
            f"--workers {workers.workers} --gpus-per-worker {workers.gpus} needs {workers.workers} GPUs and torch sees "
            f"{available} here: leave out --gpus-per-worker to train on CPUs, or join a cluster that has them with "
            "--address"
        )


def check_batch(workers: WorkerRequest, batch: int) -> None:
    """Refuse a batch that cannot be split evenly."""
    if batch % workers.workers:
        below = batch // workers.workers * workers.workers
        fitting = " or ".join(str(size) for size in (below, below + workers.workers) if size)
        raise BadInput(
            f"a batch of {batch} images cannot be split evenly between --workers {workers.workers}: --batch {fitting} "
            "can"
        )
