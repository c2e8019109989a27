"""An exported file checked on real images: AP before and after, the layers that FP16 breaks, and what cannot be
repaired."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("pycocotools")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from distill.data.dataset import DataSet
from distill.data.formats.readers import open_data
from distill.train.detect import DetectOptions, detect
from distill.train.evaluate import evaluate_detections
from distill.verify.check import check_file
from distill.verify.layer_search import MAX_TRIALS, LayerSearch
from distill.verify.verified_export import export_verified
from tests.distill.taught import EARLIER, FIRST, SECOND, overflowing, taught, untaught, write_pictures
from tests.distill.tiny import PX, batches, tiny_detector
from workbench.errors import BadInput
from zoo.export.deployed import folded_copy
from zoo.export.divergence import first_divergence
from zoo.export.formats import FORMATS
from zoo.export.half_precision import layer_of
from zoo.export.options import ExportOptions
from zoo.export.write import export

ONE_BOX = 0.01
HALF = ExportOptions("nms", PX, PX, half=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    return open_data(write_pictures(tmp_path_factory.mktemp("pictures")), "val")


FAITHFUL: dict[str, tuple[str, str, bool, bool, int]] = {
    "onnx": ("onnx", "decoded", False, False, 1),
    "onnx in batches that do not come out even": ("onnx", "decoded", False, False, 3),
    "onnx with suppression in FP16": ("onnx", "nms", True, False, 1),
    "onnx end to end in FP16": ("onnx", "end2end", True, True, 3),
    "torchscript": ("torchscript", "decoded", False, False, 5),
    "torchscript end to end": ("torchscript", "end2end", False, True, 1),
    "openvino with suppression in FP16": ("openvino", "nms", True, False, 1),
    "openvino end to end": ("openvino", "end2end", False, True, 2),
}


SLOW = ("onnx", "torchscript end to end", "openvino end to end")


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) if case in SLOW else case for case in FAITHFUL]
)
def test_a_faithful_file_has_the_ap_of_torch(case: str, data: DataSet, tmp_path: Path) -> None:
    kind, form, half, nms_free, batch = FAITHFUL[case]
    if kind == "openvino":
        pytest.importorskip("openvino")
    detector = taught(nms_free)
    # of sixteen pictures, one box that crosses one IoU threshold moves AP by 0.006
    allowed = ONE_BOX if half else None
    verified = export_verified(
        detector,
        tmp_path / ("x" + FORMATS[kind].suffix),
        kind,
        ExportOptions(form, PX, PX, batch, half=half),
        data,
        ap_tolerance=allowed,
    )
    assert not verified.drifts and verified.check is verified.first and not verified.repaired and not verified.note
    compared = verified.check.comparison
    assert compared.images == 16 and compared.torch.ap > 0.8
    evaluated = evaluate_detections(data, detect(detector, data, DetectOptions(PX, workers=0)))
    assert compared.torch.summary == evaluated.summary
    assert abs(compared.file.ap - evaluated.ap) <= (ONE_BOX if half else 1e-6)
    assert set(compared.gaps) == {"boxes", "scores"} | ({"detections"} if form != "decoded" else set())
    assert all(gap.rows >= 16 for gap in compared.gaps.values())


def test_pictures_of_another_shape(data: DataSet, tmp_path: Path) -> None:
    verified = export_verified(taught(), tmp_path / "x.onnx", "onnx", ExportOptions("nms", 64, 96), data)
    assert (
        not verified.drifts
        and verified.check.comparison.torch.summary != evaluate_detections(
            data, detect(taught(), data, DetectOptions(PX, workers=0))
        ).summary
    )


def test_the_layer_that_overflows_is_found_and_put_into_fp32(data: DataSet, tmp_path: Path) -> None:
    said: list[str] = []
    detector, path = overflowing(taught()), tmp_path / "x.onnx"
    image = torch.rand(1, 3, PX, PX) * 255
    with torch.no_grad():
        for a, b in zip(
            detector.decode(detector(image), (PX, PX)), taught().decode(taught()(image), (PX, PX)), strict=True
        ):
            assert torch.equal(a, b)
    verified = export_verified(detector, path, "onnx", HALF, data, log=said.append)
    assert verified.repaired == (FIRST + ".conv",)
    assert verified.first.comparison.torch.ap > 0.8 and verified.first.comparison.file.ap == 0.0
    assert any("AP went from" in reason for reason in verified.first.reasons) and any(
        "NaN or infinite" in reason for reason in verified.first.reasons
    )
    assert not verified.drifts and abs(verified.check.comparison.file.ap - verified.check.comparison.torch.ap) <= 0.005
    assert 3 <= verified.trials <= 20
    assert sum(text.startswith("trial ") for text in said) == verified.trials
    # The file on disk is the repaired one: that layer and its reader hold FP32 weights, all others FP16.
    model = onnx.load(str(path))
    wide = {
        node.name
        for node in model.graph.node
        if node.op_type == "Conv"
        for one in model.graph.initializer
        if one.name == node.input[1] and one.data_type == 1
    }
    assert {name.split("/")[-3] for name in wide} == {"first", "second"} and len(wide) == 2
    (held,) = (json.loads(one.value) for one in model.metadata_props if one.key == "precision")
    assert held == {"weights": "FP16", "kept_fp32": [FIRST + ".conv"]}
    report: dict[str, Any] = json.loads(json.dumps(verified.to_dict(), allow_nan=False))
    assert report["drifts"] is False and report["repaired"] == [FIRST + ".conv"] and report["trials"] == verified.trials
    assert report["before_repair"]["ap"]["file"] == 0.0 and report["ap"]["file"] == pytest.approx(
        report["ap"]["torch"], abs=0.005
    )
    assert (
        report["before_repair"]["gaps"]["boxes"]["relative"] is None
        and "NaN" in report["before_repair"]["gaps"]["boxes"]["fault"]
    )
    plain = export_verified(taught(), tmp_path / "plain.onnx", "onnx", HALF, data)
    assert not plain.drifts and not plain.repaired and (tmp_path / "plain.onnx").stat().st_size < path.stat().st_size


def test_two_layers_that_overflow(data: DataSet, tmp_path: Path) -> None:
    detector = overflowing(overflowing(taught(), *EARLIER))
    verified = export_verified(detector, tmp_path / "x.onnx", "onnx", HALF, data)
    assert verified.repaired == (EARLIER[0] + ".conv", FIRST + ".conv") and not verified.drifts


@pytest.mark.slow
def test_with_one_layer_named_the_other_is_found(data: DataSet, tmp_path: Path) -> None:
    detector = overflowing(overflowing(taught(), *EARLIER))
    kept = dataclasses.replace(HALF, fp32_layers=(EARLIER[0],))
    verified = export_verified(detector, tmp_path / "x.onnx", "onnx", kept, data)
    assert verified.repaired == (FIRST + ".conv",) and not verified.drifts


@pytest.mark.slow
def test_weights_that_openvino_cannot_store_in_fp16(data: DataSet, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    detector = overflowing(taught(), factor=2.0**24)
    verified = export_verified(detector, tmp_path / "x.xml", "openvino", HALF, data)
    # Computed in FP32, it is the weights that are too large in the first and too small in the second.
    assert verified.first.reasons and set(verified.repaired) == {FIRST + ".conv", SECOND} and not verified.drifts


def test_an_untaught_detector_is_judged_by_its_gap(data: DataSet, tmp_path: Path) -> None:
    sound = export_verified(untaught(), tmp_path / "x.onnx", "onnx", ExportOptions(height=PX, width=PX), data)
    assert not sound.check.ap_is_informative and not sound.drifts
    broken = overflowing(untaught(), factor=2.0**24)
    verified = export_verified(broken, tmp_path / "x.onnx", "onnx", HALF, data)
    assert not verified.first.ap_is_informative and not any("AP went" in reason for reason in verified.first.reasons)
    assert any("on these images" in reason for reason in verified.first.reasons)
    assert verified.repaired and not verified.drifts
    # The same gap is no matter of AP: with nothing to go by but a tolerance of 0, rounding alone makes it drift.
    strict = export_verified(
        untaught(), tmp_path / "x.onnx", "onnx", ExportOptions(height=PX, width=PX, tolerance=0.0), data
    )
    assert strict.drifts and any("scores on these images differ by" in reason for reason in strict.check.reasons)


def damaged(path: Path) -> None:
    """Moves every box by 12 pixels, as a wrong decoding would."""
    model = onnx.load(str(path))
    node = next(one for one in model.graph.node if "boxes" in one.output)
    node.output[list(node.output).index("boxes")] = "whole"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(12), "damage"))
    model.graph.node.insert(
        list(model.graph.node).index(node) + 1, onnx.helper.make_node("Add", ["whole", "damage"], ["boxes"])
    )
    onnx.save(model, str(path))


def test_a_file_damaged_after_writing_drifts_and_is_not_repaired(data: DataSet, tmp_path: Path) -> None:
    detector, path = taught(), tmp_path / "x.onnx"
    written = export(detector, path, "onnx", HALF)
    assert not check_file(detector, written, "onnx", HALF, data, 0.005).reasons
    damaged(path)
    check = check_file(detector, written, "onnx", HALF, data, 0.005)
    assert len(check.reasons) == 1 and "AP went from" in check.reasons[0]
    assert check.comparison.gaps["boxes"].absolute == pytest.approx(12, abs=0.5)
    search = LayerSearch(detector, "onnx", HALF, data, check, lambda text: None)
    assert search.minimal_layers() == () and "changed after it was written" in search.note


@pytest.mark.parametrize("half", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("inside", "name"), [(FIRST + ".conv", FIRST + ".conv"), (SECOND + ".folded", SECOND), ("head.cls.1", "head.cls.1")]
)
def test_the_first_layer_that_differs_is_named(half: bool, inside: str, name: str, tmp_path: Path) -> None:
    detector, path, options = taught(), tmp_path / "x.onnx", dataclasses.replace(HALF, half=half)
    export(detector, path, "onnx", options)
    image = batches(1)[0].image[:1]
    assert first_divergence(detector, path, image, 0.02) == ""
    model = onnx.load(str(path))
    modules = {one for one, _ in folded_copy(detector).named_modules() if one}
    (conv,) = (node for node in model.graph.node if node.op_type == "Conv" and layer_of(node.name, modules) == inside)
    (weight,) = (one for one in model.graph.initializer if one.name == conv.input[1])
    weight.CopyFrom(onnx.numpy_helper.from_array(np.flip(onnx.numpy_helper.to_array(weight), 0).copy(), weight.name))
    onnx.save(model, str(path))
    assert first_divergence(detector, path, image, 0.02) == name


def test_what_precision_cannot_repair(data: DataSet, tmp_path: Path) -> None:
    exact = export_verified(taught(), tmp_path / "x.onnx", "onnx", dataclasses.replace(HALF, tolerance=0.0), data)
    assert exact.drifts and not exact.repaired and "with every layer in FP32 the gap is still" in exact.note
    single = export_verified(
        taught(), tmp_path / "x.onnx", "onnx", ExportOptions(height=PX, width=PX, tolerance=0.0), data
    )
    assert (
        single.drifts
        and "in FP32 already, so there is none to put into a higher precision; "
        "the first layer that differs is backbone."
        in single.note
    )
    assert any("on synthetic scenes differ by" in reason for reason in single.check.reasons)


def test_bad_input_writes_nothing(data: DataSet, tmp_path: Path) -> None:
    def refused(words: str, detector: Any, options: ExportOptions = HALF, of: DataSet = data, **more: Any) -> None:
        with pytest.raises(BadInput, match=words):
            export_verified(detector, tmp_path / "x.onnx", "onnx", options, of, **more)
        assert not list(tmp_path.iterdir())

    refused("category 'red' of the data .* is unknown to the model", tiny_detector())
    refused("AP tolerance -1 must be", taught(), ap_tolerance=-1)
    refused("AP tolerance nan must be", taught(), ap_tolerance=math.nan)
    refused("has no pictures", taught(), of=dataclasses.replace(data, pictures=()))
    refused(
        "unknown layer of the folded tiny 'backbone.layers.3.0.frist'",
        taught(),
        dataclasses.replace(HALF, fp32_layers=("backbone.layers.3.0.frist",)),
    )
    single = dataclasses.replace(HALF, half=False, fp32_layers=(FIRST,))
    refused("without --half or --int8 all of them are", taught(), single)


@pytest.mark.slow
def test_the_search_is_bounded(data: DataSet, tmp_path: Path) -> None:
    """AP alone may drift: then half the gap is the goal, which every layer has a part in, and the search still ends."""
    check = check_file(taught(), export(taught(), tmp_path / "x.onnx", "onnx", HALF), "onnx", HALF, data, 0.005)
    search = LayerSearch(taught(), "onnx", HALF, data, check, lambda text: None)
    found = search.minimal_layers()
    assert found and search.trials <= MAX_TRIALS + 2
    again = export(taught(), tmp_path / "y.onnx", "onnx", dataclasses.replace(HALF, fp32_layers=found))
    wider, narrower = (
        check_file(taught(), one, "onnx", HALF, data, 0.005).comparison.gaps["boxes"].relative
        for one in (check.file, again)
    )
    assert narrower < wider
