"""The processes of a training: each has its part of every batch, and after every step all of them have the same weights.

Together they do what one process would do with the whole batch. Every part's losses are divided by what counts the whole batch
(``zoo.learning.batch_share``), batch norms take their statistics over it (``norms``), and gradients are summed, so that nothing but the order of
sums tells the two apart. Without ``torch.distributed`` a process is a group of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from workbench.errors import BadInput
from zoo.learning.batch_share import BatchShare, batch_share, use_batch_share
from zoo.learning.losses import to_float32

BUCKET = 1 << 23
"""Gradients that travel together: numbers of four bytes each."""

T = TypeVar("T")


class Group(BatchShare):
    """The processes of a training as one of them sees them. This one is alone."""

    def align(self, module: nn.Module) -> None:
        """Give every process's ``module`` the weights and buffers of the first one's."""

    def sums(self, values: Sequence[Tensor]) -> list[float]:
        """Each of ``values``, single numbers, summed over the processes."""
        return [float(value.detach()) for value in values]

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every parameter the sum of all processes' gradients."""

    def everyone(self, thing: T) -> list[T]:
        """Every process's ``thing``, in their order."""
        return [thing]

    def first(self, thing: T) -> T:
        """The ``thing`` of the first process."""
        return thing

    def wait(self) -> None:
        """Until all have come here."""

    @property
    def writes(self) -> bool:
        """Whether this process writes to the run folder: the first one does."""
        return self.rank == 0


ALONE = Group()


def group() -> Group:
    """The group that this process belongs to."""
    mine = batch_share()
    return mine if isinstance(mine, Group) else ALONE


class DistributedGroup(Group):
    """The processes of torch.distributed, over gloo or NCCL."""

    def __init__(self) -> None:
        from torch import distributed

        self._distributed = distributed
        self.rank, self.world = distributed.get_rank(), distributed.get_world_size()
        self.device = torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")

    def total(self, x: Tensor) -> Tensor:
        found: Tensor = _Total.apply(x)
        return found

    def count(self, number: int) -> int:
        return int(self.added(torch.tensor(number, device=self.device)))

    def most(self, number: int) -> int:
        told = torch.tensor(number, device=self.device)
        self._distributed.all_reduce(told, self._distributed.ReduceOp.MAX)
        return int(told)

    def added(self, x: Tensor) -> Tensor:
        """``x``, which is overwritten, summed over the processes; no gradient."""
        self._distributed.all_reduce(x)
        return x

    def gathered(self, x: Tensor) -> Tensor:
        """Every process's ``x``, stacked; no gradient."""
        found = [torch.empty_like(x) for _ in range(self.world)]
        self._distributed.all_gather(found, x)
        return torch.stack(found)

    def align(self, module: nn.Module) -> None:
        for value in module.state_dict().values():
            self._distributed.broadcast(value, 0)

    def sums(self, values: Sequence[Tensor]) -> list[float]:
        told: list[float] = self.added(torch.stack([value.detach().double().reshape(()) for value in values]).to(self.device)).tolist()
        return told

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        trained = [one for one in parameters if one.requires_grad]
        # a parameter that a part of the batch had no use for has no gradient there
        used = self.added(torch.tensor([one.grad is not None for one in trained], dtype=torch.int32, device=self.device)).tolist()
        waiting: list[Tensor] = []
        for one, users in zip(trained, used, strict=True):
            if not users:
                continue
            if one.grad is None:
                one.grad = torch.zeros_like(one)
            waiting.append(one.grad)
            if sum(grad.numel() for grad in waiting) >= BUCKET:
                self._add(waiting)
                waiting = []
        if waiting:
            self._add(waiting)

    def _add(self, grads: Sequence[Tensor]) -> None:
        flat = self.added(torch.cat([to_float32(grad).flatten() for grad in grads]))
        for grad, summed in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(summed.view(grad.shape))

    def everyone(self, thing: T) -> list[T]:
        found: list[Any] = [None] * self.world
        self._distributed.all_gather_object(found, thing)
        return found

    def first(self, thing: T) -> T:
        told: list[Any] = [thing if self.rank == 0 else None]
        self._distributed.broadcast_object_list(told, 0)
        found: T = told[0]
        return found

    def wait(self) -> None:
        self._distributed.barrier()


class _Total(torch.autograd.Function):
    """The sum over processes. A number that all of them use has from all of them its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return joined_group().added(x.detach().clone())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return joined_group().added(grads[0].clone())


def joined_group() -> DistributedGroup:
    """The group of a process that is not alone."""
    mine = batch_share()
    assert isinstance(mine, DistributedGroup)
    return mine


@contextmanager
def joined() -> Iterator[Group]:
    """Inside, this process shares every batch with those of its torch.distributed process group."""
    from torch import distributed

    if distributed.get_world_size() == 1:
        yield ALONE
        return
    mine = DistributedGroup()
    with use_batch_share(mine):
        yield mine


def agreed(things: Iterable[T]) -> Iterator[T]:
    """``things``, of which all processes have as many. Data that one process cannot read are bad input to all of them."""
    mine = group()
    if mine.world == 1:
        yield from things
        return
    rest = iter(things)
    while True:
        failure, thing, over = "", None, False
        try:
            thing = next(rest)
        except StopIteration:
            over = True
        except BadInput as error:
            failure = str(error)
        if mine.most(len(failure)):
            raise BadInput(next(told for told in mine.everyone(failure) if told))
        if over:
            return
        yield thing  # type: ignore[misc]
