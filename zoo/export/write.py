"""A detector out of this workbench: ONNX, OpenVINO, TorchScript, TensorRT, each with its gap to torch measured.

Three forms: ``decoded`` gives boxes ``[b, n, 4]`` (x1, y1, x2, y2 in input pixels) and scores ``[b, n, classes]``;
``nms`` and ``end2end`` give ``detections [b, k, 6]`` (x1, y1, x2, y2, score, label), the first with suppression inside
the file, the second from an NMS-free detector and without any.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from workbench.errors import BadInput, missing_package, unknown_name
from workbench.files import replacing
from workbench.signals import watch_signals
from zoo.detector import Detector
from zoo.export.gap import HALF_TOLERANCE, TOLERANCE, OutputGap, dense_gaps, prepared_scenes, rows_gap, worst
from zoo.export.half_precision import convert_to_half, has_half, layers, rounding, store_in_half
from zoo.export.openvino_package import openvino
from zoo.nms import best_of_all, select

FORMS = ("decoded", "nms", "end2end")
OPSETS = range(16, 21)
"""ONNX operator sets that the exporter writes and grid sampling exists in."""
PICTURES = 4
"""So many pictures the gap is measured on, or one batch if that is larger."""

Runner = Callable[[Tensor], Mapping[str, Tensor]]
"""An exported network: a batch ``[b, 3, h, w]`` to its outputs by name.

Besides ``detections`` it gives the ``boxes`` and ``scores`` that they were selected from, where the runtime can show them.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What to write. Sides are in pixels; ``dynamic`` leaves batch (not with ``nms``) and sides open."""

    form: str = "decoded"
    height: int = 640
    width: int = 640
    batch: int = 1
    dynamic: bool = False
    opset: int = 17
    half: bool = False
    """FP16 weights, and in ONNX and TensorRT FP16 arithmetic too; input, decoding and selection stay in FP32 (``zoo.export.half_precision``)."""
    tolerance: float | None = None
    """Largest relative gap (see ``zoo.export.gap``); None takes what the precision of the weights deserves."""
    keep: tuple[str, ...] = ()
    """Modules that stay in FP32 with ``half``, by their names in torch; what lies inside one stays with it."""

    @property
    def allowed(self) -> float:
        """The tolerance that counts."""
        if self.tolerance is not None:
            return self.tolerance
        return HALF_TOLERANCE if self.half else TOLERANCE


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written and how far it strays."""

    path: Path
    gaps: dict[str, OutputGap]
    tolerance: float

    @property
    def faithful(self) -> bool:
        """Whether every gap is within the tolerance, and any row was compared at all."""
        return all(gap.relative <= self.tolerance for gap in self.gaps.values()) and any(gap.rows for gap in self.gaps.values())


def plain_gap(gap: OutputGap) -> dict[str, Any]:
    """A gap as JSON can hold it: None for what is no number."""
    return {key: value if not isinstance(value, float) or math.isfinite(value) else None for key, value in dataclasses.asdict(gap).items()}


class Deployed(nn.Module):
    """What is exported: the folded detector, its decoding, and in form ``end2end`` its selection before them."""

    def __init__(self, detector: Detector, form: str) -> None:
        super().__init__()
        self.detector, self.form = detector, form

    def decoded(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes ``[b, n, 4]`` and scores ``[b, n, classes]``."""
        return self.detector.decode(self.detector(image), (image.shape[-2], image.shape[-1]))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        boxes, scores = self.decoded(image)
        return (detections(self.detector, boxes, scores), boxes, scores) if self.form == "end2end" else (boxes, scores)


class EndToEnd(Deployed):
    """The detections ``[b, k, 6]`` alone."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return super().forward(image)[:1]


def detections(detector: Detector, boxes: Tensor, scores: Tensor) -> Tensor:
    """What an NMS-free detector finds, ``[b, k, 6]``."""
    return best_of_all(boxes, scores, detector.selection.max_detections or boxes.shape[1])


def export(detector: Detector, path: str | Path, kind: str, options: Options, log: Callable[[str], None] = lambda text: None) -> Exported:
    """Write ``detector`` as ``kind`` (one of ``FORMATS``) to ``path`` and measure its gap to torch.

    ``log`` is told what is being done. A file that drifts is written too; nothing is if anything fails.
    """
    if kind not in FORMATS:
        raise unknown_name("export format", kind, FORMATS)
    file, how = Path(path), FORMATS[kind]
    _check(detector, kind, options)
    _check_path(file, kind)
    how.require()
    reference = copy.deepcopy(detector).cpu().float().eval()
    folded = folded_copy(reference, options.keep)
    with watch_signals() as asked_to_stop, replacing(file) as temporary, _beside(temporary, file, how.beside):
        log(f"writing {file}")
        how.write(folded, temporary, options, None)
        log(f"measuring the gap of {file} to torch")
        gaps = measure_gap(reference, how.open(temporary, options), options)
        if asked_to_stop():
            raise KeyboardInterrupt  # raised before, where Python drops it: while an object was being freed
    return Exported(file, gaps, options.allowed)


def open_file(path: str | Path, kind: str, options: Options) -> Runner:
    """What ``export`` wrote with these options, ready to run."""
    if kind not in FORMATS:
        raise unknown_name("export format", kind, FORMATS)
    FORMATS[kind].require()
    return FORMATS[kind].open(Path(path), options)


def folded_copy(detector: Detector, keep: Sequence[str] = ()) -> Detector:
    """A copy in its deploy form, in FP32 on the CPU, without gradients; it must have the layers ``keep``."""
    folded = copy.deepcopy(detector).cpu().float().eval()
    folded.fuse()
    for parameter in folded.parameters():
        parameter.requires_grad_(False)
    for layer in keep:
        if layer not in module_names(folded):
            raise unknown_name(f"layer of the folded {detector.recipe.model}", layer, module_names(folded))
    return folded


def module_names(detector: Detector) -> set[str]:
    """The names of all modules in a detector."""
    return {name for name, _ in detector.named_modules() if name}


class Trials:
    """FP16 networks of one detector that differ in the layers kept in FP32 alone: traced once, written nowhere to stay."""

    def __init__(self, detector: Detector, kind: str, options: Options) -> None:
        _check(detector, kind, options)
        self._how, self._options = FORMATS[kind], options
        self._folded = folded_copy(detector)
        self._network = onnx_network(self._folded, options)
        # What folding made has no name that its owner would know.
        self.layers = tuple(layers(self._network, module_names(self._folded) & module_names(detector)))
        """What may be kept, in the order of computing."""

    def runner(self, keep: Sequence[str]) -> Runner:
        """The network with the layers ``keep`` in FP32, ready to run."""
        options = dataclasses.replace(self._options, keep=tuple(keep))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / ("trial" + self._how.suffix)
            self._how.write(self._folded, path, options, self._network)
            return self._how.open(path, options)


@contextmanager
def _beside(temporary: Path, target: Path, suffixes: Sequence[str]) -> Iterator[None]:
    """Put what was written beside ``temporary`` under other suffixes beside ``target``, when the block ends well.

    An old ``target`` goes first: beside the new files it would be another network.
    """
    try:
        yield
        for suffix in suffixes:
            with replacing(target.with_suffix(suffix)) as other:
                os.replace(temporary.with_suffix(suffix), other)
                target.unlink(missing_ok=True)
    finally:
        for suffix in suffixes:
            temporary.with_suffix(suffix).unlink(missing_ok=True)


def measure_gap(reference: Detector, runner: Runner, options: Options) -> dict[str, OutputGap]:
    """Largest gaps of an exported network to ``reference`` over a few scenes.

    ``boxes`` and ``scores`` are held against the reference's. ``detections`` are held against what torch selects from
    the same boxes and scores: one that rounding lifts over a threshold is no fault of the selection.
    """
    found: list[dict[str, OutputGap]] = []
    for image in _inputs(reference, options):
        with torch.no_grad():
            decoded = reference.decode(reference(image), (image.shape[-2], image.shape[-1]))
        found.append(batch_gaps(reference, decoded, runner(image), max(image.shape[-2:]), options))
    return worst(found)


def batch_gaps(reference: Detector, decoded: tuple[Tensor, Tensor], given: Mapping[str, Tensor], side: int, options: Options) -> dict[str, OutputGap]:
    """Largest gaps of what an exported network gave for one batch to what ``reference`` decoded for it.

    ``decoded`` is boxes ``[b, n, 4]`` and scores ``[b, n, classes]``, ``side`` the longer one of the input in pixels.
    """
    boxes, scores = decoded
    inside = "boxes" in given
    found: list[dict[str, OutputGap]] = []
    if inside:
        picked = boxes.shape[1] == reference.selection.max_detections
        found.append(dense_gaps((boxes, scores), (given["boxes"], given["scores"]), side, options.allowed, picked))
        if any(gap.fault for gap in found[-1].values()):
            return found[-1]
        boxes, scores = given["boxes"], given["scores"]
    if options.form == "decoded":
        return worst(found)
    most = reference.selection.max_detections
    if options.form == "end2end":
        wanted = list(detections(reference, boxes, scores))
        # With fewer boxes than it may list, the list is full, and cut, all the same.
        most = boxes.shape[1] if most is None else min(most, boxes.shape[1])
    else:
        # The cap on candidates saves time in torch and is not in the file.
        kept = select(boxes, scores, dataclasses.replace(reference.selection, max_candidates=None))
        wanted = [torch.cat([d.boxes, d.scores[:, None], d.labels[:, None].to(d.boxes)], 1) for d in kept]
    if len(given["detections"]) != len(wanted):
        found.append({"detections": OutputGap.broken(f"detections of {len(given['detections'])} images where there were {len(wanted)}")})
        return worst(found)
    for i, (ours, theirs) in enumerate(zip(wanted, given["detections"], strict=True)):
        among = (boxes[i], scores[i]) if inside else None
        found.append({"detections": rows_gap(ours, theirs, side, most, among) if inside else rows_gap(ours, theirs, side, most, slack=options.allowed)})
    return worst(found)


def _inputs(detector: Detector, options: Options) -> list[Tensor]:
    """The batches that the gap is measured on; the last one of a file with open sides has another size."""
    runs = math.ceil(PICTURES / options.batch)
    images = prepared_scenes(detector, options.batch, options.height, options.width, runs)
    if options.dynamic:
        batch = options.batch if options.form == "nms" else options.batch + 1
        images[-1:] = [*images[-1:][: runs == 1], *prepared_scenes(detector, batch, options.height + 32, options.width + 64, 1, seed=1)]
    return images


def _check(detector: Detector, kind: str, options: Options) -> None:
    name, how = detector.recipe.model, FORMATS[kind]
    if options.form not in FORMS:
        raise unknown_name("form of export", options.form, FORMS)
    if options.form == "end2end" and not detector.end2end:
        free = next((branch for branch, rule in detector.selections.items() if rule.iou_threshold is None), None)
        if free is not None and not detector.fused:
            raise BadInput(f"the branch {detector.branch} of {name} needs NMS: export it with --nms, or the other one with --branch {free}")
        raise BadInput(f"{name} needs NMS: export it with --nms, or train an NMS-free head (head: one_to_one: true)")
    if options.form == "nms":
        if detector.end2end:
            other = next((branch for branch, rule in detector.selections.items() if rule.iou_threshold is not None), None)
            more = f", or its other branch with --branch {other} --nms" if other is not None and not detector.fused else ""
            raise BadInput(f"{name} is NMS-free: export it with --end2end{more}")
        if not how.nms:
            raise BadInput(f"--nms: {kind} has no suppression operator here; use {_having('nms')}, or leave it to your own code")
        if options.batch != 1:
            raise BadInput(f"--nms with batch {options.batch}: suppression inside the file is written for batch 1")
    if options.opset not in OPSETS:
        raise BadInput(f"opset {options.opset} must be one of {OPSETS.start} to {OPSETS.stop - 1}")
    if min(options.height, options.width) < 64 or options.height % 32 or options.width % 32:
        raise BadInput(f"input of {options.height} x {options.width} pixels: both sides must be multiples of 32 from 64 up")
    if options.batch < 1:
        raise BadInput(f"batch {options.batch} must be at least 1")
    if not 0 <= options.allowed < math.inf:
        raise BadInput(f"tolerance {options.allowed} must be a number from 0 up, such as {TOLERANCE:g}")
    if options.half and not how.half:
        raise BadInput(f"--half: {kind} files are written in FP32; use {_having('half')}")
    if options.keep and not options.half:
        raise BadInput(f"layers kept in FP32 ({', '.join(options.keep)}): without --half all of them are")
    if options.dynamic:
        if not how.dynamic:
            raise BadInput(f"--dynamic: {kind} files are written for one size; use {_having('dynamic')}")
        rows = sum(options.height * options.width // stride**2 for stride in detector.strides)
        most = detector.selection.max_detections
        if detector.end2end and most is not None and rows < most:
            raise BadInput(
                f"--dynamic at {options.height} x {options.width} pixels: the file would give {rows} detections at every size, for want of more cells; "
                f"{name} gives {most} from 128 x 128 pixels up"
            )


def _having(ability: str) -> str:
    return " or ".join(name for name, how in FORMATS.items() if getattr(how, ability))


def _check_path(path: Path, kind: str) -> None:
    suffix = FORMATS[kind].suffix
    if path.is_dir():
        raise BadInput(f"--out {str(path)!r} is a folder: name a file in it, such as {str(path / ('model' + suffix))!r}")
    if path.suffix.lower() != suffix:
        raise BadInput(f"--out {str(path)!r}: the name of a file in format {kind} ends in {suffix}: {str(path.with_name(path.stem + suffix))!r}")


def _example(options: Options) -> Tensor:
    return torch.zeros(options.batch, 3, options.height, options.width)


@contextmanager
def _tracing() -> Iterator[None]:
    """Tracing without what it says of itself: that it is old, and that sizes may turn into constants, which the gap would show."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def onnx_network(detector: Detector, options: Options) -> Any:
    """The folded ``detector`` as a ModelProto in FP32, whatever ``options.half`` says."""
    import onnx

    inner = ["boxes", "scores"]
    names = ["detections", *inner] if options.form == "end2end" else inner
    axes = {"image": {0: "batch", 2: "height", 3: "width"}, **{name: {0: "batch", 1: "rows"} for name in names}}
    if options.form == "nms":
        axes = {"image": {2: "height", 3: "width"}, **{name: {1: "rows"} for name in names}}
    with _tracing(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            Deployed(detector, options.form), (_example(options),), str(path), opset_version=options.opset, dynamo=False,
            input_names=["image"], output_names=names, dynamic_axes=axes if options.dynamic else None,
        )  # fmt: skip
        model = onnx.load(str(path))
    if options.form == "nms":
        _add_nms(model, detector)
    if options.form == "end2end":
        # They stay inside, where the gap is measured.
        del model.graph.output[1:]
    return model


def write_onnx(detector: Detector, path: Path, options: Options, network: Any = None) -> None:
    """An ONNX file with class names, preprocessing and lineage in its metadata."""
    import onnx

    model = onnx_network(detector, options) if network is None else type(network).FromString(network.SerializeToString())
    if options.half:
        model = convert_to_half(model, module_names(detector), options.keep)
    for key, value in facts(detector, options).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    model.producer_name = "nas-workbench"
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def facts(detector: Detector, options: Options) -> dict[str, str]:
    """What a user of the file must know, as text: JSON where it is more than a word."""
    found: dict[str, Any] = {
        "model": detector.recipe.model, "form": options.form, "branch": detector.branch, "class_names": list(detector.info.class_names),
        "category_ids": list(detector.info.category_ids),
        "input": {"layout": "b 3 h w", "batch": options.batch, "height": options.height, "width": options.width, "dynamic": options.dynamic},
        "precision": {"weights": "FP16" if options.half else "FP32", "kept_fp32": list(options.keep)},
        "preprocess": asdict(detector.preprocess), "selection": asdict(detector.selection),
        "provenance": dict(detector.info.provenance), "lineage": [dict(one) for one in detector.info.lineage],
    }  # fmt: skip
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items()}


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
        "nms_last": (TensorProto.INT64, [1], [-1]), "nms_class": (TensorProto.INT64, [1], [1]),
        "nms_classes": (TensorProto.INT64, [detector.classes], list(range(detector.classes))), "nms_box": (TensorProto.INT64, [2], [0, 2]),
    }  # fmt: skip
    for name, (kind, shape, numbers) in constants.items():
        graph.initializer.append(helper.make_tensor(name, kind, shape, numbers))

    def node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        graph.node.append(helper.make_node(kind, list(inputs), [output], name=f"nms/{output}", **attributes))
        return output

    scores = "scores"
    if not rule.multi_label:
        best = node("ArgMax", ["scores"], "nms_best", axis=-1, keepdims=1)
        scores = node("Where", [node("Equal", [best, "nms_classes"], "nms_is_best"), "scores", "nms_zero"], "nms_best_only")
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


def open_onnx(path: Path, options: Options) -> Runner:
    """Runs an ONNX file in onnxruntime on the CPU; one in FP16 with the rounding of hardware that has it."""
    return onnx_runner(path, () if options.form == "decoded" else ("boxes", "scores"))


def onnx_runner(path: Path, inner: Sequence[str] = ()) -> Runner:
    """The same, which gives the tensors ``inner`` from inside the file besides its outputs."""
    import onnx
    import onnxruntime

    model = onnx.load(str(path))
    if has_half(model):
        model = rounding(model)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3  # its warnings are about initialisers that it moves
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda image: dict(zip(names, map(torch.from_numpy, session.run(names, {"image": image.numpy()})), strict=True))


def write_torchscript(detector: Detector, path: Path, options: Options, network: Any = None) -> None:
    """A TorchScript file for one size; with ``end2end`` its method ``decoded`` gives the boxes and scores too."""
    end2end = options.form == "end2end"
    module, example = (EndToEnd if end2end else Deployed)(detector, options.form), _example(options)
    with _tracing():
        program = torch.jit.trace_module(module, {"forward": example, **({"decoded": example} if end2end else {})}, check_trace=False)
        program.save(str(path), _extra_files={key: value.encode() for key, value in facts(detector, options).items()})


def open_torchscript(path: Path, options: Options) -> Runner:
    """Runs a TorchScript file on the CPU."""
    with _tracing():
        program = torch.jit.load(str(path))

    def run(image: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            if options.form == "decoded":
                boxes, scores = program(image)
                return {"boxes": boxes, "scores": scores}
            (found,), (boxes, scores) = program(image), program.decoded(image)
            return {"detections": found, "boxes": boxes, "scores": scores}

    return run


def write_openvino(detector: Detector, path: Path, options: Options, network: Any = None) -> None:
    """OpenVINO's ``.xml`` with its ``.bin`` beside it, by way of ONNX."""
    import onnx

    package = openvino()
    network = onnx_network(detector, options) if network is None else network
    if options.half:
        network = store_in_half(network, module_names(detector), options.keep)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.onnx"
        onnx.save(network, str(source))
        # convert_model would do the same and report it to Intel.
        model = package.Core().read_model(source)
        for key, value in facts(detector, options).items():
            model.set_rt_info(value, ["nas", key])
        package.save_model(model, path, compress_to_fp16=False)


def open_openvino(path: Path, options: Options) -> Runner:
    """Runs an OpenVINO file on the CPU, computing in FP32."""
    core = openvino().Core()
    model = core.read_model(path)
    names = ["boxes", "scores"]
    if options.form != "decoded":
        model.add_outputs(names)
        names.append("detections")
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    ports = {name: compiled.output(name) for name in names}

    def run(image: Tensor) -> dict[str, Tensor]:
        made = compiled(image.numpy())
        return {name: torch.from_numpy(made[port].copy()) for name, port in ports.items()}

    return run


def write_tensorrt(detector: Detector, path: Path, options: Options, network: Any = None) -> None:
    """A TensorRT engine built on this machine's GPU by way of ONNX."""
    import tensorrt

    logger = tensorrt.Logger(tensorrt.Logger.WARNING)
    builder = tensorrt.Builder(logger)
    # Strongly typed: every layer computes in the precision that it has in the ONNX file.
    typed = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if options.half else 0)
    parser = tensorrt.OnnxParser(typed, logger)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.onnx"
        write_onnx(detector, source, options, network)
        if not parser.parse(source.read_bytes()):
            raise BadInput(f"TensorRT cannot read the network: {parser.get_error(0)}")
    plan = builder.build_serialized_network(typed, builder.create_builder_config())
    if plan is None:
        raise BadInput("TensorRT could not build an engine for this network; its log above says why")
    path.write_bytes(bytes(plan))


def open_tensorrt(path: Path, options: Options) -> Runner:
    """Runs a TensorRT engine on this machine's GPU."""
    import tensorrt

    engine = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.WARNING)).deserialize_cuda_engine(path.read_bytes())
    context = engine.create_execution_context()
    outputs = [n for n in map(engine.get_tensor_name, range(engine.num_io_tensors)) if engine.get_tensor_mode(n) == tensorrt.TensorIOMode.OUTPUT]

    def run(image: Tensor) -> dict[str, Tensor]:
        given = image.cuda().contiguous()
        context.set_tensor_address("image", given.data_ptr())
        made = {name: torch.empty(tuple(context.get_tensor_shape(name)), device="cuda") for name in outputs}
        for name, tensor in made.items():
            context.set_tensor_address(name, tensor.data_ptr())
        context.execute_async_v3(torch.cuda.current_stream().cuda_stream)
        torch.cuda.synchronize()
        return {name: tensor.cpu() for name, tensor in made.items()}

    return run


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package("writing ONNX and measuring its gap", error.name, "onnx") from error


def _require_openvino() -> None:
    try:
        import onnx  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package("writing OpenVINO files", error.name, "onnx") from error
    try:
        openvino()
    except ModuleNotFoundError as error:
        raise missing_package("writing OpenVINO files", error.name, "openvino") from error


def _require_tensorrt() -> None:
    try:
        import onnx  # noqa: F401
        import tensorrt  # noqa: F401
    except ModuleNotFoundError as error:
        raise BadInput(f"{error.name} is not installed here: export onnx, and build the engine on the device with trtexec --onnx=FILE --saveEngine=FILE --fp16") from error
    if not torch.cuda.is_available():
        raise BadInput("a TensorRT engine is built for the GPU that it runs on, and no GPU is visible: export onnx, and build the engine on the device")


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of file: how it is written and run, and what it can hold."""

    suffix: str
    write: Callable[[Detector, Path, Options, Any], None]
    """Folded detector, file, options, and its ``onnx_network`` or None to make it."""
    open: Callable[[Path, Options], Runner]
    require: Callable[[], None] = lambda: None
    """Raises BadInput where a package or a GPU is missing."""
    beside: tuple[str, ...] = ()
    """Suffixes of further files that belong to it."""
    nms: bool = False
    half: bool = False
    dynamic: bool = False


FORMATS: dict[str, Format] = {
    "onnx": Format(".onnx", write_onnx, open_onnx, _require_onnx, nms=True, half=True, dynamic=True),
    "openvino": Format(".xml", write_openvino, open_openvino, _require_openvino, (".bin",), nms=True, half=True, dynamic=True),
    "torchscript": Format(".torchscript", write_torchscript, open_torchscript),
    "tensorrt": Format(".engine", write_tensorrt, open_tensorrt, _require_tensorrt, half=True),
}
"""Export formats by name."""
