"""One atlas folder for all tests of a module."""

from __future__ import annotations

import pytest

from nas.detectors.atlas import Atlas
from nas.detectors.read import read_atlas
from tests.nas.detectors.made import folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(folder(tmp_path_factory.mktemp("data") / "mine"))


@pytest.fixture(scope="module")
def atlas(data: str) -> Atlas:
    return read_atlas([data])
