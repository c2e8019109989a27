"""Parts that are not trained."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("pycocotools")

import nas
from distill.train.freeze import backbone_parts, freeze_parts, is_frozen_norm
from tests.distill.tiny import furnish, tiny_detector
from workbench.errors import BadInput
from zoo.resolve import resolve_detector


def test_parts_are_stem_and_stages() -> None:
    names = [name for name, _ in backbone_parts(tiny_detector())]
    assert names == [f"backbone.layers.{n}" for n in range(6)]
    yolox = [name for name, _ in backbone_parts(resolve_detector("yolox-nano")[0])]
    assert yolox == ["backbone.stem", *(f"backbone.stage{n}" for n in range(2, 6))]


def test_frozen_parts_and_their_norms_have_no_gradient() -> None:
    detector = resolve_detector("yolox-nano")[0]
    assert freeze_parts(detector, "2") == "backbone.stem, backbone.stage2"
    frozen = {name for name, module in detector.named_modules() if is_frozen_norm(module)}
    assert frozen and all(name.startswith(("backbone.stem", "backbone.stage2")) for name in frozen)
    with pytest.raises(BadInput, match="must be backbone, or 1 to 5 of its parts"):
        freeze_parts(detector, "6")


def test_a_training_leaves_the_frozen_backbone_to_the_bit(tmp_path: Path) -> None:
    """Weights and statistics, in the average as well; and ``--patience`` ends the run, with its last weights."""
    furnish(tmp_path, 12)
    torch.manual_seed(0)
    start = resolve_detector(str(tmp_path / "tiny.yaml"))[0].state_dict()
    result = nas.train(
        tmp_path / "tiny.yaml", tmp_path / "data", input_px=64, epochs=6, batch=4, data_workers=0, freeze="backbone",
        patience=1, report=False, runs=tmp_path / "runs", quiet=True,
    )  # fmt: skip
    last = resolve_detector(str(result.last))[0].state_dict()
    backbone = [name for name in start if name.startswith("backbone.")]
    assert backbone and all(torch.equal(start[name], last[name]) for name in backbone)
    assert any(not torch.equal(start[name], last[name]) for name in start if name.startswith("neck."))
    assert len(result.history) - result.best_epoch == 1 and "AP has not risen since epoch" in result.notes[0]
