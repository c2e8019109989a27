"""Exports: metadata, the detector left alone, folded detectors and branches, interrupts."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from tests.zoo.export.lively import CLASSES, PX, assert_faithful, assert_same_rows, in_onnxruntime, lively, picture
from workbench.errors import BadInput
from zoo.detector import Recipe
from zoo.export.options import ExportOptions
from zoo.export.write import export
from zoo.factory import build_recipe


def test_the_file_says_what_it_needs(tmp_path: Path) -> None:
    detector = build_recipe(Recipe("yolox-nano", 3)).eval()
    lineage = ({"model": "yolox-nano", "licence": "Apache-2.0", "sha256": "ab" * 32},)
    detector.info = dataclasses.replace(
        detector.info, class_names=("käse", "b", "c"), provenance={"licence": "Apache-2.0"}, lineage=lineage
    )
    export(detector, tmp_path / "x.onnx", "onnx", ExportOptions(height=64, width=96))
    model = onnx.load(str(tmp_path / "x.onnx"))
    held = {entry.key: entry.value for entry in model.metadata_props}
    assert held["model"] == "yolox-nano" and held["form"] == "decoded"
    assert json.loads(held["class_names"]) == ["käse", "b", "c"]
    assert json.loads(held["preprocess"]) == {
        **dataclasses.asdict(detector.preprocess),
        "mean": [0.0] * 3,
        "std": [1.0] * 3,
    }
    assert json.loads(held["selection"])["iou_threshold"] == 0.65
    assert json.loads(held["lineage"]) == [dict(lineage[0])] and json.loads(held["provenance"]) == {
        "licence": "Apache-2.0"
    }
    assert json.loads(held["input"]) == {
        "name": "image",
        "layout": "b 3 h w",
        "batch": 1,
        "height": 64,
        "width": 96,
        "dynamic": False,
    }
    assert [output.name for output in model.graph.output] == ["boxes", "scores"]


def test_the_detector_given_is_left_as_it_was(tmp_path: Path) -> None:
    detector = build_recipe(Recipe("yolo26n", CLASSES)).train()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    export(detector, tmp_path / "x.torchscript", "torchscript", ExportOptions("end2end", PX, PX))
    assert detector.training and not detector.fused and all(value.requires_grad for value in detector.parameters())
    after = detector.state_dict()
    assert list(before) == list(after) and all(torch.equal(value, after[name]) for name, value in before.items())


def test_folded_checkpoints_and_other_branches(tmp_path: Path) -> None:
    many = build_recipe(lively("free").recipe).eval()
    many.load_state_dict(lively("free").state_dict())
    many.choose_branch("one_to_many")
    assert_faithful(export(many, tmp_path / "many.onnx", "onnx", ExportOptions("nms", PX, PX)), 80)
    many.fuse()
    assert_faithful(export(many, tmp_path / "folded.onnx", "onnx", ExportOptions("nms", PX, PX)), 80)
    image = picture("free")
    assert_same_rows(
        in_onnxruntime(tmp_path / "many.onnx", image)[0][0], in_onnxruntime(tmp_path / "folded.onnx", image)[0][0]
    )
    with pytest.raises(BadInput, match="train an NMS-free head"):
        export(many, tmp_path / "y.onnx", "onnx", ExportOptions("end2end", PX, PX))


class Dropping:
    """An interrupt comes while it is freed, where Python prints what is raised and goes on."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_drops_is_heard_before_the_file_is_replaced(tmp_path: Path) -> None:
    old = tmp_path / "nano.torchscript"
    old.write_text("old")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            export(
                lively("yolox-nano"),
                old,
                "torchscript",
                ExportOptions(height=PX, width=PX),
                log=lambda text: Dropping() and None,
            )
    finally:
        signal.signal(signal.SIGINT, before)
    assert [file.name for file in tmp_path.iterdir()] == [old.name] and old.read_text() == "old"
