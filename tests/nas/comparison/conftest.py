"""A finished search to compare."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.searcher.api import search


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search for 2.4 ms on a T4, with its top five."""
    return search("2.4ms", "t4", name="found", runs=tmp_path_factory.mktemp("searched"), pictures=False).folder
