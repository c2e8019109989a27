"""One batch in the hands of several processes: what a loss, a norm or a draw must know of the images that the others have.

A process alone has the whole batch, and everything here leaves its numbers as they are. Where several share a batch
(``distill.train.parallel``), each has as many images, and its losses are its part of those of the whole batch: summed over the processes
they are what one process would have found. So a sum is divided by a number that counts the whole batch (``whole_sum``,
``whole_count``), a mean is divided by ``parts`` besides, and random numbers are drawn for all images, of which each process
takes its own (``whole_draw``). All processes must call these functions equally often and in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor


class Part:
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


_part = Part()


def part() -> Part:
    """What this process has of every batch."""
    return _part


@contextmanager
def sharing(mine: Part) -> Iterator[None]:
    """Inside, this process has ``mine`` of every batch."""
    global _part
    before, _part = _part, mine
    try:
        yield
    finally:
        _part = before


def whole_sum(x: Tensor) -> Tensor:
    """``x`` summed over the processes that share the batch."""
    return _part.total(x)


def whole_count(number: int) -> int:
    """``number`` summed over them."""
    return _part.count(number)


def whole_most(number: int) -> int:
    """The largest of their ``number``."""
    return _part.most(number)


def parts() -> int:
    """How many processes share the batch: what divides a mean over the images of one of them."""
    return _part.world


def whole_draw(draw: Callable[[int], Tensor], images: int) -> Tensor:
    """Random numbers for ``images`` of this process, ``[images, ...]``: its rows of what ``draw`` gives for the whole batch."""
    return draw(images * _part.world)[_part.rank * images : (_part.rank + 1) * images]
