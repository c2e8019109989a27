"""TorchScript files for one input size, run by torch on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.export.formats.format import ExportFormat, Runner

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.detector import Detector
    from zoo.export.options import ExportOptions


class TorchScriptFormat(ExportFormat):
    """A TorchScript file; with ``end2end`` its method ``decoded`` returns the boxes and scores too."""

    suffix = ".torchscript"

    def write(self, folded: Detector, path: Path, options: ExportOptions, onnx_model: Any = None) -> None:
        import torch

        from zoo.export.deployed import Deployed, EndToEnd, example_input, quiet_tracing
        from zoo.export.metadata import metadata

        end2end = options.form == "end2end"
        module, example = (EndToEnd if end2end else Deployed)(folded, options.form), example_input(options)
        methods = {"forward": example, **({"decoded": example} if end2end else {})}
        with quiet_tracing():
            program = torch.jit.trace_module(module, methods, check_trace=False)
            extra = {key: value.encode() for key, value in metadata(folded, options).items()}
            program.save(str(path), _extra_files=extra)

    def open(self, path: Path, options: ExportOptions) -> Runner:
        import torch

        from zoo.export.deployed import quiet_tracing

        with quiet_tracing():
            program = torch.jit.load(str(path))

        def run(image: Tensor) -> dict[str, Tensor]:
            with torch.no_grad():
                if options.form == "decoded":
                    boxes, scores = program(image)
                    return {"boxes": boxes, "scores": scores}
                (detections,), (boxes, scores) = program(image), program.decoded(image)
                return {"detections": detections, "boxes": boxes, "scores": scores}

        return run
