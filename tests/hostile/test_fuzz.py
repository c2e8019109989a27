"""The doors under a fixed budget of mutated files."""

from __future__ import annotations

import pytest

from tests.hostile.fuzz import DOORS, findings

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("door", DOORS)
def test_a_few_mutated_files(door: str) -> None:
    assert list(findings(door, count=60)) == []


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_many_mutated_files(door: str) -> None:
    assert list(findings(door, count=2500)) == []
