"""How processes of one machine find one another: through a file and the loopback device; no network port opens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from torch import distributed

TIMEOUT_S = 1800.0
"""Seconds that a process waits for the others, for instance while the first one evaluates."""


def rendezvous(file: str | Path, rank: int, world: int, backend: str = "gloo", timeout_s: float = TIMEOUT_S) -> None:
    """Become number ``rank`` of the ``world`` processes that know ``file``, which must be new."""
    os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = "lo"
    store = distributed.FileStore(str(file), world)
    distributed.init_process_group(
        backend, store=store, rank=rank, world_size=world, timeout=timedelta(seconds=timeout_s)
    )


def leave_group() -> None:
    """Leave the process group."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def process_group(file: str | Path, rank: int, world: int) -> Iterator[None]:
    """Join the process group by ``rendezvous`` on entry and leave it on exit."""
    rendezvous(file, rank, world)
    try:
        yield
    finally:
        leave_group()
