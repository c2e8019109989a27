"""DAMO-YOLO, published or searched: TinyNAS backbone, neck and head from an Architecture.

Facts from tinyvision/DAMO-YOLO (Apache-2.0): wiring, tensor names, evaluation settings.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.neck import level_name
from search_spaces.necks.base import map_name
from search_spaces.published import PUBLISHED
from workbench.errors import BadInput
from zoo.boxes import flatten_levels
from zoo.detector import Detector, Raw, Recipe
from zoo.families.family import Family
from zoo.families.parts.backbones import build_backbone
from zoo.families.parts.necks import WiredNeck
from zoo.families.parts.zero_head import (
    ONE_TO_MANY,
    ONE_TO_ONE,
    DualZeroHead,
    ZeroHead,
    zero_head_boxes,
    zero_head_losses,
)
from zoo.images import Preprocess
from zoo.layers import set_batch_norms
from zoo.learning.targets import Phase, Targets
from zoo.nms import Selection


class DamoYolo(Detector):
    """A DAMO-YOLO detector of any architecture. Raw: ``boxes`` and ``classes``, one map a level (see ``ZeroHead``)."""

    family = "damo-yolo"
    anchor_offset = 0.0
    preprocess = Preprocess("rgb", 1.0, resize="stretch")
    selections: Mapping[str, Selection] = {ONE_TO_MANY: Selection(0.05, 0.7, True, None, 500)}

    def __init__(self, recipe: Recipe) -> None:
        arch = architecture_of(recipe)
        assert arch.neck is not None and arch.head is not None
        if arch.head.one_to_one:
            self.selections = {ONE_TO_ONE: Selection(0.05, None, True, None, 300), **self.selections}
        # The architecture takes the recipe's number of classes, so that costs include them.
        super().__init__(recipe if recipe.architecture is None else dataclasses.replace(recipe, architecture=arch))
        self.strides = arch.neck.strides
        self.reg_max = arch.head.reg_max
        self.backbone = build_backbone(arch)
        self.neck = WiredNeck(arch.tap_channels, arch.neck)
        self.head = (DualZeroHead if arch.head.one_to_one else ZeroHead)(arch.neck.out, arch.head, arch.neck.act)
        set_batch_norms(self, eps=1e-3, momentum=0.03)

    def boxes(self, raw: Raw, size: tuple[int, int]) -> Tensor:
        return zero_head_boxes(raw[self._prefix + "boxes"], self.strides, self.reg_max)

    def scores(self, raw: Raw) -> Tensor:
        return flatten_levels(raw[self._prefix + "classes"]).sigmoid()

    def distributions(self, raw: Raw) -> Tensor | None:
        if not self.has_distributions:
            return None
        return flatten_levels(raw[self._prefix + "boxes"]).unflatten(-1, (4, self.reg_max + 1))

    @property
    def has_distributions(self) -> bool:
        return self.reg_max > 0

    @property
    def _prefix(self) -> str:
        """Prefix of the raw names of the branch in use."""
        return f"{ONE_TO_ONE}_" if self.branch == ONE_TO_ONE and not self.fused else ""

    def loss(self, raw: Raw, targets: Targets, size: tuple[int, int], phase: Phase) -> dict[str, Tensor]:
        """``quality``, ``box`` and, with bins, ``distribution``; those of an NMS-free head are ``one_to_one_...``.

        Both heads assign by the same costs from their own predictions; the NMS-free one assigns one cell to an object.
        """
        losses = zero_head_losses(raw["boxes"], raw["classes"], targets, self.strides, self.reg_max)
        if f"{ONE_TO_ONE}_boxes" in raw:
            maps = raw[f"{ONE_TO_ONE}_boxes"], raw[f"{ONE_TO_ONE}_classes"]
            single = zero_head_losses(*maps, targets, self.strides, self.reg_max, one_to_one=True)
            losses |= {f"{ONE_TO_ONE}_{name}": value for name, value in single.items()}
        return losses

    def drop_training_parts(self) -> None:
        """Keep only the branch in use, as a plain ZeroHead."""
        if isinstance(self.head, DualZeroHead):
            self.head = self.head.get_submodule(self.branch)

    def official_outputs(self, image: Tensor) -> dict[str, Tensor]:
        maps = self.backbone(image)
        levels = self.neck(maps)
        boxes, scores = self.decode(self.head(levels), (image.shape[-2], image.shape[-1]))
        named = {f"backbone_{map_name(stride)}": x for stride, x in zip(self.strides, maps, strict=True)}
        named |= {f"neck_{level_name(stride)}": x for stride, x in zip(self.strides, levels, strict=True)}
        return {**named, "head_0": scores, "head_1": boxes}


def architecture_of(recipe: Recipe) -> Architecture:
    """The recipe's Architecture, or the published one of its name, with the recipe's number of classes."""
    arch = recipe.architecture or PUBLISHED[recipe.model]
    if arch.neck is None or arch.head is None:
        name = arch.name or arch.digest()
        raise BadInput(f"architecture {name!r} is a bare backbone: a detector needs neck and head")
    return dataclasses.replace(arch, head=dataclasses.replace(arch.head, classes=recipe.classes))


def _count_classes(shapes: Mapping[str, Sequence[int]]) -> int:
    return shapes["head.gfl_cls.0.weight"][0]


def _is_range(value: Tensor) -> bool:
    return bool(torch.equal(value.flatten(), torch.arange(value.numel(), dtype=value.dtype, device=value.device)))


FAMILY = Family(
    name="damo-yolo",
    title="DAMO-YOLO",
    sizes=PUBLISHED,
    make=DamoYolo,
    landmark=re.escape("head.gfl_cls.0.weight"),
    count_classes=_count_classes,
    renames=(
        (r"^backbone\.(layers|wrappings)\.0\.conv\.(weight|bias)$", r"backbone.\1.0.conv.conv1.\2"),
        (r"^backbone\.(layers|wrappings)\.0\.bn\.", r"backbone.\1.0.conv.bn1."),
        (r"\.first\.conv\.", ".conv1.conv1."),
        (r"\.first\.bn\.", ".conv1.bn1."),
        (r"\.second\.", ".conv2."),
        (r"\.dense\.", ".rbr_dense."),
        (r"\.point\.", ".rbr_1x1."),
        (r"\.projection\.conv\.", ".residual_proj.conv1."),
        (r"\.projection\.bn\.", ".residual_proj.bn1."),
        # Inverted residuals are one flat Sequential; in the backbone an empty squeeze-excite stands at index 6.
        (r"^(neck\..*\.convs\.\d+)\.(widen|spatial|narrow)\.", r"\1.conv.\2."),
        (r"\.widen\.conv\.", ".conv.0."),
        (r"\.widen\.bn\.", ".conv.1."),
        (r"\.spatial\.conv\.", ".conv.3."),
        (r"\.spatial\.bn\.", ".conv.4."),
        (r"^(neck.*)\.narrow\.conv\.", r"\1.conv.6."),
        (r"^(neck.*)\.narrow\.bn\.", r"\1.conv.7."),
        (r"\.narrow\.conv\.", ".conv.7."),
        (r"\.narrow\.bn\.", ".conv.8."),
        (r"\.depthwise\.conv\.", ".depthwise."),
        (r"\.depthwise\.bn\.", ".dwnorm."),
        (r"\.pointwise\.conv\.", ".pointwise."),
        (r"\.pointwise\.bn\.", ".pwnorm."),
        (
            r"^backbone\.wrappings\.(\d+)\.(down|start|shortcut|fuse)\.(conv|bn)\.",
            r"backbone.wrappings.\1.\2.conv.\g<3>1.",
        ),
        (r"^(backbone\.wrappings\.\d+)\.down\.", r"\1.downsampler."),
        (r"^(backbone\.wrappings\.\d+)\.(start|shortcut|fuse)\.", r"\1.conv_\2."),
        (r"^(backbone\.wrappings\.\d+)\.blocks\.", r"\1.convstem."),
        (r"^backbone\.wrappings\.", "backbone.csp_stage."),
        (r"^backbone\.layers\.(\d+)\.(\d+)\.", r"backbone.block_list.\1.block_list.\2."),
        (r"^backbone\.layers\.", "backbone.block_list."),
        (r"^head\.cls\.", "head.gfl_cls."),
        (r"^head\.box\.", "head.gfl_reg."),
    ),
    constants={r"head\.integral\.project": _is_range},
    recipe="damo-yolo",
)
