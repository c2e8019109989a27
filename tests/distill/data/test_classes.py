"""One class map: numbers by the order of ids, and two maps that differ name the category."""

from __future__ import annotations

import numpy as np
import pytest

from distill.data.classes import ClassMap, check_same
from workbench.errors import BadInput

MAP = ClassMap.of([(90, "bolt"), (7, "nut"), (13, "washer")])


def test_numbers_follow_ids() -> None:
    assert (MAP.names, MAP.original_ids) == (("nut", "washer", "bolt"), (7, 13, 90))
    assert [MAP.number(i) for i in (7, 13, 90)] == [0, 1, 2]
    found = MAP.numbers(np.array([90, 7, 7, 13]))
    assert found.tolist() == [2, 0, 0, 1] and found.dtype == np.int64


def test_numbers_of_an_unordered_map() -> None:
    assert ClassMap(("a", "b", "c"), (5, 1, 3)).numbers(np.array([1, 3, 5])).tolist() == [1, 2, 0]


def test_numbers_of_nothing() -> None:
    assert MAP.numbers(np.zeros(0, dtype=np.int64)).tolist() == []


@pytest.mark.parametrize("unknown", [8, 0, 91, -1])
def test_unknown_id_is_named(unknown: int) -> None:
    with pytest.raises(BadInput, match=f"category id {unknown} is not"):
        MAP.numbers(np.array([7, unknown]))


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (("nut", "washer", "screw"), "'screw' of val is unknown to train"),
        (("nut", "washer"), "'bolt' of train is missing in val"),
        (("washer", "nut", "bolt"), "'nut' is number 0 in train and number 1 in val"),
    ],
)
def test_maps_that_differ_name_the_category(theirs: tuple[str, ...], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        check_same(MAP, theirs, "train", "val")


def test_same_maps_pass() -> None:
    check_same(MAP, ["nut", "washer", "bolt"], "train", "the model")


@pytest.mark.parametrize(
    ("pairs", "words"),
    [([], "no classes"), ([(1, "a"), (1, "b")], "id 1 occurs twice"), ([(1, "a"), (2, "a")], "'a' occurs twice")],
)
def test_no_map_of_nonsense(pairs: list[tuple[int, str]], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        ClassMap.of(pairs)
