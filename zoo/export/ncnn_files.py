"""NCNN files: a torch module converted by pnnx, and the files run by NCNN on the CPU.

An NCNN network takes one image and has two files, ``.param`` (its layers) and ``.bin`` (its weights). Convolutions are
named after their torch modules.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import BadInput, missing_package
from zoo.export.ncnn_param import (
    STRIDED_SLICE,
    NcnnLayer,
    fold_pixels,
    parse,
    to_text,
    with_blob_names,
    with_module_names,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

INPUT = "image"
"""Name of the input blob."""


def require_ncnn(what: str) -> None:
    """Raise ``BadInput`` if NCNN or its converter is not installed; ``what`` needs them."""
    try:
        import ncnn  # noqa: F401
        import pnnx  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package(what, error.name, "ncnn") from error


def convert(module: nn.Module, image: Tensor, outputs: Sequence[str], param: Path, half: bool = False) -> None:
    """Write ``module``, from ``image`` ``[1, 3, h, w]`` to tensors, as ``param`` and its ``.bin``.

    ``outputs`` are the names of its results; ``half`` stores the weights in FP16. Operators that NCNN does not have
    raise ``BadInput``.
    """
    import torch

    from zoo.export.deployed import quiet_tracing

    with quiet_tracing(), tempfile.TemporaryDirectory() as folder:
        program: torch.jit.ScriptModule = torch.jit.trace(module, (image,), check_trace=False)
        program.save(f"{folder}/model.pt")
        _run_pnnx(Path(folder), tuple(image.shape), half)
        # pnnx's own file holds what the NCNN file lost: the modules' names and where slices start.
        source = parse((Path(folder) / "model.pnnx.param").read_text())
        layers = fold_pixels(parse((Path(folder) / "model.ncnn.param").read_text()), _slice_starts(source))
        missing = sorted({layer.kind for layer in layers if not layer.is_known})
        if missing:
            raise BadInput(f"NCNN has no layer for {', '.join(missing)}: write this network in another format")
        modules = [layer.name.removeprefix("detector.") for layer in source if layer.kind == "nn.Conv2d"]
        blobs = {"in0": INPUT, **{f"out{i}": name for i, name in enumerate(outputs)}}
        param.write_text(to_text(with_blob_names(with_module_names(layers, modules), blobs)))
        param.with_suffix(".bin").write_bytes((Path(folder) / "model.ncnn.bin").read_bytes())


class NcnnNetwork:
    """An NCNN network in memory, computing in FP32 on the CPU."""

    def __init__(self, param: Path, threads: int) -> None:
        import ncnn

        self.layers = parse(param.read_text())
        self._ncnn, self._net = ncnn, ncnn.Net()
        options = self._net.opt
        options.use_vulkan_compute = False
        options.num_threads = threads
        for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
            setattr(options, name, False)
        bin_file = param.with_suffix(".bin")
        if self._net.load_param(str(param)) or self._net.load_model(str(bin_file)):
            raise BadInput(f"NCNN cannot read {str(param)!r} with {bin_file.name!r} beside it")
        readers = {name for layer in self.layers for name in layer.inputs}
        self.outputs = [name for layer in self.layers for name in layer.outputs if name not in readers]

    def run(self, image: Tensor, inner: Sequence[str] = ()) -> dict[str, Tensor]:
        """The outputs and the blobs ``inner`` for ``image`` ``[1, 3, h, w]``, each with a batch axis."""
        import numpy as np
        import torch

        extractor = self._net.create_extractor()
        # Otherwise layers compute in place and a blob from inside is overwritten by its readers.
        extractor.set_light_mode(not inner)
        extractor.input(INPUT, self._ncnn.Mat(image[0].contiguous().numpy()).clone())
        results = {}
        for name in (*self.outputs, *inner):
            code, blob = extractor.extract(name)
            if code:
                raise BadInput(f"NCNN cannot compute {name!r}: it ran out of memory or a layer failed (code {code})")
            results[name] = torch.from_numpy(np.array(blob))[None]
        return results

    def session(self, image: Tensor) -> Callable[[], None]:
        """Run the network again and again on one image, to be timed."""
        fed = self._ncnn.Mat(image[0].contiguous().numpy()).clone()

        def run() -> None:
            extractor = self._net.create_extractor()
            extractor.input(INPUT, fed)
            for name in self.outputs:
                extractor.extract(name)

        return run


def _run_pnnx(folder: Path, shape: tuple[int, ...], half: bool) -> None:
    """Convert ``model.pt`` in ``folder``."""
    import pnnx

    shown = ",".join(map(str, shape))
    command = [pnnx.EXEC_PATH, "model.pt", f"inputshape=[{shown}]", f"fp16={int(half)}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode or not (folder / "model.ncnn.bin").exists():
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        reason = last[0][:200] if last else "it gives no reason"
        raise BadInput(f"pnnx cannot convert this network to NCNN (exit code {done.returncode}): {reason}")


def _slice_starts(source: Sequence[NcnnLayer]) -> Mapping[str, tuple[int, int]]:
    """First row and column of the slices in pnnx's own file that take each second pixel of an image, by name."""
    starts = {}
    for layer in source:
        values: dict[str, Any] = dict(text.split("=", 1) for text in layer.parameters if "=" in text)
        if layer.kind == STRIDED_SLICE and values.get("dims") == "(2,3)" and values.get("steps") == "(2,2)":
            row, column = map(int, re.findall(r"\d+", values["starts"]))
            starts[layer.name] = (row, column)
    return starts
