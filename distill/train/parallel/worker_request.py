"""Training in several processes, of this machine or of a Ray cluster: what was asked for, and whether it can be had.

Ray Train starts the processes and starts them anew when one dies; what they do together is ``distill.train.parallel``'s. The run's own
state is the only checkpoint, so a run begun by some processes may go on with another number of them, or with one and without Ray.
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.errors import BadInput
from workbench.workers import check_workers


@dataclass(frozen=True, slots=True)
class WorkerRequest:
    """``workers`` processes, each with ``cpus`` and ``gpus`` of its own, on a Ray of this machine or on the cluster at ``address``."""

    workers: int
    gpus: int = 0
    cpus: int = 1
    address: str | None = None

    @property
    def data_workers(self) -> int:
        """Processes that read images for each of them, unless told: one CPU is its own."""
        return self.cpus - 1

    @property
    def device(self) -> str:
        """What each of them calculates on."""
        return "cuda" if self.gpus else "cpu"


def worker_request(workers: int | None, gpus: int | None, cpus: int | None, address: str | None) -> WorkerRequest | None:
    """What the options of a command ask for; None without ``--workers``."""
    if workers is None:
        for option, value in (("--gpus-per-worker", gpus), ("--cpus-per-worker", cpus), ("--address", address)):
            if value is not None:
                raise BadInput(f"{option} {value} says what the workers have, not how many there are: add --workers N")
        return None
    check_workers(workers, address)
    if gpus not in (None, 0, 1):
        raise BadInput(f"--gpus-per-worker {gpus} must be 0 or 1: a worker calculates on one GPU; for more of them, more --workers")
    if cpus is not None and cpus < 1:
        raise BadInput(f"--cpus-per-worker {cpus} must be at least 1")
    return WorkerRequest(workers, gpus or 0, cpus or 1, address)


def check_spread_device(spread: WorkerRequest, device: str) -> None:
    """Refuse what this machine lacks; what a cluster has is asked there."""
    import torch

    if device == "cuda" and not spread.gpus:
        raise BadInput("--device cuda with --workers: add --gpus-per-worker 1")
    there = torch.cuda.device_count()
    if spread.gpus and spread.address is None and spread.workers > there:
        wanted = f"--workers {spread.workers} --gpus-per-worker {spread.gpus} needs {spread.workers} GPUs and torch sees {there} here"
        raise BadInput(f"{wanted}: leave out --gpus-per-worker to train on CPUs, or join a cluster that has them with --address")


def check_batch(spread: WorkerRequest, batch: int) -> None:
    """Every worker has equally many images of every batch."""
    if batch % spread.workers:
        near = batch // spread.workers * spread.workers
        fitting = " or ".join(str(one) for one in (near, near + spread.workers) if one)
        raise BadInput(f"a batch of {batch} images cannot be shared evenly by --workers {spread.workers}: --batch {fitting} can")
