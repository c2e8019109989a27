"""The interface of workers, the result of a job, and the versions that must agree."""

from __future__ import annotations

import abc
import platform
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

import workbench
from workbench.errors import BadInput


@dataclass(frozen=True)
class JobResult:
    """A finished job: its key, and its value, or the ``failure`` of its last attempt."""

    key: Hashable
    value: Any = None
    failure: str = ""


class Workers(abc.ABC):
    """A pool: ``start`` jobs, ``wait`` for each. As a context manager it closes itself."""

    count: int
    """Jobs that run at once."""

    @property
    @abc.abstractmethod
    def in_flight(self) -> int:
        """Number of jobs started and not yet returned by ``wait``."""

    def share(self, argument: Any) -> Any:
        """Send a large argument to the workers once; pass the returned handle to ``start`` in its place."""
        return argument

    @abc.abstractmethod
    def start(self, key: Hashable, function: Callable[..., Any], *arguments: Any) -> None:
        """Start a job, or queue it."""

    @abc.abstractmethod
    def wait(self) -> JobResult:
        """The next job that finishes. An exception of the job itself is raised here."""

    @abc.abstractmethod
    def close(self) -> None:
        """Stop running jobs and release the workers."""

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def environment_versions() -> dict[str, str]:
    """Versions that must be equal in the driver and all workers for results to be equal."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"nas": workbench.__version__, "python": python, "numpy": np.__version__}


def run_job(expected: dict[str, str], function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a job in a worker, after a check of the versions."""
    here = environment_versions()
    if here != expected:
        differing = [name for name in here if here[name] != expected[name]]
        versions = ", ".join(f"{name} {here[name]} instead of {expected[name]}" for name in differing)
        raise BadInput(f"node {platform.node()!r} has {versions}: install the same versions on all nodes")
    return function(*arguments)
