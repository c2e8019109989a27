"""Values of single tensors, by hand."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from zoo.weights.inheriting.values import take_over


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_rows_and_columns_are_picked_and_what_is_missing_stays_or_adds_nothing() -> None:
    source = torch.arange(6.0).view(2, 3, 1, 1)
    fresh = torch.full((3, 3, 1, 1), 9.0)
    taken = take_over(fresh, source, {0: np.array([1, -1, 0]), 1: np.array([2, -1, 0])}, True, generator())
    assert taken is not None
    assert taken.value[:, :, 0, 0].tolist() == [[5, 0, 3], [9, 9, 9], [2, 0, 0]]
    assert taken.numbers == 4 and taken.used == 4


def test_columns_of_doubles_are_different_positive_shares_of_one() -> None:
    source = torch.tensor([[2.0, 3.0], [5.0, 7.0]])
    taken = take_over(torch.zeros(2, 4), source, {1: np.array([0, 1, 0, 0])}, True, generator())
    assert taken is not None and taken.numbers == 8 and taken.used == 4
    assert torch.equal(taken.value[:, 1], source[:, 1])
    doubles = taken.value[:, [0, 2, 3]] / source[:, :1]
    assert torch.allclose(doubles.sum(1), torch.ones(2)) and (doubles > 0.1).all()
    assert not torch.allclose(doubles[0], doubles[1])


@pytest.mark.parametrize(("side", "there"), [(5, 3), (3, 5), (1, 3), (3, 3)])
def test_kernels_are_centered(side: int, there: int) -> None:
    source = torch.randn(2, 2, there, there)
    fresh, both = torch.full((2, 2, side, side), 9.0), np.arange(2)
    taken = take_over(fresh, source, {0: both, 1: both}, True, generator())
    assert taken is not None
    least = min(side, there)
    a, b = (side - least) // 2, (there - least) // 2
    assert torch.equal(taken.value[..., a : a + least, a : a + least], source[..., b : b + least, b : b + least])
    assert taken.value.count_nonzero() == 4 * least**2 == taken.numbers == taken.used


def test_vectors_along_a_later_axis_keep_what_is_missing() -> None:
    fresh, channels = torch.full((1, 3, 1, 1), 9.0), np.array([0, -1, 1])
    taken = take_over(fresh, torch.ones(1, 2, 1, 1), {1: channels}, False, generator())
    assert taken is not None and taken.value.flatten().tolist() == [1, 9, 1] and taken.numbers == 2


def test_tensors_without_channels_are_taken_whole_or_not_at_all() -> None:
    count = take_over(torch.tensor(0), torch.tensor(7), {}, False, generator())
    assert count is not None and count.value.item() == 7 and count.value.dtype == torch.int64
    assert take_over(torch.zeros(3), torch.zeros(4), {}, False, generator()) is None
