"""Worker processes that fill numbered jobs in order, and end with the process that started them.

A worker is forked, so it shares what was made before it without a copy. It writes a job's pixels into shared memory that
is not a file in ``/dev/shm`` and so is not held by that folder's limit (64 MiB in a container, as a rule), and sends the
rest through a pipe. It ignores Ctrl-C, which is for its parent, and looks every two seconds whether that still lives.
"""

from __future__ import annotations

import gc
import mmap
import multiprocessing
import os
import signal
import traceback
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from workbench.errors import BadInput

LoadFunction = Callable[[Any, np.ndarray], Any]
"""Does one job: takes what describes it and room for its pixels, uint8 ``[bytes]``, and returns what is sent back."""

AHEAD = 2
"""Jobs a worker holds: one in work, one waiting."""
LOOK_S = 2.0
STOP_S = 2.0


@dataclass(slots=True, eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    jobs: dict[int, int] = field(default_factory=dict)
    """Job number to the slot it fills."""
    leaving: bool = False


class WorkerPool:
    """Some workers for one task. Close it, or use it as a context manager; it also ends with the process."""

    def __init__(self, task: LoadFunction, slot_bytes: int, workers: int, most: int | None = None) -> None:
        """``workers`` now and ``most`` ever; 0 does every job in this process when it is asked for."""
        if workers < 0:
            raise BadInput(f"{workers} workers: must be 0 or more")
        if workers and "fork" not in multiprocessing.get_all_start_methods():
            raise BadInput("worker processes need fork, which this system lacks: use 0 workers")
        self._task = task
        self._slot_bytes = slot_bytes
        self._most = max(workers, most or 0)
        self._next_job = 0
        self._done: dict[int, tuple[str, Any, int]] = {}
        self._wanted: set[int] = set()
        self._reading: int | None = None
        self._run = 0
        self._workers: list[_Worker] = []
        # one more than can be in work, for the slot that the caller reads
        slots = self._most * AHEAD + 1 if workers else 1
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
        """End all workers now; what they were at is lost. May be called again."""
        self._stop()

    def add(self) -> None:
        """One worker more, if there is room for it."""
        if self.size >= self._most:
            return
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        others = [worker.pipe for worker in self._workers] + [ours]
        process = context.Process(target=_work, args=(self._task, theirs, others, os.getpid(), self._slot), daemon=True, name="nas-data")
        with warnings.catch_warnings():
            # Python 3.12 warns of forking beside threads; a worker uses none of theirs, nor anything that they may hold
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours))

    def remove(self) -> None:
        """One worker less, once it has done what it holds; the last one stays."""
        staying = [worker for worker in self._workers if not worker.leaving]
        if len(staying) > 1:
            staying[-1].leaving = True
            self._let_go(staying[-1])

    def ordered(self, jobs: Iterable[Any]) -> Iterator[tuple[Any, np.ndarray]]:
        """What the task returned and the pixels of every job, in their order. The pixels are valid until the next one.

        An error in a job is raised when its turn comes. A loop may be left early; beginning another ends the one before.
        """
        waiting = iter(jobs)
        if not self._most:
            for job in waiting:
                yield self._task(job, self._slot(0)), self._slot(0)
            return
        self._forget()
        run = self._run
        turns: deque[int] = deque()
        more = True
        try:
            while True:
                if run != self._run:
                    raise RuntimeError("another round of jobs has begun since: only the newest can go on")
                self._give_back()
                more = more and self._hand_out(waiting, turns)
                if not turns and not more:
                    return
                if not turns or turns[0] not in self._done:
                    self._take_in()
                    continue
                state, reply, self._reading = self._done.pop(turns.popleft())
                if state != "done":
                    raise BadInput(reply) if state == "bad" else RuntimeError(f"a data worker failed:\n{reply}")
                yield reply, self._slot(self._reading)
        finally:
            if run == self._run:
                self._forget()

    def _forget(self) -> None:
        """Let go of all jobs that are not finished and all results that were not fetched."""
        self._run += 1
        self._give_back()
        self._free.extend(slot for _, _, slot in self._done.values())
        self._done.clear()
        self._wanted.clear()

    def _give_back(self) -> None:
        if self._reading is not None:
            self._free.append(self._reading)
            self._reading = None

    def _slot(self, number: int) -> np.ndarray:
        return self._pixels[number * self._slot_bytes : (number + 1) * self._slot_bytes]

    def _hand_out(self, waiting: Iterator[Any], turns: deque[int]) -> bool:
        """Give jobs to workers that have room, the least busy first; whether there may be more jobs."""
        while self._free:
            ready = [worker for worker in self._workers if not worker.leaving and len(worker.jobs) < AHEAD]
            if not ready:
                return True
            try:
                job = next(waiting)
            except StopIteration:
                return False
            worker = min(ready, key=lambda one: len(one.jobs))
            number, slot = self._next_job, self._free.popleft()
            self._next_job += 1
            worker.jobs[number] = slot
            self._wanted.add(number)
            turns.append(number)
            try:
                worker.pipe.send((number, slot, job))
            except OSError:
                self._lost(worker)
        return True

    def _take_in(self) -> None:
        """Wait for workers and receive what they have done."""
        by_handle: dict[Any, _Worker] = {}
        for worker in self._workers:
            by_handle[worker.pipe] = by_handle[worker.process.sentinel] = worker
        if not by_handle:
            raise RuntimeError("the data workers have been closed while a batch was waited for")
        for worker in dict.fromkeys(by_handle[handle] for handle in wait(list(by_handle))):
            try:
                while worker.pipe.poll():
                    number, state, reply = worker.pipe.recv()
                    slot = worker.jobs.pop(number)
                    if number in self._wanted:
                        self._wanted.discard(number)
                        self._done[number] = (state, reply, slot)
                    else:
                        self._free.append(slot)
            except (EOFError, OSError):
                self._lost(worker)
            except KeyboardInterrupt:
                # half a message may have been read, so this pipe says nothing more that can be trusted
                self.close()
                raise
            if worker.leaving:
                self._let_go(worker)
            elif not worker.process.is_alive():
                self._lost(worker)

    def _lost(self, worker: _Worker) -> None:
        worker.process.join(STOP_S)
        code = worker.process.exitcode
        self.close()
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            hint = "; the system may have run out of memory: use fewer workers, a smaller batch or a smaller cache" if -code == signal.SIGKILL else ""
            raise BadInput(f"a data worker was ended by {name}{hint}")
        raise RuntimeError(f"a data worker ended by itself with exit code {code}")

    def _let_go(self, worker: _Worker) -> None:
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


def _work(task: LoadFunction, pipe: Connection, others: list[Connection], parent: int, slot_of: Callable[[int], np.ndarray]) -> None:
    """A worker's life."""
    import cv2
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # a pipe that a sibling holds open too would not tell of the parent's end
    for other in others:
        other.close()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    gc.freeze()
    try:
        while True:
            while not pipe.poll(LOOK_S):
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


def usable_cpus() -> int:
    """CPUs this process may use, a container's quota included."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return cpus if quota == "max" else max(min(cpus, int(quota) // int(period)), 1)
    except (OSError, ValueError):
        return cpus


class Tuner:
    """Finds the number of workers by what the loop waits for them.

    One more is tried while waiting takes over ``MUCH`` of the time; one that does not cut the waiting by a tenth goes
    again, and then the number stays.
    """

    MUCH = 0.05
    STEPS = 32
    SECONDS = 2.0

    def __init__(self, most: int) -> None:
        self.most = most
        self._before: float | None = None
        self._settled = False
        self._steps = 0
        self._waited_s = self._total_s = 0.0

    def seen(self, waited_s: float, total_s: float, workers: int) -> int:
        """One step's seconds of waiting, and of all it took; returns how many workers to add: 1, 0 or -1."""
        self._steps += 1
        self._waited_s += waited_s
        self._total_s += total_s
        if self._settled or self._steps < self.STEPS or self._total_s < self.SECONDS:
            return 0
        share = self._waited_s / self._total_s
        self._steps, self._waited_s, self._total_s = 0, 0.0, 0.0
        if self._before is not None and share > 0.9 * self._before:
            self._settled = True
            return -1
        self._before = None
        if share <= self.MUCH or workers >= self.most:
            return 0
        self._before = share
        return 1
