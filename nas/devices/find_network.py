"""The network that a name on the command line stands for.

A network of ours is run up to its raw maps, which is what its Graph costs; an ONNX file is run as it is.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from nas.devices.network import Network
from nas.devices.onnx_file import fix_input_size, onnx_bytes
from search_spaces.graph import Graph
from workbench.errors import BadInput, missing_package

if TYPE_CHECKING:
    from torch import nn


def find_network(name: str, input_px: int | None = None) -> Network:
    """The network that ``name`` stands for (see ``zoo.resolve``), at ``input_px`` or its own input size.

    A graph or file with another fixed size than ``input_px`` is refused.
    """
    from zoo.resolve import resolve_model

    path = Path(name)
    if path.suffix == ".onnx" and path.is_file():
        _check_side(input_px, 32)
        return _onnx_network(path, input_px)
    subject = resolve_model(name)
    _check_side(input_px, 32 if subject.arch is None else subject.arch.level_strides[-1])
    if subject.detector is not None:
        return _detector_network(name, subject.name, input_px or subject.detector.info.input_px)
    side = input_px or subject.input_px
    graph = subject.graph(subject.default_scope(), side)
    size = graph.fixed_px or (side, side)
    _check_size(name, size, input_px)
    return Network.of_graph(Graph(graph.ops, graph.inputs, graph.outputs, subject.name, graph.meta), size)


def _check_side(input_px: int | None, step: int) -> None:
    """Refuse a side that does not fit the coarsest stride."""
    if input_px is not None and (input_px < 32 or input_px % step):
        raise BadInput(f"input {input_px} must be a multiple of {step} of at least 32 pixels")


def _check_size(name: str, size: tuple[int, int], input_px: int | None) -> None:
    if input_px is not None and size != (input_px, input_px):
        raise BadInput(
            f"{name!r} is bound to {size[0]} x {size[1]} pixels and cannot run at {input_px}: leave --input out, or "
            "export it at that size"
        )


def _detector_network(text: str, name: str, px: int) -> Network:
    """A detector of the zoo: its Graph is traced, its ONNX file and module return the raw maps."""
    from zoo.resolve import resolve_detector

    def module() -> nn.Module:
        from torch import nn

        detector = resolve_detector(text)[0].fuse()

        class RawMaps(nn.Module):
            """The folded detector up to its raw maps."""

            def __init__(self) -> None:
                super().__init__()
                self.detector = detector

            def forward(self, image: Any) -> Any:
                return detector.raw_outputs(self.detector(image))

        return RawMaps().eval()

    detector = resolve_detector(text)[0]
    step = detector.strides[-1]
    if px % step:
        raise BadInput(f"input {px} must be a multiple of {step}")
    return Network(name, detector.graph(px), (px, px), lambda: _export(module(), (px, px)), module)


def _export(module: nn.Module, size: tuple[int, int]) -> bytes:
    """The ONNX bytes of a module that takes ``[1, 3, h, w]``."""
    try:
        import onnx  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package("running a detector in ONNX form", error.name, "onnx") from error
    import torch

    buffer = io.BytesIO()
    example = torch.zeros(1, 3, *size)
    with warnings.catch_warnings(), torch.no_grad():
        # The exporter warns that it is deprecated and that sizes become constants.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (example,), cast(Any, buffer), opset_version=17, dynamo=False, input_names=["image"]
        )
    return buffer.getvalue()


def _onnx_network(path: Path, input_px: int | None) -> Network:
    """A foreign ONNX file. Sides that it leaves open are set to ``input_px``, by default 640."""
    from zoo.graphs.from_onnx import graph_of, load_onnx

    model = load_onnx(path)
    changed = fix_input_size(model, input_px or 640)
    graph = graph_of(model, path)
    size = graph.fixed_px
    if size is None:
        raise BadInput(f"{str(path)!r}: the first input is no image batch [n, c, h, w]")
    _check_size(str(path), size, input_px)
    return Network(path.stem, graph, size, lambda: onnx_bytes(path, model if changed else None), None)
