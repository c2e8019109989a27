"""Export formats by name. A new format is one file here and one line in ``FORMATS``.

The TinyNAS text of ``nas export --format tinynas`` is not among them: it holds a structure without weights and cannot
run (``search_spaces.tinynas_text``).
"""

from __future__ import annotations

from workbench.errors import unknown_name
from zoo.export.formats.format import ExportFormat
from zoo.export.formats.litert import LiteRTFormat
from zoo.export.formats.ncnn import NcnnFormat
from zoo.export.formats.onnx import OnnxFormat
from zoo.export.formats.openvino import OpenVINOFormat
from zoo.export.formats.tensorrt import TensorRTFormat
from zoo.export.formats.torchscript import TorchScriptFormat

FORMATS: dict[str, ExportFormat] = {
    "onnx": OnnxFormat(),
    "openvino": OpenVINOFormat(),
    "torchscript": TorchScriptFormat(),
    "tensorrt": TensorRTFormat(),
    "ncnn": NcnnFormat(),
    "litert": LiteRTFormat(),
}


def get_format(name: str) -> ExportFormat:
    """An export format by name."""
    if name not in FORMATS:
        raise unknown_name("export format", name, FORMATS)
    return FORMATS[name]
