"""A cut architecture with random weights."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from distill.study.fresh_weights import with_fresh_weights
from tests.distill.cut import cut_child
from zoo.factory import build


def test_the_architecture_stays_and_the_weights_are_those_of_a_network_of_its_width() -> None:
    parent = build("yolox-nano", 3).eval()
    child = cut_child(parent, 0.25)
    fresh, again, other = (with_fresh_weights(child, seed) for seed in (0, 0, 1))
    ours, theirs = fresh.state_dict(), child.state_dict()
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in theirs.items()}
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in ours.items())
    name = "backbone.dark5.1.conv2.conv.weight"
    name = name if name in ours else max(
        (n for n, v in ours.items() if v.ndim == 4 and v.shape[2] == 1), key=lambda n: ours[n].numel()
    )  # fmt: skip
    assert not torch.equal(ours[name], other.state_dict()[name]) and not torch.equal(ours[name], theirs[name])
    # torch initializes a convolution uniformly within one over the root of its inputs
    bound = ours[name].shape[1] ** -0.5
    assert 0.9 * bound < float(ours[name].abs().max()) <= 1.0001 * bound
    assert fresh.info.provenance["weights"] == "random" and fresh.info.class_names == child.info.class_names
