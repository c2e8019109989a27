"""One batch in the hands of several processes: what a loss, a norm or a draw must know of the images that the others have.

A process alone has the whole batch, and everything here leaves its numbers as they are. Where several share a batch
(``distill.train.parallel``), each has as many images, and its losses are its part of those of the whole batch: summed over the processes
they are what one process would have found. So a sum is divided by a number that counts the whole batch (``sum_over_batch``,
``count_over_batch``), a mean is divided by ``batch_shares`` besides, and random numbers are drawn for all images, of which each process
takes its own (``sample_for_batch``). All processes must call these functions equally often and in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor


class BatchShare:
    """What a process has of every batch: part ``rank`` of ``world``. This one has all of it."""

    rank = 0
    world = 1

    def total(self, x: Tensor) -> Tensor:
        """The sum of every process's ``x``, whose gradient reaches all of them."""
        return x

    def count(self, number: int) -> int:
        """The sum of every process's ``number``."""
        return number

    def most(self, number: int) -> int:
        """The largest of every process's ``number``."""
        return number


_part = BatchShare()


def batch_share() -> BatchShare:
    """What this process has of every batch."""
    return _part


@contextmanager
def use_batch_share(mine: BatchShare) -> Iterator[None]:
    """Inside, this process has ``mine`` of every batch."""
    global _part
    before, _part = _part, mine
    try:
        yield
    finally:
        _part = before


def sum_over_batch(x: Tensor) -> Tensor:
    """``x`` summed over the processes that share the batch."""
    return _part.total(x)


def count_over_batch(number: int) -> int:
    """``number`` summed over them."""
    return _part.count(number)


def max_over_batch(number: int) -> int:
    """The largest of their ``number``."""
    return _part.most(number)


def batch_shares() -> int:
    """How many processes share the batch: what divides a mean over the images of one of them."""
    return _part.world


def sample_for_batch(draw: Callable[[int], Tensor], images: int) -> Tensor:
    """Random numbers for ``images`` of this process, ``[images, ...]``: its rows of what ``draw`` gives for the whole batch."""
    return draw(images * _part.world)[_part.rank * images : (_part.rank + 1) * images]
