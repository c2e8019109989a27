"""A population of style mixed costs and scores what its candidates do one by one."""

from __future__ import annotations

import numpy as np
import pytest

from nas.costs import SpaceCosts, architecture_costs
from nas.devices.profile import load_device
from nas.scores import get_score
from nas.scores.rows import SCORE_TICK
from search_spaces.lowering import skeleton
from search_spaces.space_file import read_space

SPACE = """
name: mobile
style: mixed
act: relu
spp: {spp}
stem: {{out: 16..32, focus: false}}
stages:
  - {{kind: {kinds[0]}, out: 16..48, btn: 16..64, depth: 1..3, stride: 2}}
  - {{kind: {kinds[1]}, out: 32..96, btn: 16..64, k: [3, 5], depth: 1..4, stride: 2}}
  - {{kind: {kinds[2]}, out: 48..128, btn: 16..64, k: [3, 7], depth: 1..3, stride: 2}}
  - {{kind: {kinds[3]}, out: 48..128, btn: 32..64, k: [3, 5], depth: 1..3, stride: 1}}
  - {{kind: {kinds[4]}, out: 64..192, btn: 32..96, depth: 1..2, stride: 2}}
"""

MIXTURES = (
    ("repvgg", "k1dwk1", "k1dwsek1", "repvit", "repvitse"),
    ("fasternet", "cspnext", "repncspelan", "fasternet", "cspnext_plain"),
    ("repvit", "repncspelan", "fasternet", "cspnext", "k1dwk1"),
    ("repvitse", "repvgg", "cspnext", "repncspelan", "fasternet"),
    ("c2f", "c3k2", "c3k2_c3k", "c2psa", "elan"),
    ("elan", "k1dwk1", "c2f", "c3k2_attn", "c3k2_c3k"),
)


@pytest.mark.parametrize("kinds", MIXTURES)
@pytest.mark.parametrize("spp", ["true", "false"])
def test_rows_equal_candidates(kinds: tuple[str, ...], spp: str) -> None:
    space, profile = read_space(SPACE.format(kinds=kinds, spp=spp)), load_device("t4")
    costs = SpaceCosts(space, profile, 128)
    rows = space.sample(12, np.random.default_rng(7))
    found = costs.costs(rows)
    scores = get_score("maxent").over_rows(costs).total(rows)
    for i, row in enumerate(rows):
        arch = space.decode(row)
        alone = architecture_costs(arch, 128, profile).costs
        for name, value in alone.items():
            assert found[name][i] * costs.unit(name) == pytest.approx(value, rel=1e-12), name
        expected = get_score("maxent")(skeleton(arch), 128).value
        assert scores[i] * SCORE_TICK == pytest.approx(expected, rel=1e-9)
