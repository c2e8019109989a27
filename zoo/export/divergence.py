"""Where an exported network leaves the torch one: what every layer of an ONNX file makes, held against torch."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from zoo.detector import Detector
from zoo.export.half_precision import layer_of
from zoo.export.write import folded_copy, module_names, onnx_runner


def first_divergence(detector: Detector, path: Path, image: Tensor, tolerance: float) -> str:
    """The first layer of an ONNX file that makes something else of ``image`` ``[b, 3, h, w]`` than torch does; empty if none.

    Layers are modules without children. They agree when no number differs by more than ``tolerance`` of the layer's
    largest one. What folding made goes by the name of the module that it is in.
    """
    folded = folded_copy(detector)
    theirs = _results(path, image, folded)
    ours: dict[str, Tensor] = {}
    for name in theirs:
        # A copy: the activation behind it may work in place.
        folded.get_submodule(name).register_forward_hook(lambda module, given, made, name=name: ours.update({name: made.clone()}))
    with torch.no_grad():
        folded(image)
    known = module_names(detector)
    for name, given in theirs.items():
        if name not in ours or ours[name].shape != given.shape:
            continue
        # Written so that NaN counts as a difference.
        if not float((given - ours[name]).abs().max()) <= tolerance * max(float(ours[name].abs().max()), 1e-6):
            while name not in known:
                name = name.rpartition(".")[0]
            return name
    return ""


def _results(path: Path, image: Tensor, folded: Detector) -> dict[str, Tensor]:
    """What the layers of an ONNX file make of ``image``, by name, in the order of computing."""
    import onnx

    model = onnx.load(str(path))
    modules = dict(folded.named_modules())
    last = {layer_of(node.name, modules): node.output[0] for node in model.graph.node}
    wanted = {name: output for name, output in last.items() if name and not list(modules[name].children())}
    made = onnx_runner(path, sorted(set(wanted.values()) - {output.name for output in model.graph.output}))(image)
    return {name: made[output] for name, output in wanted.items() if made[output].is_floating_point()}
