"""Where jobs run: in this process, in processes of a local Ray, or on the nodes of a Ray cluster.

A job is a module-level function and its arguments; its result depends on nothing else. Neither the worker, nor the
order, nor a retry changes a result. Ray is imported when it is asked for.
"""

from __future__ import annotations

from workbench.errors import BadInput
from workbench.workers.base import JobResult as JobResult
from workbench.workers.base import Workers as Workers

MOST_WORKERS = 10_000


def open_workers(count: int | None, address: str | None) -> Workers:
    """This process for None; else a local Ray with ``count`` CPUs, or ``count`` jobs at once at ``address``."""
    if count is None:
        from workbench.workers.in_process import InProcess

        return InProcess()
    from workbench.workers.on_ray import RayWorkers

    return RayWorkers(count, address)


def check_workers(count: int | None, address: str | None) -> None:
    """Check what can be checked without Ray."""
    if count is not None and not 1 <= count <= MOST_WORKERS:
        raise BadInput(f"--workers {count} must be from 1 to {MOST_WORKERS}")
    if address is None:
        return
    if count is None:
        raise BadInput(f"--address {address} says where, not how much: add --workers N, the number of jobs at once")
    check_address(address)


def check_address(address: str) -> None:
    """``auto`` or HOST:PORT."""
    host, colon, port = address.rpartition(":")
    if address != "auto" and not (colon and host and "/" not in host and port.isdecimal() and 0 < int(port) < 65536):
        rule = "auto or HOST:PORT of a running Ray cluster, for instance 10.0.0.5:6379"
        raise BadInput(f"--address {address!r} must be {rule}")
