"""Every family against numbers measured on its official implementation, in training form and folded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests.zoo.families import parity
from tests.zoo.weights import official_files
from zoo.factory import family_of
from zoo.weights.official import import_official

FIXTURES = parity.fixture_files()


WRITERS: dict[str, Callable[[Path, dict[str, Any]], None]] = {
    "damo-yolo": official_files.save_plain,
    "yolox": official_files.save_plain,
    "rtdetrv2": official_files.save_rtdetr,
    # Official files hold half precision, which the official numbers were not measured with.
    "yolov7": partial(official_files.save_pickled_model, module="models.yolo", cls="Model", half=False, legacy=True),
    "yolo11": partial(official_files.save_pickled_model, half=False),
    "yolo26": partial(official_files.save_pickled_model, half=False, ema=True),
}
"""How each family's official files are laid out (``source_format`` of the fixtures)."""


@pytest.mark.skipif(not FIXTURES, reason="no parity fixtures beside the project")
@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_official_numbers(path: Path, tmp_path: Path) -> None:
    """A checkpoint in the official format, imported from its file, gives the official numbers."""
    fixture = parity.read_fixture(path)
    WRITERS[fixture["family"]](tmp_path / "official.pt", parity.official_tensors(fixture))
    detector = import_official(tmp_path / "official.pt")
    (tmp_path / "official.pt").unlink()
    assert detector.recipe.model == family_of(fixture["model"])[1]
    assert (detector.family, detector.classes) == (fixture["family"], 80)
    params = sum(p.numel() for p in detector.parameters()) / 1e6
    assert params == pytest.approx(fixture["params_m_train_form"], abs=5e-7)
    image, wanted = parity.image(fixture), {output["name"] for output in fixture["outputs"]}
    with torch.no_grad():
        gaps = parity.gaps(fixture, detector.official_outputs(image))
        assert set(gaps) == wanted and max(gaps.values()) <= 1e-4, gaps
        seen: set[str] = set()
        for branch in detector.selections:  # a folded head has one branch left
            folded = copy.deepcopy(detector)
            folded.choose_branch(branch)
            gaps = parity.gaps(fixture, folded.fuse().official_outputs(image))
            assert max(gaps.values()) <= 1e-3, gaps
            seen |= set(gaps)
        assert seen == wanted
