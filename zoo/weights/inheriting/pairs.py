"""Which tensor of one detector has the role of which tensor of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from zoo.detector import Detector
from zoo.families.damo_yolo import DamoYolo, architecture_of
from zoo.families.parts.backbones import ChainBackbone
from zoo.families.parts.resnet_vd import FrozenBatchNorm2d
from zoo.families.parts.zero_head import ONE_TO_MANY, DualZeroHead, ZeroHead
from zoo.layers import SkippableBlock

Children = Iterator[tuple[str, str, nn.Module, nn.Module]]
"""Names of two children, in the target and in the source, and these."""


@dataclass(frozen=True, slots=True)
class Strides:
    """Where the stages of a searched backbone and the levels of its head stand."""

    stages: Mapping[str, tuple[int, int]]
    """Name of a stage to its total stride and its place among the stages of this stride; empty for other families."""
    levels: tuple[int, ...]
    """Stride of every level."""


@dataclass(slots=True)
class TensorPairs:
    """Tensors of the target that have a counterpart in the source."""

    names: dict[str, str] = field(default_factory=dict)
    """Name in the target to the name in the source."""
    new_blocks: tuple[str, ...] = ()
    """Paths of the target's residual blocks without any counterpart, outermost ones."""


def tensor_pairs(target: Detector, source: Detector) -> TensorPairs:
    """Pair parameters and buffers by the paths of their modules, which must be of one type all the way down.

    Members of a sequence or a list are paired by their place among those of their type, stages of a searched backbone
    and levels of its head by their stride, and both heads of an NMS-free detector take the one head of another.
    """
    pairs = TensorPairs()
    _pair(target, source, "", "", pairs.names, (_strides(target), _strides(source)))
    new: list[str] = []
    for path, part in target.named_modules():
        if isinstance(part, SkippableBlock) and part.skippable and not part.skipped:
            inside = any(path.startswith(f"{block}.") for block in new)
            if not inside and not any(name.startswith(f"{path}.") for name in pairs.names):
                new.append(path)
    pairs.new_blocks = tuple(new)
    return pairs


def _pair(
    target: nn.Module, source: nn.Module, path: str, source_path: str, names: dict[str, str],
    strides: tuple[Strides, Strides],
) -> None:  # fmt: skip
    own = dict(_own_tensors(source))
    for name, value in _own_tensors(target):
        if name in own and own[name].ndim == value.ndim:
            names[path + name] = source_path + name
    for name, other, child, counterpart in _children(target, source, strides):
        _pair(child, counterpart, f"{path}{name}.", f"{source_path}{other}.", names, strides)


def _own_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(recurse=False)
    yield from module.named_buffers(recurse=False)


def _children(target: nn.Module, source: nn.Module, strides: tuple[Strides, Strides]) -> Children:
    """Pairs of children that have the same role and the same type."""
    ours, theirs = dict(target.named_children()), dict(source.named_children())
    if isinstance(target, nn.ModuleDict):
        matched = _by_place(list(ours), list(theirs))
    elif isinstance(target, (nn.ModuleList, nn.Sequential)):
        matched = _by_type(ours, theirs)
    else:
        matched = [(name, name) for name in ours if name in theirs]
    for name, other in matched:
        child, counterpart = ours[name], theirs[other]
        if isinstance(child, DualZeroHead) and isinstance(counterpart, ZeroHead):
            yield from ((f"{name}.{branch}", other, head, counterpart) for branch, head in child.named_children())
        elif isinstance(child, ZeroHead) and isinstance(counterpart, DualZeroHead):
            yield name, f"{other}.{ONE_TO_MANY}", child, counterpart.get_submodule(ONE_TO_MANY)
        elif not _same_kind(child, counterpart):
            continue
        elif isinstance(target, ChainBackbone) and name == "layers":
            yield from _stages(child, counterpart, strides)
        elif isinstance(target, ZeroHead) and isinstance(child, nn.ModuleList):
            yield from _levels(name, child, counterpart, strides)
        else:
            yield name, other, child, counterpart


def _same_kind(target: nn.Module, source: nn.Module) -> bool:
    """Whether two modules are of one type; residual blocks also in the parts of their branches."""
    if isinstance(target, SkippableBlock) and isinstance(source, SkippableBlock):
        ours, theirs = dict(target.named_children()), dict(source.named_children())
        both = [name for name in target.branch_parts if name in ours and name in theirs]
        if not both or any(_type(ours[name]) is not _type(theirs[name]) for name in both):
            return False
    return _type(target) is _type(source)


def _type(module: nn.Module) -> type[nn.Module]:
    """What a module is, whether it learns or not."""
    return nn.BatchNorm2d if isinstance(module, FrozenBatchNorm2d) else type(module)


def _by_type(ours: Mapping[str, nn.Module], theirs: Mapping[str, nn.Module]) -> list[tuple[str, str]]:
    """The n-th child of a type takes the n-th of the same type."""

    def keyed(children: Mapping[str, nn.Module]) -> dict[tuple[type, int], str]:
        counts: dict[type, int] = {}
        keys = {}
        for name, child in children.items():
            kind = _type(child)
            keys[kind, counts.get(kind, 0)] = name
            counts[kind] = counts.get(kind, 0) + 1
        return keys

    other = keyed(theirs)
    return [(name, other[key]) for key, name in keyed(ours).items() if key in other]


def _by_place(ours: list[str], theirs: list[str]) -> list[tuple[str, str]]:
    """Numbered layers by their place, the last one with the last: there it joins what the others made."""
    if not ours or not theirs:
        return []
    return [*zip(ours[:-1], theirs[:-1], strict=False), (ours[-1], theirs[-1])]


def _stages(target: nn.Module, source: nn.Module, strides: tuple[Strides, Strides]) -> Children:
    """The stem, and stages at the same place of the same stride."""
    ours, theirs = dict(target.named_children()), dict(source.named_children())
    other = {place: name for name, place in strides[1].stages.items()}
    for name, child in ours.items():
        match = "0" if name == "0" else other.get(strides[0].stages[name])
        if match is not None and type(theirs[match]) is type(child):
            yield f"layers.{name}", f"layers.{match}", child, theirs[match]


def _levels(name: str, target: nn.Module, source: nn.Module, strides: tuple[Strides, Strides]) -> Children:
    """Layers of the head's levels of one stride."""
    ours, theirs = dict(target.named_children()), dict(source.named_children())
    other = {stride: str(level) for level, stride in enumerate(strides[1].levels)}
    for level, stride in enumerate(strides[0].levels):
        match = other.get(stride)
        if match is not None and _same_kind(ours[str(level)], theirs[match]):
            yield f"{name}.{level}", f"{name}.{match}", ours[str(level)], theirs[match]


def _strides(detector: Detector) -> Strides:
    """The strides of a detector's stages, by their names in ``backbone.layers``, and of its levels."""
    if not isinstance(detector, DamoYolo):
        return Strides({}, detector.strides)
    strides = architecture_of(detector.recipe).strides
    places = {str(i + 1): (stride, strides[:i].count(stride)) for i, stride in enumerate(strides)}
    return Strides(places, detector.strides)
