"""TensorRT engines, built from ONNX on this machine's GPU and run there."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import BadInput
from zoo.export.formats.format import ExportFormat, Runner

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.detector import Detector
    from zoo.export.options import ExportOptions


class TensorRTFormat(ExportFormat):
    """A TensorRT engine. With FP16 it is strongly typed: every layer has the precision that it has in the ONNX file."""

    suffix = ".engine"
    half = True

    def require(self) -> None:
        try:
            import onnx  # noqa: F401
            import tensorrt  # noqa: F401
        except ModuleNotFoundError as error:
            raise BadInput(
                f"{error.name} is not installed here: export onnx, and build the engine on the device with "
                "trtexec --onnx=FILE --saveEngine=FILE --fp16"
            ) from error
        import torch

        if not torch.cuda.is_available():
            raise BadInput(
                "a TensorRT engine is built for the GPU that it runs on, and no GPU is visible: export onnx, and build "
                "the engine on the device"
            )

    def write(self, folded: Detector, path: Path, options: ExportOptions, onnx_model: Any = None) -> None:
        import tensorrt

        from zoo.export.onnx_graph import save_onnx

        logger = tensorrt.Logger(tensorrt.Logger.WARNING)
        builder = tensorrt.Builder(logger)
        strongly_typed = 1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = builder.create_network(strongly_typed if options.half else 0)
        parser = tensorrt.OnnxParser(network, logger)
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "model.onnx"
            save_onnx(folded, source, options, onnx_model)
            if not parser.parse(source.read_bytes()):
                raise BadInput(f"TensorRT cannot read the network: {parser.get_error(0)}")
        engine = builder.build_serialized_network(network, builder.create_builder_config())
        if engine is None:
            raise BadInput("TensorRT could not build an engine for this network; its log above says why")
        path.write_bytes(bytes(engine))

    def open(self, path: Path, options: ExportOptions) -> Runner:
        import tensorrt
        import torch

        runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.WARNING))
        engine = runtime.deserialize_cuda_engine(path.read_bytes())
        context = engine.create_execution_context()
        tensors = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        outputs = [name for name in tensors if engine.get_tensor_mode(name) == tensorrt.TensorIOMode.OUTPUT]

        def run(image: Tensor) -> dict[str, Tensor]:
            batch = image.cuda().contiguous()
            context.set_tensor_address("image", batch.data_ptr())
            results = {name: torch.empty(tuple(context.get_tensor_shape(name)), device="cuda") for name in outputs}
            for name, tensor in results.items():
                context.set_tensor_address(name, tensor.data_ptr())
            context.execute_async_v3(torch.cuda.current_stream().cuda_stream)
            torch.cuda.synchronize()
            return {name: tensor.cpu() for name, tensor in results.items()}

        return run
