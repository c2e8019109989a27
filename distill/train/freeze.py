"""Parts of a detector that are not trained: the backbone, or its first parts."""

from __future__ import annotations

from torch import nn

from distill.train.optimizer import BATCH_NORMS
from workbench.errors import BadInput
from zoo.detector import Detector

BACKBONE = "backbone"


def backbone_parts(detector: Detector) -> list[tuple[str, nn.Module]]:
    """Name and module of every part of the backbone that has parameters, in order: a stem and stages, mostly.

    Modules that only wrap one other, and lists of modules, count by what is inside.
    """
    parts = _children(BACKBONE, detector.backbone)
    while len(parts) == 1 and _children(*parts[0]):
        parts = _children(*parts[0])
    return [inner for part in parts for inner in (_children(*part) if isinstance(part[1], nn.ModuleList) else [part])]


def _children(name: str, module: nn.Module) -> list[tuple[str, nn.Module]]:
    children = ((f"{name}.{child}", one) for child, one in module.named_children())
    return [(path, one) for path, one in children if next(one.parameters(), None) is not None]


def freeze_parts(detector: Detector, text: str) -> str:
    """Take the parts that ``text`` says from the training, their batch norms included; what they are, in words."""
    if text == BACKBONE:
        detector.backbone.requires_grad_(False)
        return "the backbone"
    parts = backbone_parts(detector)
    if not text.isdecimal() or not 1 <= int(text) <= len(parts):
        names = ", ".join(name for name, _ in parts)
        raise BadInput(f"--freeze {text!r} must be backbone, or 1 to {len(parts)} of its parts: {names}")
    for _, module in parts[: int(text)]:
        module.requires_grad_(False)
    return ", ".join(name for name, _ in parts[: int(text)])


def is_frozen_norm(module: nn.Module) -> bool:
    """Whether this is a norm whose own parameters are not trained; its statistics stay, too."""
    own = list(module.parameters(recurse=False)) if isinstance(module, BATCH_NORMS) else []
    return bool(own) and not any(parameter.requires_grad for parameter in own)
