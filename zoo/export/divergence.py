"""The first layer of an exported network whose result differs from torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from zoo.detector import Detector
from zoo.export.deployed import folded_copy, module_names
from zoo.export.half_precision import layer_of
from zoo.export.onnx_runner import onnx_runner


def first_divergence(detector: Detector, path: Path, image: Tensor, tolerance: float) -> str:
    """The first layer of an ONNX file whose result on ``image`` ``[b, 3, h, w]`` differs; empty if none does.

    Layers are modules without children.
    """
    return first_difference(detector, _layer_results(path, image, folded_copy(detector)), image, tolerance)


def first_difference(detector: Detector, file_results: Mapping[str, Tensor], image: Tensor, tolerance: float) -> str:
    """The first module whose result on ``image`` differs from ``file_results``: by name, in the order of computation.

    Layers agree if no value differs by more than ``tolerance`` times the layer's largest absolute value. A module that
    folding made is reported as the module that contains it.
    """
    folded = folded_copy(detector)
    torch_results: dict[str, Tensor] = {}
    for name in file_results:
        # A copy, because the activation behind it may work in place.
        folded.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: torch_results.update({name: output.clone()})
        )
    with torch.no_grad():
        folded(image)
    known = module_names(detector)
    for name, result in file_results.items():
        if name not in torch_results or torch_results[name].shape != result.shape:
            continue
        difference = float((result - torch_results[name]).abs().max())
        # "not <=", so that NaN counts as a difference.
        if not difference <= tolerance * max(float(torch_results[name].abs().max()), 1e-6):
            while name not in known:
                name = name.rpartition(".")[0]
            return name
    return ""


def _layer_results(path: Path, image: Tensor, folded: Detector) -> dict[str, Tensor]:
    """The results of an ONNX file's layers on ``image``, by name, in the order of computation."""
    import onnx

    model = onnx.load(str(path))
    modules = dict(folded.named_modules())
    last_output = {layer_of(node.name, modules): node.output[0] for node in model.graph.node}
    leaves = {name: output for name, output in last_output.items() if name and not list(modules[name].children())}
    inner = sorted(set(leaves.values()) - {output.name for output in model.graph.output})
    results = onnx_runner(path, inner)(image)
    return {name: results[output] for name, output in leaves.items() if results[output].is_floating_point()}
