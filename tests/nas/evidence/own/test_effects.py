"""Main effects of a design's factors."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from nas.evidence.own.effects import main_effects, read_levels
from workbench.errors import BadInput

pytest.importorskip("scipy")

LEVELS = [{"kind": kind, "width": width} for kind, width, _ in itertools.product("abc", ("thin", "wide"), range(4))]
REFERENCES = {"kind": "b", "width": "thin"}
TRUE = {"a": 3.0, "b": 0.0, "c": -1.0, "thin": 0.0, "wide": 2.0}
VALUES = np.array([10 + TRUE[levels["kind"]] + TRUE[levels["width"]] for levels in LEVELS])


def test_additive_effects_are_found_exactly() -> None:
    found = main_effects(LEVELS, REFERENCES, VALUES)
    assert found is not None and found.remainder == pytest.approx(0, abs=1e-9)
    effects = {effect.level: effect for effect in found.effects}
    assert {name: effect.value for name, effect in effects.items()} == pytest.approx({"a": 3, "c": -1, "wide": 2})
    assert effects["a"].reference == "b" and effects["a"].factor == "kind" and effects["c"].is_clear


def test_intervals_cover_as_often_as_they_say_and_the_remainder_is_the_noise() -> None:
    rng = np.random.default_rng(0)
    covered, remainders = [], []
    for _ in range(400):
        found = main_effects(LEVELS, REFERENCES, VALUES + 0.5 * rng.standard_normal(len(VALUES)))
        assert found is not None
        covered += [effect.low <= TRUE[effect.level] <= effect.high for effect in found.effects]
        remainders.append(found.remainder)
    assert 0.87 < np.mean(covered) < 0.93 and np.mean(remainders) == pytest.approx(0.5, rel=0.05)


def test_architectures_without_a_value_do_not_count_and_too_few_tell_nothing() -> None:
    values = VALUES.copy()
    values[:3] = np.nan
    found = main_effects(LEVELS, REFERENCES, values)
    assert found is not None and len(found.effects) == 3
    values[6:] = np.nan
    assert main_effects(LEVELS, REFERENCES, values) is None
    twins = [{"kind": levels["width"], "width": levels["width"]} for levels in LEVELS]
    assert main_effects(twins, {"kind": "thin", "width": "thin"}, VALUES) is None


def test_levels_are_read_and_a_broken_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "trained.jsonl").write_text('{"name": "a", "levels": {"kind": "res"}}\n{"name": "b"}\n')
    assert read_levels(tmp_path) == {"a": {"kind": "res"}, "b": {}}
    (tmp_path / "trained.jsonl").write_text("{")
    with pytest.raises(BadInput, match=r"trained\.jsonl.* is not JSON"):
        read_levels(tmp_path)
