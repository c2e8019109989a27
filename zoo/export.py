"""A detector out of this workbench: ONNX, OpenVINO, TorchScript, TensorRT, each with its gap to torch measured.

Three forms: ``decoded`` gives boxes ``[b, n, 4]`` (x1, y1, x2, y2 in input pixels) and scores ``[b, n, classes]``;
``nms`` and ``end2end`` give ``detections [b, k, 6]`` (x1, y1, x2, y2, score, label), the first with suppression inside
the file, the second from an NMS-free detector and without any.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.errors import BadInput, missing_package, unknown_name
from search_spaces.files import replacing
from zoo.detector import Detector
from zoo.gap import TOLERANCE, Gap, as_tensors, dense_gap, prepared_scenes, rows_gap, worst
from zoo.nms import best_of_all, select

FORMS = ("decoded", "nms", "end2end")
OPSETS = range(16, 21)
"""ONNX operator sets that the exporter writes and grid sampling exists in."""

Runner = Callable[[Tensor], list[Tensor]]
"""An exported network: a batch ``[b, 3, h, w]`` to its outputs."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to write. Sides are in pixels; ``dynamic`` leaves batch and sides open (ONNX and OpenVINO)."""

    form: str = "decoded"
    height: int = 640
    width: int = 640
    batch: int = 1
    dynamic: bool = False
    opset: int = 17
    half: bool = False
    tolerance: float = TOLERANCE


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written and how far it strays."""

    path: Path
    gaps: dict[str, Gap]
    tolerance: float

    @property
    def faithful(self) -> bool:
        """Whether every gap is within the tolerance."""
        return all(gap.relative <= self.tolerance for gap in self.gaps.values())


class Deployed(nn.Module):
    """What is exported: the folded detector, its decoding, and in form ``end2end`` its selection."""

    def __init__(self, detector: Detector, form: str) -> None:
        super().__init__()
        self.detector, self.form = detector, form

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        boxes, scores = self.detector.decode(self.detector(image), (image.shape[-2], image.shape[-1]))
        if self.form == "end2end":
            return (best_of_all(boxes, scores, self.detector.selection.max_detections or boxes.shape[1]),)
        return boxes, scores


def export(detector: Detector, path: str | Path, kind: str, options: Options) -> Exported:
    """Write ``detector`` as ``kind`` (one of ``WRITERS``) to ``path`` and measure its gap to torch."""
    if kind not in WRITERS:
        raise unknown_name("export format", kind, WRITERS)
    _check(detector, kind, options)
    folded = copy.deepcopy(detector).cpu().float().eval()
    folded.fuse()
    for parameter in folded.parameters():
        parameter.requires_grad_(False)
    runner = WRITERS[kind](folded, Path(path), options)
    return Exported(Path(path), measure_gap(folded, runner, options), options.tolerance)


def measure_gap(detector: Detector, runner: Runner, options: Options) -> dict[str, Gap]:
    """Largest gaps of an exported network to ``detector`` over a few scenes."""
    found = []
    for image in prepared_scenes(detector, options.batch, options.height, options.width):
        with torch.no_grad():
            boxes, scores = detector.decode(detector(image), (options.height, options.width))
        given = runner(image)
        if options.form == "decoded":
            found.append({"boxes": dense_gap(boxes, given[0]), "scores": dense_gap(scores, given[1])})
            continue
        if options.form == "end2end":
            ours = list(best_of_all(boxes, scores, detector.selection.max_detections or boxes.shape[1]))
        else:
            kept = select(boxes, scores, detector.selection)
            ours = [torch.cat([d.boxes, d.scores[:, None], d.labels[:, None].to(d.boxes)], 1) for d in kept]
        found += [{"detections": rows_gap(a, b, options.tolerance)} for a, b in zip(ours, given[0], strict=True)]
    return worst(found)


def _check(detector: Detector, kind: str, options: Options) -> None:
    name = detector.recipe.model
    if options.form not in FORMS:
        raise unknown_name("form of export", options.form, FORMS)
    if options.form == "end2end" and not detector.end2end:
        raise BadInput(f"{name} needs NMS: export it with --nms, or train an NMS-free head (head: one_to_one: true)")
    if options.form == "nms":
        if detector.end2end:
            raise BadInput(f"{name} is NMS-free: export it with --end2end, or its other branch with --branch one_to_many --nms")
        if kind not in ("onnx", "openvino"):
            raise BadInput(f"--nms: {kind} has no suppression operator; use onnx or openvino, or leave it to your own code")
        if options.batch != 1:
            raise BadInput(f"--nms with batch {options.batch}: suppression inside the file is written for batch 1")
    if options.opset not in OPSETS:
        raise BadInput(f"opset {options.opset} must be one of {OPSETS.start} to {OPSETS.stop - 1}")
    if min(options.height, options.width) < 64 or options.height % 32 or options.width % 32:
        raise BadInput(f"input of {options.height} x {options.width} pixels: both sides must be multiples of 32 from 64 up")
    if options.batch < 1:
        raise BadInput(f"batch {options.batch} must be at least 1")
    if options.dynamic and kind in ("torchscript", "tensorrt"):
        raise BadInput(f"--dynamic: {kind} files are written for one size; use onnx or openvino")


def _example(options: Options) -> Tensor:
    return torch.zeros(options.batch, 3, options.height, options.width)


def write_onnx(detector: Detector, path: Path, options: Options) -> Runner:
    """An ONNX file, and its runner in onnxruntime."""
    with replacing(path) as temporary:
        onnx_file(detector, temporary, options)
    return onnx_runner(path)


def onnx_file(detector: Detector, path: Path, options: Options) -> None:
    """Write the ONNX file itself, with class names, preprocessing and lineage in its metadata."""
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise missing_package("writing ONNX", error.name, "onnx") from error

    names = ["detections"] if options.form == "end2end" else ["boxes", "scores"]
    axes = {"image": {0: "batch", 2: "height", 3: "width"}, **{name: {0: "batch", 1: "rows"} for name in names}}
    if options.form == "nms":
        axes = {"image": {2: "height", 3: "width"}, **{name: {1: "rows"} for name in names}}
    form = "decoded" if options.form == "nms" else options.form
    with warnings.catch_warnings(), torch.no_grad():
        # The tracer warns about sizes turned into constants; the gap at the exported size is what counts.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Deployed(detector, form), (_example(options),), str(path), opset_version=options.opset, dynamo=False,
            input_names=["image"], output_names=names, dynamic_axes=axes if options.dynamic else None,
        )  # fmt: skip
    model = onnx.load(str(path))
    if options.form == "nms":
        _add_nms(model, detector)
    for key, value in _facts(detector, options).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    model.producer_name = "nas-workbench"
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _facts(detector: Detector, options: Options) -> dict[str, str]:
    """What a user of the file must know, as text."""
    facts = {
        "model": detector.recipe.model, "form": options.form, "class_names": list(detector.info.class_names),
        "preprocess": asdict(detector.preprocess), "provenance": dict(detector.info.provenance),
        "lineage": [dict(one) for one in detector.info.lineage],
    }  # fmt: skip
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}


def _add_nms(model: Any, detector: Detector) -> None:
    """Suppression behind ``boxes [1, n, 4]`` and ``scores [1, n, c]``; the one output becomes ``detections [1, k, 6]``."""
    from onnx import TensorProto, helper

    rule = detector.selection
    graph = model.graph
    constants: dict[str, tuple[int, list[int], list[Any]]] = {
        "nms_most": (TensorProto.INT64, [1], [rule.max_detections or 2**31 - 1]),
        "nms_iou": (TensorProto.FLOAT, [1], [rule.iou_threshold]),
        "nms_score": (TensorProto.FLOAT, [1], [rule.score_threshold]),
        "nms_zero": (TensorProto.FLOAT, [], [0.0]), "nms_first": (TensorProto.INT64, [1], [0]),
        "nms_last": (TensorProto.INT64, [1], [-1]), "nms_class": (TensorProto.INT64, [1], [1]), "nms_box": (TensorProto.INT64, [2], [0, 2]),
    }  # fmt: skip
    for name, (kind, shape, values) in constants.items():
        graph.initializer.append(helper.make_tensor(name, kind, shape, values))

    def node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        graph.node.append(helper.make_node(kind, list(inputs), [output], name=f"nms/{output}", **attributes))
        return output

    scores = "scores"
    if not rule.multi_label:
        opset = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
        best = node("ReduceMax", ["scores", "nms_last"], "nms_best") if opset >= 18 else node("ReduceMax", ["scores"], "nms_best", axes=[-1])
        scores = node("Where", [node("GreaterOrEqual", ["scores", best], "nms_is_best"), "scores", "nms_zero"], "nms_best_only")
    by_class = node("Transpose", [scores], "nms_by_class", perm=[0, 2, 1])
    picked = node("NonMaxSuppression", ["boxes", by_class, "nms_most", "nms_iou", "nms_score"], "nms_picked")
    boxes = node("GatherND", ["boxes", node("Gather", [picked, "nms_box"], "nms_where", axis=1)], "nms_boxes")
    values = node("GatherND", [by_class, picked], "nms_values")
    labels = node("Cast", [node("Gather", [picked, "nms_class"], "nms_labels", axis=1)], "nms_labels_float", to=TensorProto.FLOAT)
    column = node("Unsqueeze", [values, "nms_last"], "nms_column")
    rows = node("Concat", [boxes, column, labels], "nms_rows", axis=1)
    count = node("Min", [node("Shape", [values], "nms_count"), "nms_most"], "nms_kept")
    graph.node.append(helper.make_node("TopK", [values, count], ["nms_top", "nms_order"], name="nms/order", axis=0))
    node("Unsqueeze", [node("Gather", [rows, "nms_order"], "nms_sorted", axis=0), "nms_first"], "detections")
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("detections", TensorProto.FLOAT, [1, "rows", 6]))


def onnx_runner(path: str | Path) -> Runner:
    """Runs an ONNX file in onnxruntime on the CPU."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise missing_package("measuring the gap of an ONNX file", error.name, "onnx") from error
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda image: as_tensors(session.run(None, {"image": image.numpy()}))


def write_torchscript(detector: Detector, path: Path, options: Options) -> Runner:
    """A TorchScript file for one size, and its runner."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.jit.trace(Deployed(detector, options.form), _example(options), check_trace=False)
        with replacing(path) as temporary:
            program.save(str(temporary), _extra_files={key: value.encode() for key, value in _facts(detector, options).items()})
        loaded = torch.jit.load(str(path))

    def run(image: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return list(loaded(image))

    return run


def write_openvino(detector: Detector, path: Path, options: Options) -> Runner:
    """OpenVINO's ``.xml`` with its ``.bin`` beside it, by way of ONNX, and its runner on the CPU."""
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise missing_package("writing OpenVINO files", error.name, "openvino") from error
    import os
    import tempfile

    with tempfile.TemporaryDirectory(dir=path.parent if path.parent.is_dir() else None) as folder:
        onnx_file(detector, Path(folder) / "model.onnx", options)
        model = openvino.convert_model(Path(folder) / "model.onnx")
        openvino.save_model(model, Path(folder) / path.name, compress_to_fp16=options.half)
        path.parent.mkdir(parents=True, exist_ok=True)
        # The weights first: an .xml is complete as soon as it can be seen.
        os.replace((Path(folder) / path.name).with_suffix(".bin"), path.with_suffix(".bin"))
        os.replace(Path(folder) / path.name, path)
    core = openvino.Core()
    compiled = core.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda image: as_tensors([compiled(image.numpy())[output] for output in compiled.outputs])


def write_tensorrt(detector: Detector, path: Path, options: Options) -> Runner:
    """A TensorRT engine built on this machine's GPU by way of ONNX, and its runner."""
    try:
        import tensorrt
    except ModuleNotFoundError as error:
        raise BadInput("tensorrt is not installed here: export onnx, and build the engine on the device with trtexec --onnx=FILE --saveEngine=FILE --fp16") from error
    if not torch.cuda.is_available():
        raise BadInput("a TensorRT engine is built for the GPU that it runs on, and no GPU is visible: export onnx, and build the engine on the device")
    import tempfile

    logger = tensorrt.Logger(tensorrt.Logger.WARNING)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, logger)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.onnx"
        onnx_file(detector, source, options)
        if not parser.parse(source.read_bytes()):
            raise BadInput(f"TensorRT cannot read the network: {parser.get_error(0)}")
    config = builder.create_builder_config()
    if options.half:
        config.set_flag(tensorrt.BuilderFlag.FP16)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BadInput("TensorRT could not build an engine for this network; its log above says why")
    with replacing(path) as temporary:
        temporary.write_bytes(bytes(plan))
    engine = tensorrt.Runtime(logger).deserialize_cuda_engine(bytes(plan))
    context = engine.create_execution_context()
    outputs = [n for n in map(engine.get_tensor_name, range(engine.num_io_tensors)) if engine.get_tensor_mode(n) == tensorrt.TensorIOMode.OUTPUT]

    def run(image: Tensor) -> list[Tensor]:
        given = image.cuda().contiguous()
        context.set_tensor_address("image", given.data_ptr())
        made = {name: torch.empty(tuple(context.get_tensor_shape(name)), device="cuda") for name in outputs}
        for name, tensor in made.items():
            context.set_tensor_address(name, tensor.data_ptr())
        context.execute_async_v3(torch.cuda.current_stream().cuda_stream)
        torch.cuda.synchronize()
        return [made[name].cpu() for name in outputs]

    return run


WRITERS: dict[str, Callable[[Detector, Path, Options], Runner]] = {
    "onnx": write_onnx,
    "openvino": write_openvino,
    "torchscript": write_torchscript,
    "tensorrt": write_tensorrt,
}
"""Export formats by name."""

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torchscript": ".torchscript", "tensorrt": ".engine"}
"""File suffix of each format."""
