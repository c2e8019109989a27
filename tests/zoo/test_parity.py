"""Every family against numbers measured on its official implementation, in training form and folded."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from tests.zoo import parity

pytest.importorskip("torch")

FIXTURES = parity.fixture_files()


@pytest.mark.skipif(not FIXTURES, reason="no parity fixtures beside the project")
@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_official_numbers(path: Path) -> None:
    import torch

    from zoo.families import build
    from zoo.official import identify, load_official

    fixture = parity.read_fixture(path)
    tensors = parity.official_tensors(fixture)
    family, model, classes = identify(tensors)
    assert (family.name, classes) == (fixture["family"], 80)
    detector = build(fixture["model"]).eval()
    assert detector.recipe.model == model
    load_official(detector, tensors)
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
