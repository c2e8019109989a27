"""Jobs in this process, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

from workbench.workers.base import JobResult, Workers


class InProcess(Workers):
    """A queue; ``wait`` runs its first job."""

    count = 1

    def __init__(self) -> None:
        self._queue: deque[tuple[Hashable, Callable[..., Any], tuple[Any, ...]]] = deque()

    @property
    def in_flight(self) -> int:
        return len(self._queue)

    def start(self, key: Hashable, function: Callable[..., Any], *arguments: Any) -> None:
        self._queue.append((key, function, arguments))

    def wait(self) -> JobResult:
        key, function, arguments = self._queue.popleft()
        return JobResult(key, function(*arguments))

    def close(self) -> None:
        self._queue.clear()
