"""Two networks' maps at one shape: channels, places, and what they refuse."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional as F

from distill.teach.align import Aligner, Conv1x1, average_to_grid, overlap_matrix
from distill.teach.standardize import standardize
from workbench.errors import BadInput


def test_averaging_shares_places_between_cells_by_hand() -> None:
    row = torch.tensor([[[[1.0, 2.0, 4.0]]]])
    # the place in the middle belongs to both cells by half
    torch.testing.assert_close(average_to_grid(row, 1, 2), torch.tensor([[[[4 / 3, 10 / 3]]]]))
    torch.testing.assert_close(average_to_grid(row.transpose(2, 3), 2, 1), torch.tensor([[[[4 / 3], [10 / 3]]]]))
    torch.testing.assert_close(overlap_matrix(5, 3, row).sum(1), torch.ones(3))


def test_averaging_is_pooling_where_sides_divide_and_keeps_what_is_everywhere_alike() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 12, 8)
    torch.testing.assert_close(average_to_grid(x, 6, 2), F.avg_pool2d(x, (2, 4)))
    torch.testing.assert_close(average_to_grid(torch.full((1, 1, 20, 20), 3.0), 13, 7), torch.full((1, 1, 13, 7), 3.0))
    assert average_to_grid(x, 12, 8) is x


@pytest.mark.parametrize(
    ("ours", "theirs"), [((8, 8), (8, 8)), ((8, 8), (12, 12)), ((12, 12), (8, 8)), ((8, 12), (12, 8))]
)
def test_the_finer_map_comes_to_the_coarser_one(ours: tuple[int, int], theirs: tuple[int, int]) -> None:
    aligner = Aligner([4], [6])
    student = torch.randn(2, 4, *ours, requires_grad=True)
    teacher = torch.randn(2, 6, *theirs, requires_grad=True)
    ((a, b),) = aligner([student], [teacher])
    assert a.shape == b.shape == (2, 6, min(ours[0], theirs[0]), min(ours[1], theirs[1]))
    (a * b).sum().backward()
    assert teacher.grad is None and student.grad is not None
    assert (student.grad != 0).any(1).all()  # every cell learns


def test_equal_channels_start_as_the_identity_and_train() -> None:
    aligner = Aligner([4, 5], [4, 7])
    maps = [torch.randn(1, 4, 4, 4), torch.randn(1, 5, 2, 2)]
    (first, _), (second, _) = aligner(maps, [torch.zeros(1, 4, 4, 4), torch.zeros(1, 7, 2, 2)])
    torch.testing.assert_close(first, maps[0])
    assert second.shape[1] == 7
    assert len(list(aligner.parameters())) == 4 and all(p.requires_grad for p in aligner.parameters())
    assert len(list(Aligner([4, 5], [4, 7], bias=False).parameters())) == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_it_calculates_in_float32(dtype: torch.dtype) -> None:
    aligner = Aligner([4], [4])
    with torch.autocast("cpu", dtype):
        ((a, b),) = aligner(
            [torch.full((1, 4, 4, 4), 60000.0, dtype=dtype)], [torch.full((1, 4, 2, 2), 60000.0, dtype=dtype)]
        )
    assert a.dtype == b.dtype == torch.float32 and a.isfinite().all() and b.isfinite().all()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("side", [2, 6])  # all images in one product, and each by itself
def test_a_mix_of_channels_is_a_convolution(bias: bool, side: int) -> None:
    torch.manual_seed(0)
    mix = Conv1x1(5, 7, 1, bias=bias).double()
    x = torch.randn(3, 5, 2, side, dtype=torch.float64, requires_grad=True)
    plain = F.conv2d(x, mix.weight, mix.bias)
    slope = torch.randn_like(plain)
    torch.testing.assert_close(mix(x), plain)
    learned = [x, *mix.parameters()]
    torch.testing.assert_close(torch.autograd.grad(mix(x), learned, slope), torch.autograd.grad(plain, learned, slope))
    seen = mix(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(seen, plain)
    torch.testing.assert_close(
        torch.autograd.grad(seen, x, slope), torch.autograd.grad(F.conv2d(x, mix.weight, mix.bias), x, slope)
    )


@pytest.mark.parametrize("side", [4, 20])
def test_a_mix_that_rounds_does_so_with_what_it_multiplies_and_nothing_else(side: int) -> None:
    torch.manual_seed(0)
    mix = Conv1x1(64, 48, 1, bias=False)
    x = torch.randn(2, 64, side, side, requires_grad=True)
    slope = torch.randn(2, 48, side, side)
    before = torch.backends.mkldnn.matmul.fp32_precision
    rounded, exact = mix(x, round_to_bf16=True), mix(x)
    assert rounded.dtype == torch.float32
    learned = [x, mix.weight]
    pairs = [
        (rounded, exact),
        *zip(torch.autograd.grad(rounded, learned, slope), torch.autograd.grad(exact, learned, slope), strict=True),
    ]
    for ours, theirs in pairs:
        # two factors, each off by a 512th at most; CPUs that do not multiply bfloat16 do not round at all
        assert (ours - theirs).norm() < 2 / 512 * theirs.norm()
    with pytest.raises(RuntimeError):
        mix(x[:, :3], round_to_bf16=True)
    assert torch.backends.mkldnn.matmul.fp32_precision == before


def test_standardised_channels() -> None:
    torch.manual_seed(0)
    x = standardize((torch.randn(3, 2, 5, 5) * torch.tensor([1000.0, 0.1])[:, None, None] + 50).half())
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(x.var((0, 2, 3), unbiased=False), torch.ones(2), atol=2e-3, rtol=0)
    still = torch.ones(1, 1, 2, 2, requires_grad=True)
    standardize(still).square().sum().backward()
    assert still.grad is not None and still.grad.isfinite().all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BadInput, match="2 levels and the teacher 1"):
        Aligner([4, 4], [4])
    with pytest.raises(BadInput, match=r"channels \[0\] of the teacher"):
        Aligner([4], [0])
    aligner = Aligner([4], [6])
    with pytest.raises(BadInput, match=r"teacher's maps have \[4\] channels"):
        aligner([torch.zeros(1, 4, 2, 2)], [torch.zeros(1, 4, 2, 2)])
    with pytest.raises(BadInput, match=r"student's maps have \[4, 4\] channels"):
        aligner([torch.zeros(1, 4, 2, 2)] * 2, [torch.zeros(1, 6, 2, 2)])
    with pytest.raises(BadInput, match="of 1 images and the teacher of 2"):
        aligner([torch.zeros(1, 4, 2, 2)], [torch.zeros(2, 6, 2, 2)])


def test_the_gradient_of_standardising_is_that_of_its_formula() -> None:
    torch.manual_seed(0)
    x = (
        torch.randn(2, 3, 4, 5, dtype=torch.float64) * torch.tensor([30.0, 1.0, 0.01])[:, None, None] + 2
    ).requires_grad_()
    assert torch.autograd.gradcheck(standardize, x)
