"""The folder in which the pages' commands and programs are run."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It has what pages name. What commands leave there stays for those behind them, as a reader's does."""
    for package in ("torch", "pycocotools", "cv2", "onnxruntime", "openvino", "ray"):
        if find_spec(package) is None:
            pytest.skip(f"needs the package {package}")
    from tests.docs.world import furnish

    folder = tmp_path_factory.mktemp("pages") / "work"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("NAS_DEVICES", str(folder / "devices"))
        furnish(folder)
    return folder


@pytest.fixture
def here(furnished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same as the working folder."""
    monkeypatch.setenv("NAS_DEVICES", str(furnished / "devices"))
    monkeypatch.chdir(furnished)
    return furnished
