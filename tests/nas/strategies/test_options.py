"""Options of strategies: typed, checked, and listed where a name is unknown."""

from __future__ import annotations

from typing import Any

import pytest

from nas.searcher.method import choose_options
from nas.strategies import STRATEGIES, strategy_class
from nas.strategies.evolution import EvolutionOptions
from nas.strategies.options import StrategyOptions, read_options
from nas.strategies.optuna_samplers import Nsga2Options, TpeOptions
from workbench.errors import BadInput


def test_text_becomes_the_type_of_the_field() -> None:
    options = read_options(TpeOptions, "tpe", {"steps": "1e3", "joint": "true", "batch": 8})
    assert options == TpeOptions(steps=1000, joint=True, batch=8)
    assert read_options(EvolutionOptions, "evolution", {"focus": "1"}).focus == 1.0


@pytest.mark.parametrize(
    ("strategy", "values", "words"),
    [
        (
            "evolution",
            {"childs": 3},
            "did you mean children\\? options and their defaults: steps=200000, population=512",
        ),
        ("evolution", {"children": "2.5"}, "must be a whole number"),
        ("evolution", {"focus": "nan"}, "must be a number"),
        ("evolution", {"fine_share": "-0.5"}, "must be a number of at least 0"),
        ("evolution", {"cross_share": 2}, "use 0 to 1"),
        ("evolution", {"population": 1}, "at least 2"),
        ("tpe", {"joint": "maybe"}, "must be true or false"),
        ("tpe", {"batch": 0}, "at least 1"),
        ("nsga2", {"joint": True}, "unknown option of nsga2 'joint': .*batch=32"),
        ("random", {"steps": 0}, "steps 0 must be at least 1"),
        ("exact", {"steps": 5}, "unknown option of exact 'steps': options and their defaults: none"),
    ],
)
def test_what_is_wrong_is_named(strategy: str, values: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        read_options(strategy_class(strategy).options_type, strategy, values)


def test_parameters_of_their_own_and_changes_by_name_meet() -> None:
    assert choose_options("evolution", {"children": "8"}, 100, None) == EvolutionOptions(steps=100, children=8)
    assert choose_options("nsga2", {"population": "64"}, None, None) == Nsga2Options(population=64)
    assert choose_options("exact", None, 100, 64) == StrategyOptions(), "the exact search has no steps to count"
    with pytest.raises(BadInput, match="population is given twice"):
        choose_options("nsga2", {"population": 64}, None, 32)


@pytest.mark.parametrize("name", STRATEGIES)
def test_defaults_are_unchanged_options(name: str) -> None:
    assert read_options(strategy_class(name).options_type, name, {}).changed() == {}
    assert EvolutionOptions(children=8, focus=1.0).changed() == {"children": 8, "focus": 1.0}
