"""What workers are: ``Workers``, the jobs they end, and the versions that must agree."""

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
    def wait(self) -> JobResult:
        """The next job that ends, whichever it is. An exception of the job itself is raised here."""

    @abc.abstractmethod
    def close(self) -> None:
        """Stop what still runs and let go of the workers."""

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def environment_versions() -> dict[str, str]:
    """What must be alike in the driver and in every worker for answers to be alike."""
    return {"nas": workbench.__version__, "python": ".".join(platform.python_version_tuple()[:2]), "numpy": np.__version__}


def run_job(expected: dict[str, str], function: Callable[..., Any], *arguments: Any) -> Any:
    """Do one job, wherever this process is, after a look at the versions."""
    here = environment_versions()
    if here != expected:
        told = ", ".join(f"{name} {here[name]} instead of {expected[name]}" for name in here if here[name] != expected[name])
        raise BadInput(f"node {platform.node()!r} has {told}: install the same versions on all nodes")
    return function(*arguments)
