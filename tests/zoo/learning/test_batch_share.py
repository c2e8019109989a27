"""What a process with a part of the batch counts and draws; over real processes see tests/distill/train/parallel."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from zoo.learning.batch_share import (
    BatchShare,
    batch_share,
    batch_shares,
    count_over_batch,
    max_over_batch,
    sample_for_batch,
    sum_over_batch,
    use_batch_share,
)


class Second(BatchShare):
    """The second of two parts, which does not meet the first."""

    rank, world = 1, 2


def test_alone_everything_stays_as_it_is() -> None:
    x = torch.ones(2, requires_grad=True)
    assert (
        sum_over_batch(x) is x
        and count_over_batch(3) == max_over_batch(3) == 3
        and batch_shares() == 1
        and batch_share().rank == 0
    )


def test_a_part_draws_its_rows_of_what_one_process_draws() -> None:
    torch.manual_seed(4)
    whole = torch.rand(6, 5)
    torch.manual_seed(4)
    with use_batch_share(Second()):
        assert batch_shares() == 2
        assert torch.equal(sample_for_batch(lambda n: torch.rand(n, 5), 3), whole[3:])
    assert batch_shares() == 1


def test_an_error_ends_the_sharing() -> None:
    with pytest.raises(ZeroDivisionError), use_batch_share(Second()):
        raise ZeroDivisionError
    assert batch_share().world == 1
