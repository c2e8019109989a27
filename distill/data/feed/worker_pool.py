"""A pool of worker processes whose results arrive in order, and which end with the process that started them.

A worker is forked, so it shares what was made before it without a copy. It writes a job's pixels into anonymous shared
memory, which does not count against the size of ``/dev/shm`` (64 MiB in most containers), and sends the rest through a
pipe.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import signal
import warnings
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np

from distill.data.feed.worker_process import LoadFunction, run_worker
from workbench.errors import BadInput

JOBS_PER_WORKER = 2
"""One in work, one waiting."""
STOP_S = 2.0
"""Seconds that a worker has to end before it is killed."""


@dataclass(slots=True, eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    jobs: dict[int, int] = field(default_factory=dict)
    """Job number to the slot it fills."""
    leaving: bool = False


class WorkerPool:
    """Workers for one task. Close it, or use it as a context manager; it also ends with the process."""

    def __init__(self, task: LoadFunction, slot_bytes: int, workers: int, most: int | None = None) -> None:
        """Start ``workers``, of at most ``most``; with 0 every job is done in this process when it is asked for."""
        if workers < 0:
            raise BadInput(f"{workers} workers: must be 0 or more")
        if workers and "fork" not in multiprocessing.get_all_start_methods():
            raise BadInput("worker processes need fork, which this system lacks: use 0 workers")
        self._task = task
        self._slot_bytes = slot_bytes
        self._most = max(workers, most or 0)
        self._next_job = 0
        self._done: dict[int, tuple[str, Any, int]] = {}
        """Job number to its state, reply and slot."""
        self._wanted: set[int] = set()
        """Jobs in work of the current iteration."""
        self._reading: int | None = None
        """The slot that the caller reads."""
        self._iteration = 0
        self._workers: list[_Worker] = []
        slots = self._most * JOBS_PER_WORKER + 1 if workers else 1
        self._memory = mmap.mmap(-1, max(slot_bytes, 1) * slots)
        self._pixels = np.frombuffer(self._memory, np.uint8)
        self._free = deque(range(slots))
        self._stop = weakref.finalize(self, _end, self._workers)
        for _ in range(workers):
            self.add()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def size(self) -> int:
        """Workers that take jobs."""
        return sum(not worker.leaving for worker in self._workers)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers."""
        return tuple(worker.process.pid for worker in self._workers if worker.process.pid is not None)

    def close(self) -> None:
        """End all workers now; jobs in work are lost. May be called again."""
        self._stop()

    def add(self) -> None:
        """Start one worker more, if there may be more."""
        if self.size >= self._most:
            return
        context = multiprocessing.get_context("fork")
        pipe, worker_pipe = context.Pipe()
        others = [worker.pipe for worker in self._workers] + [pipe]
        args = (self._task, worker_pipe, others, os.getpid(), self._slot)
        process = context.Process(target=run_worker, args=args, daemon=True, name="nas-data")
        with warnings.catch_warnings():
            # Python 3.12 warns of forking beside threads; a worker uses no lock that another thread may hold
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        worker_pipe.close()
        self._workers.append(_Worker(process, pipe))

    def remove(self) -> None:
        """End one worker once it has finished its jobs; the last one stays."""
        staying = [worker for worker in self._workers if not worker.leaving]
        if len(staying) > 1:
            staying[-1].leaving = True
            self._end_if_idle(staying[-1])

    def ordered(self, jobs: Iterable[Any]) -> Iterator[tuple[Any, np.ndarray]]:
        """The task's reply and the pixels of every job, in their order. The pixels are valid until the next one.

        An error in a job is raised when its turn comes. The iteration may be left early; a new one ends it.
        """
        waiting = iter(jobs)
        if not self._most:
            for job in waiting:
                yield self._task(job, self._slot(0)), self._slot(0)
            return
        self._drop_all()
        iteration = self._iteration
        turns: deque[int] = deque()
        more = True
        try:
            while True:
                if iteration != self._iteration:
                    raise RuntimeError("another iteration over jobs has begun since: only the newest can continue")
                self._free_read_slot()
                more = more and self._hand_out(waiting, turns)
                if not turns and not more:
                    return
                if not turns or turns[0] not in self._done:
                    self._receive()
                    continue
                state, reply, self._reading = self._done.pop(turns.popleft())
                if state != "done":
                    failed = RuntimeError(f"a data worker failed:\n{reply}")
                    raise BadInput(reply) if state == "bad" else failed
                yield reply, self._slot(self._reading)
        finally:
            if iteration == self._iteration:
                self._drop_all()

    def _drop_all(self) -> None:
        """Forget all jobs that are not finished and all results that were not fetched."""
        self._iteration += 1
        self._free_read_slot()
        self._free.extend(slot for _, _, slot in self._done.values())
        self._done.clear()
        self._wanted.clear()

    def _free_read_slot(self) -> None:
        if self._reading is not None:
            self._free.append(self._reading)
            self._reading = None

    def _slot(self, number: int) -> np.ndarray:
        return self._pixels[number * self._slot_bytes : (number + 1) * self._slot_bytes]

    def _hand_out(self, waiting: Iterator[Any], turns: deque[int]) -> bool:
        """Give jobs to workers that have room, the least busy first; whether there may be more jobs."""
        while self._free:
            ready = [worker for worker in self._workers if not worker.leaving and len(worker.jobs) < JOBS_PER_WORKER]
            if not ready:
                return True
            try:
                job = next(waiting)
            except StopIteration:
                return False
            worker = min(ready, key=lambda candidate: len(candidate.jobs))
            number, slot = self._next_job, self._free.popleft()
            self._next_job += 1
            worker.jobs[number] = slot
            self._wanted.add(number)
            turns.append(number)
            try:
                worker.pipe.send((number, slot, job))
            except OSError:
                self._raise_death(worker)
        return True

    def _receive(self) -> None:
        """Wait for workers and receive their replies."""
        by_handle: dict[Any, _Worker] = {}
        for worker in self._workers:
            by_handle[worker.pipe] = by_handle[worker.process.sentinel] = worker
        if not by_handle:
            raise RuntimeError("the data workers were closed while a batch was waited for")
        for worker in dict.fromkeys(by_handle[handle] for handle in wait(list(by_handle))):
            try:
                while worker.pipe.poll():
                    self._take_reply(worker)
            except (EOFError, OSError):
                self._raise_death(worker)
            except KeyboardInterrupt:
                # half a message may have been read, so nothing that follows in this pipe can be trusted
                self.close()
                raise
            if worker.leaving:
                self._end_if_idle(worker)
            elif not worker.process.is_alive():
                self._raise_death(worker)

    def _take_reply(self, worker: _Worker) -> None:
        number, state, reply = worker.pipe.recv()
        slot = worker.jobs.pop(number)
        if number in self._wanted:
            self._wanted.discard(number)
            self._done[number] = (state, reply, slot)
        else:
            self._free.append(slot)

    def _raise_death(self, worker: _Worker) -> None:
        """Close the pool and raise for a worker that has ended."""
        worker.process.join(STOP_S)
        code = worker.process.exitcode
        self.close()
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            hint = "; the system may have run out of memory: use fewer workers, a smaller batch or a smaller cache"
            raise BadInput(f"a data worker was ended by {name}{hint if -code == signal.SIGKILL else ''}")
        raise RuntimeError(f"a data worker ended by itself with exit code {code}")

    def _end_if_idle(self, worker: _Worker) -> None:
        if not worker.jobs:
            self._workers.remove(worker)
            _end([worker])


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
        worker.pipe.close()
    for worker in workers:
        worker.process.join(STOP_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
    workers.clear()
