"""What a worker process does: one job after another, until its parent ends."""

from __future__ import annotations

import gc
import os
import signal
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from workbench.errors import BadInput

LoadFunction = Callable[[Any, np.ndarray], Any]
"""Does one job: takes its description and a slot for its pixels, uint8 ``[bytes]``, and returns what is sent back."""

CHECK_S = 2.0
"""Seconds between two checks whether the parent still lives."""


def run_worker(
    task: LoadFunction, pipe: Connection, others: list[Connection], parent: int, slot_of: Callable[[int], np.ndarray]
) -> None:
    """Answer the jobs that come through ``pipe`` until the parent ends or closes it. Ctrl-C is left to the parent.

    Args:
        others: Pipe ends of the parent that the worker inherited and must close.
        parent: Process id of the parent.
        slot_of: The shared memory of a slot by its number.
    """
    import cv2
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # a pipe end that a sibling holds would keep the pipe open after the parent's end
    for other in others:
        other.close()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    gc.freeze()
    try:
        while True:
            while not pipe.poll(CHECK_S):
                if os.getppid() != parent:
                    return
            number, slot, job = pipe.recv()
            try:
                answer = (number, "done", task(job, slot_of(slot)))
            except BadInput as error:
                answer = (number, "bad", str(error))
            except Exception:
                answer = (number, "failed", traceback.format_exc())
            pipe.send(answer)
    except (EOFError, OSError):
        return
