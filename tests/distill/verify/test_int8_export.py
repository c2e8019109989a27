"""INT8 by calibration: AP kept, the layers that cost it found, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("pycocotools")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from PIL import Image

from distill.data.dataset import DataSet
from distill.data.formats.readers import open_data
from distill.verify.calibration import open_calibration
from distill.verify.int8_export import export_int8_verified, prepare_int8
from nas.api.export import ap_share
from nas.cli import main
from tests.distill.taught import FIRST, SECOND, taught, untaught, write_pictures
from tests.distill.tiny import PX
from workbench.errors import BadInput
from zoo.detector import Detector
from zoo.export.deployed import folded_copy
from zoo.export.options import ExportOptions
from zoo.export.sensitivity import layer_sensitivities
from zoo.weights.checkpoint import save

INT8 = ExportOptions(height=PX, width=PX, int8=True)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write_pictures(tmp_path_factory.mktemp("pictures")))


@pytest.fixture(scope="module")
def data(pictures: Path) -> DataSet:
    return open_data(pictures, "val")


def image_folder(pictures: Path) -> str:
    """The folder of the val split's images."""
    return str(Path(open_data(pictures, "val").pictures[0].file).parent)


def uneven(detector: Detector, factor: float = 2.0**14) -> Detector:
    """The same function in FP32; one channel between two layers is so large that INT8 loses all others."""
    before, after = detector.get_submodule(FIRST), detector.get_submodule(SECOND)
    with torch.no_grad():
        before.bn.weight[0] *= factor
        before.bn.bias[0] *= factor
        for branch in (after.dense, after.point):
            branch.conv.weight[:, 0] /= factor
    return detector


def test_ap_is_kept_and_the_file_says_what_it_is(pictures: Path, data: DataSet, tmp_path: Path) -> None:
    calibration = open_calibration(image_folder(pictures), 8)
    job = prepare_int8(taught(), str(tmp_path / "x.onnx"), "onnx", INT8, calibration)
    verified = export_int8_verified(job, calibration, data, 0.05)
    before, after = verified.check.comparison.torch.ap, verified.check.comparison.file.ap
    assert not verified.drifts and not verified.repaired and before > 0.8 and after >= before - 0.05
    assert verified.check.comparison.largest_gap > 1e-3, "INT8 rounds"
    model = onnx.load(str(tmp_path / "x.onnx"))
    held = json.loads({entry.key: entry.value for entry in model.metadata_props}["precision"])
    folder = Path(image_folder(pictures)).name
    assert held == {"weights": "INT8", "kept_fp32": [], "calibration": f"min-max over 8 images of {folder}"}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    quantized = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    inside = [node for node in convs if node.name.startswith("/detector/")]
    assert inside and all(set(node.input) <= quantized for node in inside)
    integers = {weight.name: weight for weight in model.graph.initializer if weight.data_type == onnx.TensorProto.INT8}
    scales = [node.input[1] for node in model.graph.node if node.input and node.input[0] in integers]
    shapes = {weight.name: list(weight.dims) for weight in model.graph.initializer}
    assert scales and any(shapes[name] and shapes[name][0] > 1 for name in scales), "one scale an output channel"


def test_the_layers_that_cost_ap_stay_in_fp32(pictures: Path, data: DataSet, tmp_path: Path) -> None:
    calibration = open_calibration(image_folder(pictures), 16)
    detector, said = uneven(taught()), list[str]()
    images = calibration.batches(detector, INT8)
    job = prepare_int8(detector, str(tmp_path / "x.onnx"), "onnx", INT8, calibration)
    errors = layer_sensitivities(folded_copy(detector), job.network.layers, images[:2])
    worst = sorted(errors, key=lambda layer: -errors[layer])[:2]
    assert {layer.removesuffix(".conv") for layer in worst} == {FIRST, SECOND}
    verified = export_int8_verified(job, calibration, data, 0.05, said.append)
    assert verified.first.comparison.file.ap < verified.first.comparison.torch.ap - 0.05
    assert not verified.drifts and {FIRST + ".conv", SECOND} <= set(verified.repaired)
    assert len(verified.repaired) < len(job.network.layers) and verified.trials >= 1
    assert sum(text.startswith("trial ") for text in said) == verified.trials
    assert "kept out of INT8" in str(verified)


def test_an_untaught_detector_proves_nothing(pictures: Path, data: DataSet, tmp_path: Path) -> None:
    calibration = open_calibration(image_folder(pictures), 2)
    job = prepare_int8(untaught(), str(tmp_path / "x.onnx"), "onnx", INT8, calibration)
    verified = export_int8_verified(job, calibration, data)
    assert verified.drifts and any("AP cannot tell" in reason for reason in verified.check.reasons)


@pytest.mark.parametrize("ranges", ["entropy", "percentile"])
def test_other_ranges(ranges: str, pictures: Path, data: DataSet, tmp_path: Path) -> None:
    calibration = open_calibration(image_folder(pictures), 4, ranges)
    job = prepare_int8(taught(), str(tmp_path / "x.onnx"), "onnx", INT8, calibration)
    file, _ = job.write((), lambda text: None)
    assert file.within_tolerance and all(gap.rows for gap in file.gaps.values())


def test_openvino(pictures: Path, data: DataSet, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    calibration = open_calibration(image_folder(pictures), 8)
    job = prepare_int8(taught(), str(tmp_path / "x.xml"), "openvino", INT8, calibration)
    verified = export_int8_verified(job, calibration, data, 0.05)
    assert not verified.drifts
    model = openvino.Core().read_model(tmp_path / "x.xml")
    kinds = {op.get_element_type().get_type_name() for op in model.get_ops() if op.get_type_name() == "Constant"}
    assert "i8" in kinds


def test_an_int8_file_is_evaluated_in_its_runtime(
    pictures: Path, data: DataSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calibration = open_calibration(image_folder(pictures), 8)
    job = prepare_int8(taught(), str(tmp_path / "x.onnx"), "onnx", INT8, calibration)
    verified = export_int8_verified(job, calibration, data, 0.05)
    words = ["eval", str(tmp_path / "x.onnx"), "--data", str(pictures), "--data-workers", "0", "--quiet", "--json"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ap"] == pytest.approx(verified.check.comparison.file.ap, abs=1e-3)
    assert main([*words, "--input", "32"]) == 2 and "was exported for" in capsys.readouterr().err


def test_a_data_set_comes_before_an_image_beside_it(tmp_path: Path) -> None:
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / "images" / "train").mkdir(parents=True)
    (tmp_path / "data.yaml").write_text('train: images/train\nval: images/train\nnc: 1\nnames: ["a"]\n')
    for i in range(5):
        Image.new("RGB", (64, 64)).save(tmp_path / "images" / "train" / f"{i}.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "sheet.png")
    chosen = open_calibration(str(tmp_path), 3)
    assert [file.name for file in chosen.files] == ["0.png", "2.png", "4.png"]
    assert str(chosen) == f"min-max over 3 images of {tmp_path.name}"


def test_ap_in_points_and_as_a_share() -> None:
    assert ap_share("0.5AP") == ap_share("0.005") == ap_share(0.005) == 0.005
    for bad in ("half", "-1", "101AP", "nan", "2"):
        with pytest.raises(BadInput, match="AP"):
            ap_share(bad)


BAD: dict[str, tuple[list[str], str]] = {
    "no calibration": (["--int8"], "--int8 needs images to calibrate on"),
    "calibration alone": (["--calibrate", "pictures"], "belong to --int8"),
    "empty folder": (["--int8", "--calibrate", "empty"], "no pictures to calibrate on"),
    "nowhere": (["--int8", "--calibrate", "nowhere"], "nowhere"),
    "no images": (["--int8", "--calibrate", "pictures", "--images", "0"], "at least 1"),
    "drop alone": (["--int8", "--calibrate", "pictures", "--max-drop", "0.5AP"], "give both or neither"),
    "drop": (["--int8", "--calibrate", "pictures", "--verify", "pictures", "--max-drop", "x"], "AP 'x' must be"),
    "tolerance": (["--int8", "--calibrate", "pictures", "--verify", "pictures", "--ap-tolerance", "1"], "--max-drop"),
    "both": (["--int8", "--half", "--calibrate", "pictures"], "contradict"),
    "format": (["--int8", "--calibrate", "pictures", "--format", "torchscript"], "use onnx or openvino"),
    "layer": (["--int8", "--calibrate", "pictures", "--fp32-layers", "stem"], "unknown layer"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(
    case: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "pictures").symlink_to(image_folder(pictures))
    save(taught(), tmp_path / "taught.safetensors")
    before = sorted(tmp_path.iterdir())
    args, words = BAD[case]
    assert main(["export", "taught.safetensors", "--quiet", "--format", "onnx", *args]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("nas: ") and err.count("\n") == 1 and words in err
    assert sorted(tmp_path.iterdir()) == before
