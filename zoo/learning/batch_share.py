"""Sums, counts and random numbers over a batch that several processes share.

Alone, a process has the whole batch, and these functions change nothing. Where processes share a batch
(``distill.train.parallel``), each has equally many images, and its loss is its part of the whole batch's: summed over
the processes, the losses equal those of one process. So a sum is divided by a number counted over the whole batch
(``sum_over_batch``, ``count_over_batch``), a mean over images is also divided by ``batch_shares``, and random numbers
are drawn for all images, of which each process takes its rows (``sample_for_batch``). All processes must call these
functions equally often and in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor


class BatchShare:
    """The share of every batch that a process has: part ``rank`` of ``world``. This class has all of it."""

    rank = 0
    world = 1

    def total(self, x: Tensor) -> Tensor:
        """The sum of ``x`` over the processes; its gradient reaches all of them."""
        return x

    def count(self, number: int) -> int:
        """The sum of ``number`` over the processes."""
        return number

    def most(self, number: int) -> int:
        """The maximum of ``number`` over the processes."""
        return number


_share = BatchShare()


def batch_share() -> BatchShare:
    """The share of every batch that this process has."""
    return _share


@contextmanager
def use_batch_share(share: BatchShare) -> Iterator[None]:
    """Inside the block, this process has ``share`` of every batch."""
    global _share
    previous, _share = _share, share
    try:
        yield
    finally:
        _share = previous


def sum_over_batch(x: Tensor) -> Tensor:
    """``x`` summed over the processes that share the batch."""
    return _share.total(x)


def count_over_batch(number: int) -> int:
    """``number`` summed over the processes that share the batch."""
    return _share.count(number)


def max_over_batch(number: int) -> int:
    """The maximum of ``number`` over the processes that share the batch."""
    return _share.most(number)


def batch_shares() -> int:
    """Number of processes that share the batch; divides a mean over the images of one of them."""
    return _share.world


def sample_for_batch(sample: Callable[[int], Tensor], images: int) -> Tensor:
    """Random numbers ``[images, ...]`` for this process: its rows of what ``sample`` gives for the whole batch."""
    return sample(images * _share.world)[_share.rank * images : (_share.rank + 1) * images]
