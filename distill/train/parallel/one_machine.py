"""The process group of workers on one machine, through a file and the loopback device.

Ray Train's own rendezvous is a server that listens on every network device, which a cluster needs and one machine does
not.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.train.backend import Backend
from ray.train.torch import TorchConfig

from distill.train.parallel.rendezvous import leave_group, rendezvous


@dataclass
class OneMachine(TorchConfig):
    """Ray Train's settings for torch, with a ``folder`` that all workers see instead of a server."""

    folder: str = ""

    @property
    def backend_cls(self) -> type[Backend]:
        """The class that starts the process group."""
        return _FileRendezvous


class _FileRendezvous(Backend):
    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Join all workers; every new worker group has a file of its own."""
        file = str(Path(backend_config.folder) / f"meeting-{uuid.uuid4().hex}")
        count, backend, timeout_s = len(worker_group), backend_config.backend, backend_config.timeout_s
        ray.get([
            worker_group.execute_single_async(rank, rendezvous, file, rank, count, backend, timeout_s)
            for rank in range(count)
        ])  # fmt: skip

    def on_shutdown(self, worker_group: Any, backend_config: Any) -> None:
        """Leave the process group."""
        ray.get(worker_group.execute_async(leave_group))
