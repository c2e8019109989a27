"""The processes of a training: each has a share of every batch, and after every step all have the same weights.

Together they compute what one process would compute on the whole batch, but for the order of sums. Every share's losses
are divided by what counts the whole batch (``zoo.learning.batch_share``), batch norms take their statistics over it
(``sync_bn``), and gradients are summed. Without ``torch.distributed`` a process is a group of its own.
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
"""Gradients that are sent together: numbers of four bytes each."""

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
        """Wait until all processes have called this."""

    @property
    def writes(self) -> bool:
        """Whether this process writes to the run folder: the first one does."""
        return self.rank == 0


ALONE = Group()


def group() -> Group:
    """The group that this process belongs to."""
    share = batch_share()
    return share if isinstance(share, Group) else ALONE


class DistributedGroup(Group):
    """The processes of torch.distributed, over gloo or NCCL."""

    def __init__(self) -> None:
        from torch import distributed

        self._distributed = distributed
        self.rank, self.world = distributed.get_rank(), distributed.get_world_size()
        self.device = torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")

    def total(self, x: Tensor) -> Tensor:
        summed: Tensor = _Total.apply(x)
        return summed

    def count(self, number: int) -> int:
        return int(self.added(torch.tensor(number, device=self.device)))

    def most(self, number: int) -> int:
        largest = torch.tensor(number, device=self.device)
        self._distributed.all_reduce(largest, self._distributed.ReduceOp.MAX)
        return int(largest)

    def added(self, x: Tensor) -> Tensor:
        """``x``, which is overwritten, summed over the processes; no gradient."""
        self._distributed.all_reduce(x)
        return x

    def gathered(self, x: Tensor) -> Tensor:
        """Every process's ``x``, stacked; no gradient."""
        parts = [torch.empty_like(x) for _ in range(self.world)]
        self._distributed.all_gather(parts, x)
        return torch.stack(parts)

    def align(self, module: nn.Module) -> None:
        for value in module.state_dict().values():
            self._distributed.broadcast(value, 0)

    def sums(self, values: Sequence[Tensor]) -> list[float]:
        stacked = torch.stack([value.detach().double().reshape(()) for value in values])
        summed: list[float] = self.added(stacked.to(self.device)).tolist()
        return summed

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        # a parameter that a share of the batch did not use has no gradient there
        has_grad = [parameter.grad is not None for parameter in trained]
        users = self.added(torch.tensor(has_grad, dtype=torch.int32, device=self.device)).tolist()
        waiting: list[Tensor] = []
        for parameter, count in zip(trained, users, strict=True):
            if not count:
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            waiting.append(parameter.grad)
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
        gathered: list[Any] = [None] * self.world
        self._distributed.all_gather_object(gathered, thing)
        return gathered

    def first(self, thing: T) -> T:
        sent: list[Any] = [thing if self.rank == 0 else None]
        self._distributed.broadcast_object_list(sent, 0)
        received: T = sent[0]
        return received

    def wait(self) -> None:
        self._distributed.barrier()


class _Total(torch.autograd.Function):
    """The sum over processes. All of them use it, so its gradient is the sum of all theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return joined_group().added(x.detach().clone())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return joined_group().added(grads[0].clone())


def joined_group() -> DistributedGroup:
    """The group of a process that is not alone."""
    share = batch_share()
    assert isinstance(share, DistributedGroup)
    return share


@contextmanager
def joined() -> Iterator[Group]:
    """Inside, this process shares every batch with those of its torch.distributed process group."""
    from torch import distributed

    if distributed.get_world_size() == 1:
        yield ALONE
        return
    distributed_group = DistributedGroup()
    with use_batch_share(distributed_group):
        yield distributed_group


def agreed(items: Iterable[T]) -> Iterator[T]:
    """``items``, of which all processes have the same number. A ``BadInput`` in one of them is raised in all."""
    together = group()
    if together.world == 1:
        yield from items
        return
    rest = iter(items)
    while True:
        failure, item, over = "", None, False
        try:
            item = next(rest)
        except StopIteration:
            over = True
        except BadInput as error:
            failure = str(error)
        if together.most(len(failure)):
            raise BadInput(next(text for text in together.everyone(failure) if text))
        if over:
            return
        yield item  # type: ignore[misc]
