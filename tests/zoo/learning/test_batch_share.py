"""What a process with a part of the batch counts and draws; over real processes see tests/distill/parallel."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from zoo.learning.batch_share import Part, part, parts, sharing, whole_count, whole_draw, whole_most, whole_sum


class Second(Part):
    """The second of two parts, which does not meet the first."""

    rank, world = 1, 2


def test_alone_everything_stays_as_it_is() -> None:
    x = torch.ones(2, requires_grad=True)
    assert whole_sum(x) is x and whole_count(3) == whole_most(3) == 3 and parts() == 1 and part().rank == 0


def test_a_part_draws_its_rows_of_what_one_process_draws() -> None:
    torch.manual_seed(4)
    whole = torch.rand(6, 5)
    torch.manual_seed(4)
    with sharing(Second()):
        assert parts() == 2
        assert torch.equal(whole_draw(lambda n: torch.rand(n, 5), 3), whole[3:])
    assert parts() == 1


def test_an_error_ends_the_sharing() -> None:
    with pytest.raises(ZeroDivisionError), sharing(Second()):
        raise ZeroDivisionError
    assert part().world == 1
