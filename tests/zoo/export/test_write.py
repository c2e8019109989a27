"""ExportedFile files run in their own runtimes and agree with torch, or say that they do not."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from torch import Tensor, nn

from nas.cli import main
from search_spaces.published import PUBLISHED
from tests.zoo.families.checks import disturb
from workbench.errors import BadInput
from zoo.detector import Detector, Recipe
from zoo.export.formats import FORMATS
from zoo.export.measure import measure_gap
from zoo.export.options import HALF_TOLERANCE, OPSETS, TOLERANCE, ExportOptions
from zoo.export.scenes import prepared_scenes
from zoo.export.write import ExportedFile, export
from zoo.factory import build_recipe
from zoo.nms import best_of_all
from zoo.weights.checkpoint import save

PX, CLASSES = 128, 8
FREE = ("yolo26n", "rtdetrv2-s", "free")
"""Models that need no NMS; ``free`` is a DAMO-YOLO with a one-to-one head."""
MODELS = ("damo-yolo-ns", "yolox-nano", "yolov7", "yolo11n", *FREE)
LIVELY = {
    "damo-yolo": r"head\.(one_to_\w+\.)?cls\.\d\.bias",
    "yolox": r"head\.class_preds\.\d\.bias",
    "yolov7": r"head\.predict\..*\.conv\.bias",
    "yolo11": r"head\.classes\.\d\.2\.bias",
    "yolo26": r"head\.one_to_\w+\.classes\.\d\.2\.bias",
    "rtdetrv2": r"head\.(cell_)?scores(\.\d)?\.bias",
}
"""The biases of the class scores of every family."""
NAS = [sys.executable, "-m", "nas.cli"]


@functools.cache
def lively(model: str) -> Detector:
    """A detector whose random weights give scores and boxes that differ from place to place."""
    torch.manual_seed(1)
    recipe = Recipe(model, CLASSES)
    if model == "free":
        arch = PUBLISHED["damo-yolo-ns"]
        assert arch.head is not None
        recipe = Recipe(model, CLASSES, dataclasses.replace(arch, name=model, head=dataclasses.replace(arch.head, one_to_one=True)))
    detector = build_recipe(recipe)
    disturb(detector)
    for part in detector.modules():
        if isinstance(part, nn.Conv2d) and part.bias is None:
            nn.init.normal_(part.weight, std=part.weight[0].numel() ** -0.5)
    for name, value in detector.named_parameters():
        if re.fullmatch(LIVELY[detector.family], name):
            nn.init.uniform_(value, -6, -1)
        elif "objectness" in name and name.endswith("bias"):
            nn.init.zeros_(value)
        elif re.fullmatch(r"head\.(cell_)?boxes\.(\d\.)?layers\.2\.weight", name):
            nn.init.normal_(value, std=0.05)
    return detector.eval()


def picture(model: str, batch: int = 1, height: int = PX, width: int = PX) -> Tensor:
    """Scenes that the exporter does not measure on."""
    return prepared_scenes(lively(model), batch, height, width, 1, seed=99)[0]


def decoded(model: str, image: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return lively(model).decode(lively(model)(image), (image.shape[2], image.shape[3]))


def in_onnxruntime(path: Path, image: Tensor) -> list[Tensor]:
    """The outputs of the file as it is."""
    return [torch.from_numpy(value) for value in ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"image": image.numpy()})]


def kinds(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(str(path)).graph.node}


def assert_same_rows(ours: Tensor, theirs: Tensor, tolerance: float = 1e-4) -> None:
    """Every row of either has its twin in the other: boxes within ``tolerance`` of the side, the rest within ``tolerance``."""
    assert ours.shape == theirs.shape
    scale = torch.ones(ours.shape[1])
    scale[:4] = 1 / PX
    distance = torch.cdist((ours * scale).double(), (theirs * scale).double(), p=torch.inf)
    assert float(distance.amin(0).max()) < tolerance
    assert float(distance.amin(1).max()) < tolerance


def found_by_torch(model: str, image: Tensor) -> list[Tensor]:
    """What ``predict`` finds in every image, ``[k, 6]``."""
    return [torch.cat([d.boxes, d.scores[:, None], d.labels[:, None].float()], 1) for d in lively(model).predict(image)]


def assert_faithful(written: ExportedFile, least_rows: int) -> None:
    assert written.within_tolerance, written.gaps
    assert all(gap.rows >= least_rows for gap in written.gaps.values()), written.gaps


@pytest.mark.parametrize("model", MODELS)
def test_onnx_gives_the_boxes_and_scores_of_torch(model: str, tmp_path: Path) -> None:
    path, image = tmp_path / "x.onnx", picture(model)
    boxes, scores = decoded(model, image)
    assert scores.std() > 1e-3 and boxes.std(1).min() > 1
    written = export(lively(model), path, "onnx", ExportOptions(height=PX, width=PX))
    assert_faithful(written, 4 * boxes.shape[1] - 60)
    assert set(written.gaps) == {"boxes", "scores"} and all(gap.relative < 1e-4 for gap in written.gaps.values())
    given = in_onnxruntime(path, image)
    assert_same_rows(torch.cat([boxes, scores], 2)[0], torch.cat(given, 2)[0])
    assert not kinds(path) & {"NonMaxSuppression", "BatchNormalization"}


@pytest.mark.parametrize("model", MODELS)
def test_onnx_with_selection_inside_at_any_size(model: str, tmp_path: Path) -> None:
    form = "end2end" if model in FREE else "nms"
    path = tmp_path / "x.onnx"
    assert_faithful(export(lively(model), path, "onnx", ExportOptions(form, PX, PX, dynamic=True)), 80)
    assert ("NonMaxSuppression" in kinds(path)) == (form == "nms")
    (output,) = onnx.load(str(path)).graph.output
    assert output.name == "detections"
    for batch, height, width in ((1, PX, PX), (1 if form == "nms" else 3, PX + 32, PX + 96)):
        image = picture(model, batch, height, width)
        (given,) = in_onnxruntime(path, image)
        ours = found_by_torch(model, image) if form == "nms" else list(best_of_all(*decoded(model, image), 300))
        assert len(ours) == len(given) == batch
        for a, b in zip(ours, given, strict=True):
            assert len(a) >= 20 and (form == "end2end" or len(a[:, 5].unique()) > 1)
            assert_same_rows(a, b)
            assert bool((b[:, 4].diff() <= 0).all())


def test_nothing_found_is_an_empty_list(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dull = build_recipe(Recipe("yolox-nano", CLASSES)).eval()
    written = export(dull, tmp_path / "x.onnx", "onnx", ExportOptions("nms", 64, 64))
    assert written.within_tolerance and written.gaps["boxes"].rows == 4 * 84 and written.gaps["detections"].rows == 0
    (given,) = in_onnxruntime(tmp_path / "x.onnx", torch.zeros(1, 3, 64, 64))
    assert list(given.shape) == [1, 0, 6]


@pytest.mark.parametrize(("model", "form"), [("rtdetrv2-s", "decoded"), ("yolox-nano", "nms")])
@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset(model: str, form: str, opset: int, tmp_path: Path) -> None:
    assert_faithful(export(lively(model), tmp_path / "x.onnx", "onnx", ExportOptions(form, PX, PX, opset=opset)), 80)
    (found,) = (one.version for one in onnx.load(str(tmp_path / "x.onnx")).opset_import if not one.domain)
    assert found == opset


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset_of_every_family(model: str, opset: int, tmp_path: Path) -> None:
    form = "end2end" if model in FREE else "nms"
    assert_faithful(export(lively(model), tmp_path / "x.onnx", "onnx", ExportOptions(form, PX, PX, dynamic=True, opset=opset)), 80)


def test_fewer_cells_than_queries(tmp_path: Path) -> None:
    written = export(lively("rtdetrv2-s"), tmp_path / "x.onnx", "onnx", ExportOptions("end2end", 64, 96, batch=2))
    assert_faithful(written, 4 * (96 + 24 + 6))
    (given,) = in_onnxruntime(tmp_path / "x.onnx", picture("rtdetrv2-s", 2, 64, 96))
    assert list(given.shape) == [2, 126, 6]


@pytest.mark.parametrize(("model", "form"), [("yolox-nano", "decoded"), ("free", "end2end")])
def test_torchscript(model: str, form: str, tmp_path: Path) -> None:
    path, image = tmp_path / "x.torchscript", picture(model)
    assert_faithful(export(lively(model), path, "torchscript", ExportOptions(form, PX, PX)), 80)
    extra = {"class_names": "", "model": ""}
    with torch.no_grad():
        given = torch.jit.load(str(path), _extra_files=extra)(image)
    ours = decoded(model, image)
    if form == "end2end":
        assert_same_rows(best_of_all(*ours, 300)[0], given[0][0])
    else:
        assert_same_rows(torch.cat(ours, 2)[0], torch.cat(given, 2)[0])
    assert json.loads(extra["class_names"]) == [f"class {i}" for i in range(CLASSES)]


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_torchscript_of_every_family(model: str, tmp_path: Path) -> None:
    for form in ("decoded", "end2end")[: 2 if model in FREE else 1]:
        assert_faithful(export(lively(model), tmp_path / "x.torchscript", "torchscript", ExportOptions(form, PX, PX)), 80)


def in_openvino(path: Path, image: Tensor) -> dict[str, Tensor]:
    openvino = pytest.importorskip("openvino")
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return {port.get_any_name(): torch.from_numpy(value.copy()) for port, value in compiled(image.numpy()).items()}


@pytest.mark.parametrize(("model", "form", "half"), [("yolox-nano", "nms", False), ("yolo26n", "end2end", False), ("rtdetrv2-s", "decoded", True)])
def test_openvino(model: str, form: str, half: bool, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    path = tmp_path / "x.xml"
    path.write_text("old")
    (tmp_path / "x.bin").write_text("old")
    written = export(lively(model), path, "openvino", ExportOptions(form, PX, PX, dynamic=not half, half=half))
    assert_faithful(written, 80)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.bin", "x.xml"]
    weights = sum(value.numel() for value in lively(model).parameters())
    assert ((tmp_path / "x.bin").stat().st_size < 3 * weights) == half
    assert (written.tolerance, max(gap.relative for gap in written.gaps.values()) > 1e-5) == ((HALF_TOLERANCE, True) if half else (TOLERANCE, False))
    image = picture(model) if half else picture(model, 1 if form == "nms" else 2, PX + 32, PX + 96)
    given = in_openvino(path, image)
    if form == "decoded":
        assert set(given) == {"boxes", "scores"}
        return
    ours = found_by_torch(model, image) if form == "nms" else list(best_of_all(*decoded(model, image), 300))
    assert list(given) == ["detections"]
    for a, b in zip(ours, given["detections"], strict=True):
        assert len(a) >= 20
        assert_same_rows(a, b)
    openvino = pytest.importorskip("openvino")
    kept = openvino.Core().read_model(path).get_rt_info(["nas", "class_names"]).astype(str)
    assert json.loads(kept) == [f"class {i}" for i in range(CLASSES)]


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_openvino_of_every_family(model: str, half: bool, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    for form, dynamic in (("decoded", False), ("end2end" if model in FREE else "nms", True)):
        assert_faithful(export(lively(model), tmp_path / "x.xml", "openvino", ExportOptions(form, PX, PX, dynamic=dynamic, half=half)), 80)


def test_openvino_reports_to_nobody(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("openvino_telemetry")
    code = (
        "import sys; calls = []; sys.addaudithook(lambda event, args: calls.append(event) if event.startswith('socket.') else None)\n"
        "from nas.cli import main; code = main(['export', 'yolox-nano', '--format', 'openvino', '--input', '64', '--quiet'])\n"
        "assert code == 0 and not calls, calls; assert 'openvino_telemetry' not in sys.modules; import openvino_telemetry"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}


def test_the_file_says_what_it_needs(tmp_path: Path) -> None:
    detector = build_recipe(Recipe("yolox-nano", 3)).eval()
    lineage = ({"model": "yolox-nano", "licence": "Apache-2.0", "sha256": "ab" * 32},)
    detector.info = dataclasses.replace(detector.info, class_names=("käse", "b", "c"), provenance={"licence": "Apache-2.0"}, lineage=lineage)
    export(detector, tmp_path / "x.onnx", "onnx", ExportOptions(height=64, width=96))
    model = onnx.load(str(tmp_path / "x.onnx"))
    held = {entry.key: entry.value for entry in model.metadata_props}
    assert held["model"] == "yolox-nano" and held["form"] == "decoded"
    assert json.loads(held["class_names"]) == ["käse", "b", "c"]
    assert json.loads(held["preprocess"]) == {**dataclasses.asdict(detector.preprocess), "mean": [0.0] * 3, "std": [1.0] * 3}
    assert json.loads(held["selection"])["iou_threshold"] == 0.65
    assert json.loads(held["lineage"]) == [dict(lineage[0])] and json.loads(held["provenance"]) == {"licence": "Apache-2.0"}
    assert json.loads(held["input"]) == {"layout": "b 3 h w", "batch": 1, "height": 64, "width": 96, "dynamic": False}
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
    assert_same_rows(in_onnxruntime(tmp_path / "many.onnx", image)[0][0], in_onnxruntime(tmp_path / "folded.onnx", image)[0][0])
    with pytest.raises(BadInput, match="train an NMS-free head"):
        export(many, tmp_path / "y.onnx", "onnx", ExportOptions("end2end", PX, PX))


@pytest.mark.parametrize(
    ("what", "tensor"), [("shifted", "boxes"), ("nan", "scores"), ("blind", "scores")],
)  # fmt: skip
def test_a_damaged_file_drifts(what: str, tensor: str, tmp_path: Path) -> None:
    path, options = tmp_path / "x.onnx", ExportOptions("nms", PX, PX)
    detector = lively("yolox-nano")
    export(detector, path, "onnx", options)
    model = onnx.load(str(path))
    node = next(one for one in model.graph.node if tensor in one.output)
    node.output[list(node.output).index(tensor)] = "whole"
    value = {"shifted": 2.0, "nan": float("nan"), "blind": -0.02}[what]
    model.graph.initializer.append(onnx.numpy_helper.from_array(torch.tensor(value).numpy(), "damage"))
    place = list(model.graph.node).index(node) + 1
    model.graph.node.insert(place, onnx.helper.make_node("Add", ["whole", "damage"], [tensor]))
    onnx.save(model, str(path))
    gaps = measure_gap(detector, FORMATS["onnx"].open(path, options), options)
    assert not ExportedFile(path, gaps, options.allowed).within_tolerance
    if what == "nan":
        assert "NaN" in gaps["scores"].fault
    else:
        assert gaps[tensor].absolute == pytest.approx(abs(value), rel=1e-2)


DAMAGE: dict[str, Callable[[Tensor], Tensor]] = {
    "missing": lambda rows: rows[:, 1:],
    "extra": lambda rows: torch.cat([rows, rows[:, :1]], 1),
    "label": lambda rows: rows + torch.tensor([0, 0, 0, 0, 0, 1.0]),
    "box": lambda rows: rows + torch.tensor([0, 0, 2.0, 0, 0, 0]),
    "score": lambda rows: rows + torch.tensor([0, 0, 0, 0, 0.01, 0]),
    "image": lambda rows: rows[:0],
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_wrong_selection_drifts(how: str, tmp_path: Path) -> None:
    path, options = tmp_path / "x.onnx", ExportOptions("nms", 64, 64)
    export(lively("yolox-nano"), path, "onnx", options)
    run = FORMATS["onnx"].open(path, options)

    def wrong(image: Tensor) -> dict[str, Tensor]:
        given = dict(run(image))
        return {**given, "detections": DAMAGE[how](given["detections"])}

    gaps = measure_gap(lively("yolox-nano"), wrong, options)
    assert gaps["boxes"].relative < TOLERANCE and not ExportedFile(path, gaps, options.allowed).within_tolerance
    # a runtime that shows its detections alone is judged by them
    gaps = measure_gap(lively("yolox-nano"), lambda image: {"detections": run(image)["detections"]}, options)
    assert ExportedFile(path, gaps, options.allowed).within_tolerance and set(gaps) == {"detections"}
    gaps = measure_gap(lively("yolox-nano"), lambda image: {"detections": wrong(image)["detections"]}, options)
    assert not ExportedFile(path, gaps, options.allowed).within_tolerance


def test_nothing_compared_is_not_agreement(tmp_path: Path) -> None:
    assert not ExportedFile(tmp_path, {}, 1.0).within_tolerance
    dull = build_recipe(Recipe("yolox-nano", CLASSES)).eval()
    gaps = measure_gap(dull, lambda image: {"detections": torch.zeros(1, 0, 6)}, ExportOptions("nms", 64, 64))
    assert gaps["detections"].rows == 0 and not ExportedFile(tmp_path, gaps, 1.0).within_tolerance


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    save(lively("yolox-nano"), tmp_path / "my best.v2.safetensors")
    assert main(["export", "my best.v2.safetensors", "--format", "onnx", "--nms", "--input", "64x96", "--json"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["file"] == "my-best.v2.onnx" and Path(report["file"]).is_file()
    assert report["faithful"] and report["trained"] and report["tolerance"] == TOLERANCE and (report["height"], report["width"]) == (64, 96)
    assert report["gaps"]["detections"]["rows"] >= 20
    assert "writing my-best.v2.onnx" in err and "measuring" in err
    size = Path(report["file"]).stat().st_size
    assert main(["export", "my best.v2.safetensors", "--format", "onnx", "--input", "64", "--tolerance", "1e-12", "--quiet", "--out", "deep/er/x.onnx"]) == 1
    out, err = capsys.readouterr()
    assert "DRIFTS from torch" in out and "1e-12" in out and err == ""
    assert Path("deep/er/x.onnx").stat().st_size < size
    assert main(["export", "my best.v2.safetensors", "--format", "onnx", "--input", "64", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert "agrees with torch" in out and "untrained" not in out and err == ""
    assert not list(tmp_path.rglob(".*"))


def test_a_drift_without_a_number_is_valid_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = build_recipe(Recipe("yolox-nano", CLASSES)).eval()
    with torch.no_grad():
        # finite weights, as a checkpoint must have, that overflow in the exponential of the box size
        for name, value in broken.named_parameters():
            if re.fullmatch(r"head\.box_preds\.\d\.bias", name):
                value.fill_(200.0)
    save(broken, tmp_path / "x.safetensors")
    assert main(["export", str(tmp_path / "x.safetensors"), "--format", "onnx", "--input", "64", "--out", str(tmp_path / "x.onnx"), "--json"]) == 1
    report = json.loads(capsys.readouterr().out, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert report["faithful"] is False
    assert report["gaps"]["boxes"]["relative"] is None and "NaN or infinite" in report["gaps"]["boxes"]["fault"]


def test_names_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "my-run"
    folder.mkdir(parents=True)
    (folder / "best.yaml").write_text(dataclasses.replace(PUBLISHED["damo-yolo-ns"], name="").to_yaml())
    for model, name in (("runs/my-run", "my-run"), ("runs/my-run/best.yaml", "my-run"), ("yolov26n", "yolo26n")):
        assert main(["export", model, "--format", "torchscript", "--input", "64", "--quiet"]) == 0
        assert f"wrote {name}.torchscript" in capsys.readouterr().out
        Path(f"{name}.torchscript").unlink()


BAD: dict[str, tuple[list[str], str]] = {
    "suffix": (["--out", "model.pb"], "ends in .onnx: 'model.onnx'"),
    "no suffix": (["--out", "deep/model"], "'deep/model.onnx'"),
    "openvino suffix": (["--format", "openvino", "--out", "model.bin"], "'model.xml'"),
    "folder": (["--out", "."], "is a folder"),
    "unwritable": (["--out", "/proc/nope/x.onnx"], "cannot write"),
    "openvino unwritable": (["--format", "openvino", "--out", "/proc/nope/x.xml"], "cannot write"),
    "torchscript unwritable": (["--format", "torchscript", "--out", "/proc/nope/x.torchscript"], "cannot write"),
    "end2end": (["--end2end"], "yolox-nano needs NMS: export it with --nms"),
    "torchscript nms": (["--format", "torchscript", "--nms"], "use onnx or openvino"),
    "nms batch": (["--nms", "--batch", "2"], "batch 1"),
    "batch": (["--batch", "0"], "at least 1"),
    "opset low": (["--opset", "15"], "one of 16 to 20"),
    "opset high": (["--opset", "21"], "one of 16 to 20"),
    "input": (["--input", "100"], "multiples of 32"),
    "small input": (["--input", "32"], "from 64 up"),
    "no input": (["--input", "64x"], "HEIGHTxWIDTH"),
    "three inputs": (["--input", "64x64x3"], "HEIGHTxWIDTH"),
    "superscript": (["--input", "6²"], "HEIGHTxWIDTH"),
    "half torchscript": (["--format", "torchscript", "--half"], "use onnx or openvino or tensorrt"),
    "dynamic torchscript": (["--format", "torchscript", "--dynamic"], "use onnx or openvino"),
    "tolerance": (["--tolerance", "-1"], "number from 0 up"),
    "nan tolerance": (["--tolerance", "nan"], "number from 0 up"),
    "branch": (["--branch", "one_to_one"], "one_to_many"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    if "openvino" in case:
        pytest.importorskip("openvino")
    args, words = BAD[case]
    assert main(["export", "yolox-nano", "--format", "onnx", "--input", "64", *args]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("nas: ") and err.count("\n") == 1
    assert words in err
    assert not list(tmp_path.iterdir())


FREE_BAD: dict[str, tuple[list[str], str]] = {
    "nms": (["--nms"], "export it with --end2end, or its other branch with --branch one_to_many --nms"),
    "end2end of the other branch": (["--branch", "one_to_many", "--end2end"], "the other one with --branch one_to_one"),
    "too few cells": (["--end2end", "--dynamic"], "84 detections at every size"),
}


@pytest.mark.parametrize("case", FREE_BAD)
def test_bad_input_of_an_nms_free_model(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    args, words = FREE_BAD[case]
    assert main(["export", "yolo26n", "--format", "onnx", "--input", "64", *args]) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_tensorrt_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        import tensorrt  # noqa: F401
    except ModuleNotFoundError:
        words = "tensorrt is not installed here: export onnx, and build the engine on the device with trtexec"
    else:
        if torch.cuda.is_available():
            pytest.skip("TensorRT and a GPU are here")
        words = "no GPU is visible"
    monkeypatch.chdir(tmp_path)
    assert main(["export", "yolox-nano", "--format", "tensorrt"]) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1 and not list(tmp_path.iterdir())


def hear_ctrl_c() -> None:
    """A shell lets its background jobs ignore Ctrl-C, and their children with them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_interrupt_leaves_the_old_file(tmp_path: Path) -> None:
    old = tmp_path / "yolov7.onnx"
    old.write_text("old")
    process = subprocess.Popen([*NAS, "export", "yolov7", "--format", "onnx"], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c)
    assert process.stderr is not None
    assert "writing yolov7.onnx" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err and "Traceback" not in err
    assert [file.name for file in tmp_path.iterdir()] == ["yolov7.onnx"] and old.read_text() == "old"


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
            export(lively("yolox-nano"), old, "torchscript", ExportOptions(height=PX, width=PX), log=lambda text: Dropping() and None)
    finally:
        signal.signal(signal.SIGINT, before)
    assert [file.name for file in tmp_path.iterdir()] == [old.name] and old.read_text() == "old"


def test_tinynas_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", "damo-yolo-t", "--format", "tinynas"]) == 0
    text: Any = capsys.readouterr().out
    assert main(["export", "damo-yolo-t", "--format", "tinynas", "--out", "t.txt"]) == 0
    assert Path("t.txt").read_text() == text and "class" in text
    assert main(["export", "yolox-nano", "--format", "tinynas"]) == 2
    assert "only DAMO-YOLO-style" in capsys.readouterr().err
