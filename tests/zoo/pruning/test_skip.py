"""A skipped block leaves its input as it is: other layers read it too."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from zoo.families.parts.blocks import ResidualPair
from zoo.layers import ConvBNAct


@pytest.mark.parametrize("act", ["relu", "silu"])
def test_a_skipped_block_neither_changes_its_input_nor_breaks_its_gradient(act: str) -> None:
    torch.manual_seed(0)
    before, block = ConvBNAct(4, 4, act=act), ResidualPair(4, 4, 4, 1, 3, 1, act)
    block.skip()
    x = before(torch.randn(2, 4, 8, 8))
    kept = x.detach().clone()
    y = block(x)
    assert torch.equal(x.detach(), kept)
    (y.sum() + x.square().sum()).backward()
    assert before.conv.weight.grad is not None and before.conv.weight.grad.isfinite().all()
