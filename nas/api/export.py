"""``nas.export``: a detector for deployment, with its gap to torch measured and, on request, its AP verified."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.api.arguments import Text, optional_text, text_of, texts_of
from workbench.console import Progress, table
from workbench.errors import BadInput, missing_package
from workbench.files import write_atomic
from workbench.tables import Result, Table

if TYPE_CHECKING:
    from distill.verify.verified_export import VerifiedExport
    from nas.devices.int8_drop import Int8Drop
    from zoo.detector import Detector
    from zoo.export.options import ExportOptions
    from zoo.export.write import ExportedFile

TINYNAS = "tinynas"


@dataclass(frozen=True)
class ExportResult(Result):
    """A written file, how far its outputs are from torch's, and what a verification on data found."""

    model: str
    format: str
    file: ExportedFile
    options: ExportOptions
    trained: bool
    """Whether the weights are trained."""
    verified: VerifiedExport | None
    data: str | None
    """The data of the verification."""
    size_mb: float
    """Size of the file and of its companions (weights beside it), in 1e6 bytes."""
    int8_drops: tuple[Int8Drop, ...] = ()
    """What INT8 cost other networks in AP, where nothing was measured."""

    @property
    def path(self) -> Path:
        """The file."""
        return self.file.path

    @property
    def passed(self) -> bool:
        """Whether the file agrees with torch: by its AP where that is verified, else by the gap of its outputs."""
        return self.file.within_tolerance if self.verified is None else not self.verified.drifts

    def to_table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """The gap of every output."""
        return self.file.to_table()

    def to_dict(self) -> dict[str, Any]:
        """What ``nas export --json`` prints."""
        keep = [*self.options.fp32_layers, *(self.verified.repaired if self.verified else ())]
        settings = {**self.options.to_dict(), "keep": keep, "size_mb": self.size_mb}
        report = {"file": str(self.path), "format": self.format, **settings, "trained": self.trained}
        forecast = {"int8_drops": [drop.to_dict() for drop in self.int8_drops]} if self.int8_drops else {}
        return {**report, **self.file.to_dict(), **forecast, "verify": self.verified and self.verified.to_dict()}

    def __str__(self) -> str:
        options = self.options
        precision = ", INT8" if options.int8 else ", FP16" if options.half else ""
        weights = ("" if self.trained else ", untrained weights") + precision
        shape = f"{options.form}, {options.batch} x 3 x {options.height} x {options.width}"
        shape += ", open sizes" if options.dynamic else ""
        gaps = table(*self.to_table())
        lines = [gaps, f"\n{self.model}{weights}: wrote {self.path} ({self.size_mb:.1f} MB, {shape})"]
        lines.append(self.file.verdict())
        if self.int8_drops:
            from nas.devices.int8_drop import sentence

            lines.append(sentence(self.int8_drops))
        if self.verified is not None:
            lines.append(f"\n{self.verified.check.comparison.images} images of {self.data} (val)\n{self.verified}")
        return "\n".join(lines)


@dataclass(frozen=True)
class TinyNasResult(Result):
    """The structure text that the official DAMO-YOLO code reads, and the file where one was written."""

    structure: str
    path: Path | None

    @property
    def passed(self) -> bool:
        """A structure has no outputs that could drift."""
        return True

    def to_table(self) -> Table:
        """The lines of the text."""
        return Table(["structure"], [[line] for line in self.structure.splitlines()])

    def to_dict(self) -> dict[str, Any]:
        """Text and file."""
        return {"format": TINYNAS, "structure": self.structure, "file": None if self.path is None else str(self.path)}

    def __str__(self) -> str:
        """The structure, or where it was written."""
        return self.structure.rstrip("\n") if self.path is None else f"wrote {self.path}"


def export(
    model: Text, format: str, *, out: Text | None = None, input_px: int | str | tuple[int, int] | None = None,
    batch: int = 1, dynamic: bool = False, nms: bool = False, end2end: bool = False, branch: str | None = None,
    opset: int = 17, layout: str = "nas", half: bool = False, int8: bool = False,
    calibrate: Text | None = None, images: int | None = None, ranges: str | None = None,
    max_drop: str | float | None = None, fp32_layers: str | Sequence[str] = (), verify: Text | None = None,
    ap_tolerance: float | None = None, tolerance: float | None = None, seed: int = 0, quiet: bool = False,
) -> ExportResult | TinyNasResult:  # fmt: skip
    """Write a detector for deployment, folded, and measure how far it is from torch.

    Args:
        model: a checkpoint; or an architecture YAML, a run folder or a model of the zoo, with untrained weights.
        format: ``onnx``, ``openvino``, ``torchscript``, ``tensorrt``, ``ncnn``, ``litert`` or ``tinynas``.
        out: file to write; None: the model's name, in the working folder.
        input_px: side of the input, or height and width (``"480x640"``); None takes the model's own.
        batch: images a run.
        dynamic: leave batch and sides open (onnx, openvino).
        nms: put non-maximum suppression inside (onnx, openvino; batch 1).
        end2end: detections of an NMS-free model, without suppression.
        branch: of a head that has two: ``one_to_one`` or ``one_to_many``.
        opset: ONNX operator set.
        layout: of an ONNX file: ``nas``, or ``ultralytics``, which clients of Ultralytics' files read.
        half: FP16 weights; onnx and tensorrt compute in FP16 too.
        int8: INT8 weights and arithmetic in the layers with weights, calibrated on ``calibrate``.
        calibrate: with ``int8``: a folder of images, or data whose train split is used.
        images: number of images to calibrate on; None: 100.
        ranges: how the ranges of activations are found: ``min-max`` (None), ``entropy`` or ``percentile``.
        max_drop: with ``int8`` and ``verify``: largest loss of AP, 0.005 or ``"0.5AP"`` (None).
        fp32_layers: modules that stay in FP32 with ``half`` or ``int8``, by their names in torch.
        verify: data on whose val split AP is compared before and after; layers that FP16 breaks are put into FP32.
        ap_tolerance: largest change of AP, 0 to 1; None: 0.001, with ``half`` 0.005.
        tolerance: largest gap: boxes in input sides, scores as they are; None: 0.001, with ``half`` 0.02.
        seed: of untrained weights.
    """
    calibration = (calibrate, images, ranges)
    _check_judged(verify, ap_tolerance, max_drop)
    _check_int8(int8, calibration, max_drop, ap_tolerance)
    if nms and end2end:
        raise BadInput("--nms and --end2end contradict each other: give one of them")
    if format == TINYNAS:
        if verify is not None:
            raise BadInput("--verify: a TinyNAS text is a structure and cannot run; verify another format")
        return _tinynas(text_of(model), out)
    from zoo.export.formats import get_format
    from zoo.export.options import ExportOptions
    from zoo.resolve import resolve_detector

    file_format = get_format(format)
    detector, trained = resolve_detector(text_of(model), seed)
    if branch:
        detector.choose_branch(branch)
    height, width = _size(input_px) if input_px else (detector.info.input_px,) * 2
    shape = ("nms" if nms else "end2end" if end2end else "decoded", height, width, batch, dynamic, opset)
    options = ExportOptions(*shape, half, tolerance, texts_of(fp32_layers), int8, layout=layout)
    name = text_of(out) if out else _file_stem(text_of(model), detector.recipe.model) + file_format.suffix
    judged = (verify, ap_tolerance, max_drop)
    file, verified = _write(detector, name, format, options, calibration, judged, Progress(quiet))
    size_mb, shown = _size_mb(file.path, file_format.companions), optional_text(verify)
    drops = _int8_drops(detector) if int8 and verified is None else ()
    return ExportResult(detector.recipe.model, format, file, options, trained, verified, shown, size_mb, drops)


def _int8_drops(detector: Detector) -> tuple[Int8Drop, ...]:
    """The forecast of what INT8 costs."""
    from nas.devices.int8_drop import forecast_drops

    return tuple(forecast_drops(detector.graph(detector.info.input_px)))


def _write(
    detector: Detector, name: str, format: str, options: ExportOptions, calibration: Sequence[Any],
    judged: tuple[Text | None, float | None, str | float | None], progress: Progress,
) -> tuple[ExportedFile, VerifiedExport | None]:  # fmt: skip
    """Write the file, and verify it if data is given; ``judged``: that data, the AP tolerance, the allowed loss."""
    from zoo.export.write import export as write_file

    verify, ap_tolerance, max_drop = judged
    try:
        if options.int8:
            return _in_int8(detector, name, format, options, calibration, verify, max_drop, progress)
        if verify is None:
            return write_file(detector, name, format, options, lambda text: progress.show(text, force=True)), None
        verified = _verified(detector, name, format, options, text_of(verify), ap_tolerance, progress)
        return verified.check.file, verified
    finally:
        progress.done()


def _size_mb(path: Path, companions: Sequence[str]) -> float:
    """Size of a file and of those beside it with other suffixes."""
    return sum(path.with_suffix(suffix).stat().st_size for suffix in (path.suffix, *companions)) / 1e6


def _verified(
    detector: Detector, file: str, format: str, options: ExportOptions, data: str, ap_tolerance: float | None,
    progress: Progress,
) -> VerifiedExport:  # fmt: skip
    """Write the file and check it on the data, with a progress line for every step."""
    try:
        import pycocotools  # noqa: F401

        from distill.data.formats.readers import open_data
        from distill.verify.verified_export import export_verified
    except ModuleNotFoundError as error:
        raise missing_package("verifying an export", error.name, "train") from error
    return export_verified(detector, file, format, options, open_data(data, "val"), ap_tolerance, progress.show)


def _check_judged(verify: Text | None, ap_tolerance: float | None, max_drop: str | float | None) -> None:
    """Raise ``BadInput`` for a limit on AP without data to measure it on."""
    if ap_tolerance is not None and verify is None:
        raise BadInput("--ap-tolerance says how far AP may change, which --verify DATA measures: give both or neither")
    if max_drop is not None and verify is None:
        raise BadInput("--max-drop says how much AP may be lost, which --verify DATA measures: give both or neither")


def _check_int8(
    int8: bool, calibration: Sequence[Any], max_drop: str | float | None, ap_tolerance: float | None
) -> None:
    """Raise ``BadInput`` if the options of INT8 do not fit together."""
    if not int8 and (max_drop is not None or any(value is not None for value in calibration)):
        raise BadInput("--calibrate, --images, --ranges and --max-drop belong to --int8: give it too")
    if int8 and calibration[0] is None:
        raise BadInput("--int8 needs images to calibrate on: give --calibrate DATA, a folder of them or your data set")
    if int8 and ap_tolerance is not None:
        raise BadInput("--ap-tolerance is for FP32 and FP16 files: an INT8 file is judged by --max-drop")


def _in_int8(
    detector: Detector, file: str, format: str, options: ExportOptions, calibration: Sequence[Any],
    verify: Text | None, max_drop: str | float | None, progress: Progress,
) -> tuple[ExportedFile, VerifiedExport | None]:  # fmt: skip
    """Calibrate, write the INT8 file and, with ``verify``, keep as many layers in FP32 as the loss of AP demands."""
    try:
        import pycocotools  # noqa: F401

        from distill.data.formats.readers import open_data
        from distill.verify.calibration import IMAGES, open_calibration
        from distill.verify.int8_export import MAX_DROP, export_int8_verified, prepare_int8
    except ModuleNotFoundError as error:
        raise missing_package("an INT8 export", error.name, "train") from error
    from zoo.export.options import RANGES

    source, images, ranges = calibration
    chosen = open_calibration(text_of(source), IMAGES if images is None else images, ranges or RANGES[0])
    allowed = MAX_DROP if max_drop is None else ap_share(max_drop)
    data = None if verify is None else open_data(text_of(verify), "val")
    job = prepare_int8(detector, file, format, options, chosen, progress.show)
    if data is None:
        return job.write((), progress.show)[0], None
    verified = export_int8_verified(job, chosen, data, allowed, progress.show)
    return verified.check.file, verified


def ap_share(value: str | float) -> float:
    """AP as a share of 1: ``"0.5AP"``, as papers count it, is 0.005, and so is the number 0.005."""
    text = str(value).strip()
    points = text.upper().endswith("AP")
    try:
        share = float(text[:-2]) / 100 if points else float(text)
    except ValueError as error:
        raise BadInput(f"AP {value!r} must be a share of 1 such as 0.005, or in points such as 0.5AP") from error
    if not 0 <= share <= 1:
        raise BadInput(f"AP {value!r} must be from 0 to 1 (0.005), or from 0 to 100 points (0.5AP)")
    return share


def _file_stem(text: str, model: str) -> str:
    """The name of the file to write: the checkpoint's own, else the model's, of plain characters."""
    stem = Path(text).stem if Path(text).suffix == ".safetensors" else model
    return re.sub(r"[^\w.+-]+", "-", stem).strip("-.") or "model"


def _size(size: int | str | tuple[int, int]) -> tuple[int, int]:
    """``640`` or ``480x640`` as (height, width) in pixels."""
    if isinstance(size, tuple):
        return size
    parts = str(size).lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise BadInput(f"--input {size!r} must be a side in pixels such as 640, or HEIGHTxWIDTH such as 480x640")
    return int(parts[0]), int(parts[-1])


def _tinynas(model: str, out: Text | None) -> TinyNasResult:
    """The structure text of an architecture."""
    from search_spaces.tinynas_text import to_text
    from zoo.resolve import resolve_model

    arch = resolve_model(model).arch
    if arch is None:
        raise BadInput(f"{model!r} has no architecture of this workbench: "
                       "only DAMO-YOLO-style detectors have a TinyNAS text")  # fmt: skip
    text = to_text(arch, "damo")
    if out:
        write_atomic(Path(out), text)
    return TinyNasResult(text, Path(out) if out else None)
