"""LiteRT (TensorFlow Lite) files, converted by litert-torch and run by LiteRT on the CPU."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import BadInput, missing_package
from zoo.export.formats.format import ExportFormat, Runner

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from zoo.detector import Detector
    from zoo.export.options import ExportOptions


class LiteRTFormat(ExportFormat):
    """A ``.tflite`` for one size, with images channels first as in every other format."""

    suffix = ".tflite"

    def require(self) -> None:
        try:
            import ai_edge_litert.interpreter  # noqa: F401
            import litert_torch  # noqa: F401
        except ModuleNotFoundError as error:
            raise missing_package("writing LiteRT files and measuring their gap", error.name, "litert") from error

    def write(self, folded: Detector, path: Path, options: ExportOptions, onnx_model: Any = None) -> None:
        from zoo.export.deployed import Deployed, EndToEnd, example_input

        end2end = options.form == "end2end"
        module = (EndToEnd if end2end else Deployed)(folded, options.form).eval()
        _convert(module, example_input(options), path)

    def open(self, path: Path, options: ExportOptions) -> Runner:
        import torch
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(path), num_threads=torch.get_num_threads())
        interpreter.allocate_tensors()
        names = ("detections",) if options.form == "end2end" else ("boxes", "scores")
        (fed,) = interpreter.get_input_details()
        # Named output_0, output_1, ... in the order of the module's results, and listed in any order.
        found = sorted(interpreter.get_output_details(), key=lambda output: str(output["name"]))
        places = {name: int(output["index"]) for name, output in zip(names, found, strict=True)}

        def run(image: Tensor) -> dict[str, Tensor]:
            interpreter.set_tensor(int(fed["index"]), image.numpy())
            interpreter.invoke()
            return {name: torch.from_numpy(interpreter.get_tensor(index)) for name, index in places.items()}

        return run


def _convert(module: torch.nn.Module, image: Tensor, path: Path) -> None:
    """Write ``module`` as a LiteRT file; an operator that LiteRT lacks raises ``BadInput``."""
    import litert_torch
    import torch

    talk = io.StringIO()
    with torch.no_grad(), contextlib.redirect_stdout(talk), contextlib.redirect_stderr(talk):
        try:
            program = litert_torch.convert(module, (image,))
        except (RuntimeError, NotImplementedError, ValueError, TypeError) as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise BadInput(f"litert-torch cannot convert this network to LiteRT: {reason:.200}") from error
        program.export(str(path))
