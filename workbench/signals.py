"""Signals seen whatever handler took them.

A training handles SIGINT and SIGTERM itself, and Python drops a ``KeyboardInterrupt`` that is raised in a finalizer.
Callers with more work to do afterwards still have to see the signal.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def watch_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGINT or SIGTERM has arrived since, whatever handler took it."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    received: list[int] = []

    def interrupted() -> bool:
        with suppress(BlockingIOError):  # nothing new
            received.extend(os.read(reader, 1024))
        return any(number in received for number in ENDING)

    try:
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    except ValueError:
        before = None  # only the main thread receives signals
    try:
        yield interrupted
    finally:
        if before is not None:
            signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)
