"""The text of an NCNN network (``.param``): its layers read, changed and written.

A line holds a layer's kind, its name, the numbers of its inputs and outputs, their names, and its parameters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MAGIC = "7767517"
"""First line of every file."""
CONVOLUTIONS = ("Convolution", "ConvolutionDepthWise")
"""Kinds of convolutions."""
STRIDED_SLICE = "Tensor.slice"
"""What pnnx leaves of a slice with a step, which NCNN does not have."""


@dataclass(frozen=True, slots=True)
class NcnnLayer:
    """One layer: ``parameters`` are the texts ``key=value``, as they stand in the file."""

    kind: str
    name: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()

    def parameter(self, key: int, default: int = 0) -> int:
        """An integer parameter by its number."""
        values = dict(text.split("=", 1) for text in self.parameters)
        return int(values.get(str(key), default))

    @property
    def is_known(self) -> bool:
        """Whether NCNN can have it: pnnx writes torch's name, which has a dot, where NCNN has no such layer."""
        return "." not in self.kind and "::" not in self.kind


def parse(text: str) -> list[NcnnLayer]:
    """The layers of a ``.param`` file or of pnnx's own, which is written in the same way."""
    layers = []
    for line in text.splitlines()[2:]:
        kind, name, inputs, outputs, *rest = line.split()
        first, last = int(inputs), int(inputs) + int(outputs)
        layers.append(NcnnLayer(kind, name, tuple(rest[:first]), tuple(rest[first:last]), tuple(rest[last:])))
    return layers


def to_text(layers: Sequence[NcnnLayer]) -> str:
    """The text of a ``.param`` file."""
    blobs = {name for layer in layers for name in layer.outputs}
    lines = [MAGIC, f"{len(layers)} {len(blobs)}"]
    for layer in layers:
        counts = (str(len(layer.inputs)), str(len(layer.outputs)))
        lines.append(" ".join((layer.kind, layer.name, *counts, *layer.inputs, *layer.outputs, *layer.parameters)))
    return "\n".join(lines) + "\n"


def with_blob_names(layers: Sequence[NcnnLayer], names: Mapping[str, str]) -> list[NcnnLayer]:
    """The same layers with other names for some blobs."""
    return [
        dataclasses.replace(
            layer,
            inputs=tuple(names.get(name, name) for name in layer.inputs),
            outputs=tuple(names.get(name, name) for name in layer.outputs),
        )
        for layer in layers
    ]


def with_module_names(layers: Sequence[NcnnLayer], modules: Sequence[str]) -> list[NcnnLayer]:
    """The same layers with the convolutions named after their torch modules, given in the order of computation.

    The layers stay as they are where the numbers of convolutions differ. A module that is called several times keeps
    its name at its first call.
    """
    places = [i for i, layer in enumerate(layers) if layer.kind in CONVOLUTIONS]
    if len(places) != len(modules):
        return list(layers)
    named, seen = list(layers), set[str]()
    for place, module in zip(places, modules, strict=True):
        if module not in seen:
            named[place] = dataclasses.replace(layers[place], name=module)
            seen.add(module)
    return named


def fold_pixels(layers: Sequence[NcnnLayer], starts: Mapping[str, tuple[int, int]]) -> list[NcnnLayer]:
    """The same layers with every four slices of each second pixel (a Focus stem) as ``Reorg`` and ``Slice``.

    ``starts`` are the first row and column of every slice, by its name. Slices that are not such a group of four stay.
    """
    splits = {name: layer.inputs[0] for layer in layers if layer.kind == "Split" for name in layer.outputs}
    groups: dict[str, list[NcnnLayer]] = {}
    for layer in layers:
        if layer.kind == STRIDED_SLICE and layer.name in starts:
            groups.setdefault(splits.get(layer.inputs[0], layer.inputs[0]), []).append(layer)
    corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    replaced: dict[str, list[NcnnLayer]] = {}
    for number, group in enumerate(groups.values()):
        by_start = {starts[layer.name]: layer for layer in group}
        if len(group) != len(corners) or set(by_start) != set(corners):
            continue
        name = f"focus_{number}"
        parts = tuple(by_start[corner].outputs[0] for corner in corners)
        replaced |= {layer.name: [] for layer in group}
        replaced[group[0].name] = [
            NcnnLayer("Reorg", name, group[0].inputs, (name,), ("0=2", "1=1")),
            NcnnLayer("Slice", f"{name}_parts", (name,), parts, ("-23300=4,-233,-233,-233,-233", "1=0")),
        ]
    changed = [new for layer in layers for new in replaced.get(layer.name, [layer])]
    return _without_unread_splits(changed)


def _without_unread_splits(layers: Sequence[NcnnLayer]) -> list[NcnnLayer]:
    """The same layers whose splits have no output that nothing reads."""
    read = {name for layer in layers for name in layer.inputs}
    return [
        dataclasses.replace(layer, outputs=tuple(name for name in layer.outputs if name in read))
        if layer.kind == "Split"
        else layer
        for layer in layers
    ]
