"""What every score promises; a new score inherits this by standing in ``SCORES``."""

from __future__ import annotations

import math
import warnings

import pytest

from nas.scores import SCORES
from search_spaces.architecture import Architecture, Stage, Stem
from search_spaces.graph import Graph
from search_spaces.lowering import lower, skeleton
from workbench.errors import BadInput

KINDS = {"res": "k1kx", "csp": "kxkx", "mob": "k1dwk1", "bottleneck": "k1kxk1"}


def small(style: str, depth: int = 1, width: int = 16) -> Architecture:
    """A backbone small enough to run in milliseconds."""
    stages = tuple(Stage(KINDS[style], width * (1 + i // 2), width, 3, s, depth) for i, s in enumerate((2, 2, 2, 1, 2)))
    return Architecture(style, Stem(16), stages)


@pytest.fixture(params=sorted(SCORES))
def score(request: pytest.FixtureRequest) -> object:
    if SCORES[request.param].needs_torch:
        pytest.importorskip("torch")
    return SCORES[request.param]


@pytest.mark.parametrize("style", KINDS)
def test_finite_and_repeatable(score, style: str) -> None:  # type: ignore[no-untyped-def]
    graph = skeleton(small(style))
    options = score.own(seed=3)
    first = score(graph, 64, **options)
    assert math.isfinite(first.value)
    assert score(graph, 64, **options) == first


def test_scores_any_graph(score) -> None:  # type: ignore[no-untyped-def]
    assert math.isfinite(score(lower(small("csp"), "backbone"), 64).value)


def test_an_empty_graph_is_refused(score) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadInput):
        score(Graph([]), 64)


def test_deeper_is_not_the_same(score) -> None:  # type: ignore[no-untyped-def]
    assert score(skeleton(small("res", 3)), 64).value != score(skeleton(small("res", 1)), 64).value


def test_the_callers_random_state_is_left_alone(score) -> None:  # type: ignore[no-untyped-def]
    if not score.needs_torch:
        return
    import torch

    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score(skeleton(small("res")), 64)
    assert torch.equal(before, torch.random.get_rng_state())


def test_seeds_matter_where_weights_are_drawn() -> None:
    pytest.importorskip("torch")
    graph = skeleton(small("res"))
    for name in ("zen", "nwot"):
        assert SCORES[name](graph, 64, seed=0).value != SCORES[name](graph, 64, seed=1).value


def test_synflow_by_hand() -> None:
    torch = pytest.importorskip("torch")
    from nas.scores.synflow import synflow
    from search_spaces.graph import Graph
    from search_spaces.ops import Op

    graph = Graph([Op("conv", (-1,), 2, 1)], inputs=[[2]])
    torch.manual_seed(5)
    from zoo.graphs.to_torch import build_module

    with torch.random.fork_rng():
        torch.manual_seed(5)
        weight = build_module(graph).double().state_dict()["layers.0.weight"].abs()
    # One 1x1 conv on an image of ones: every |weight| is multiplied by the number of pixels.
    assert synflow(graph, 8, 5).value == pytest.approx(math.log(float(weight.sum()) * 64), rel=1e-12)
