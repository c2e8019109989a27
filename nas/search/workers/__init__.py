"""Who does a search's work: this process, processes of a local Ray, or the nodes of a Ray cluster.

A job is a module-level function and its arguments, and its result depends on nothing else. So it does not matter who
does it, in which order, or how often it was begun: a worker that dies costs the time of its job and changes no answer.
Ray is imported when it is asked for.
"""

from __future__ import annotations

import abc
import platform
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

import nas
from search_spaces.errors import BadInput


@dataclass(frozen=True)
class Done:
    """One job that ended: its key, and its value or the ``failure`` that kept every attempt from ending."""

    key: Hashable
    value: Any = None
    failure: str = ""


class Workers(abc.ABC):
    """``start`` jobs while ``free``, ``wait`` for each; as a context manager it closes itself."""

    count: int
    """Jobs that run at once."""

    @property
    @abc.abstractmethod
    def in_flight(self) -> int:
        """Jobs started and not yet handed over by ``wait``."""

    def share(self, thing: Any) -> Any:
        """Hand every worker a large argument once: what is returned stands for it in ``start``."""
        return thing

    @abc.abstractmethod
    def start(self, key: Hashable, function: Callable[..., Any], *arguments: Any) -> None:
        """Begin one job, or put it last in the queue."""

    @abc.abstractmethod
    def wait(self) -> Done:
        """The next job that ends, whichever it is. An exception of the job itself is raised here."""

    @abc.abstractmethod
    def close(self) -> None:
        """Stop what still runs and let go of the workers."""

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


MOST_WORKERS = 10_000


def open_workers(count: int | None, address: str | None) -> Workers:
    """This process where nothing was asked for; else a local Ray with ``count`` CPUs, or ``count`` jobs at once on the cluster at ``address``."""
    if count is None:
        from nas.search.workers.in_process import InProcess

        return InProcess()
    from nas.search.workers.on_ray import RayWorkers

    return RayWorkers(count, address)


def check_workers(count: int | None, address: str | None) -> None:
    """Refuse what cannot be opened, as far as that can be told without Ray."""
    if count is not None and not 1 <= count <= MOST_WORKERS:
        raise BadInput(f"--workers {count} must be from 1 to {MOST_WORKERS}")
    if address is None:
        return
    if count is None:
        raise BadInput(f"--address {address} says where, not how much: add --workers N, so many jobs run at once")
    check_address(address)


def check_address(address: str) -> None:
    """``auto`` or HOST:PORT."""
    host, colon, port = address.rpartition(":")
    if address != "auto" and not (colon and host and "/" not in host and port.isdecimal() and 0 < int(port) < 65536):
        raise BadInput(f"--address {address!r} must be auto or HOST:PORT of a running Ray cluster, for instance 10.0.0.5:6379")


def versions() -> dict[str, str]:
    """What must be alike in the driver and in every worker for answers to be alike."""
    return {"nas": nas.__version__, "python": ".".join(platform.python_version_tuple()[:2]), "numpy": np.__version__}


def call(expected: dict[str, str], function: Callable[..., Any], *arguments: Any) -> Any:
    """Do one job, wherever this process is, after a look at the versions."""
    here = versions()
    if here != expected:
        told = ", ".join(f"{name} {here[name]} instead of {expected[name]}" for name in here if here[name] != expected[name])
        raise BadInput(f"node {platform.node()!r} has {told}: install the same versions on all nodes")
    return function(*arguments)
