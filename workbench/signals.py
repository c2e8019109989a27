"""Ctrl-C that somebody else has taken, or that was lost.

A training that is about to end takes note of the signal and ends as it would have, and Python drops a ``KeyboardInterrupt`` that it raises
while it frees an object. Whoever has more to do afterwards must hear of it all the same.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def watch_signals() -> Iterator[Callable[[], bool]]:
    """Inside, the callable says whether SIGINT or SIGTERM has come, whatever handler took it."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    got: list[int] = []

    def asked() -> bool:
        with suppress(BlockingIOError):  # nothing new
            got.extend(os.read(reader, 1024))
        return any(number in got for number in ENDING)

    try:
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    except ValueError:
        before = None  # not the main thread, which is the only one that hears signals
    try:
        yield asked
    finally:
        if before is not None:
            signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)
