"""YOLO26 (Jocher and Qiu, 2025), sizes n to x: plain box distances, a one-to-many and a one-to-one head.

The one-to-many head trains the features, the one-to-one head needs no NMS. One of them is in use (``branch``), and
only that one is in the deploy form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from zoo.boxes import anchor_points, flatten_levels, ltrb_to_xyxy, xyxy_to_ltrb
from zoo.detector import Detector, Raw, Recipe
from zoo.families.family import Family
from zoo.families.parts.csp_blocks import C3k, bottleneck_with_attention
from zoo.families.parts.yolo import (
    RENAMES,
    SIZES,
    Backbone,
    Branch,
    Neck,
    Size,
    count_classes,
    set_norms,
    task_aligned_losses,
)
from zoo.images import Preprocess
from zoo.learning.assign_task import TaskAlignedAssigner
from zoo.learning.losses import to_float32
from zoo.learning.targets import Phase, Targets
from zoo.nms import Selection, best_of_all

BRANCHES = {"one_to_many": "one2many", "one_to_one": "one2one"}
"""Our branch names to the official ones."""
BOX_WEIGHT, CLASS_WEIGHT, L1_WEIGHT = 7.5, 0.5, 1.5
ONE_TO_MANY_WEIGHT = (0.8, 0.1)
"""Weight of the one-to-many losses at the start and the end of training; the one-to-one losses have the rest. It moves
with every step; under the official recipe with every epoch, as in the official code."""
ASSIGN = {
    "one_to_many": TaskAlignedAssigner(topk=10),
    "one_to_one": TaskAlignedAssigner(topk=7, kept=1),
}
"""Branch to its assigner."""


class Head(nn.Module):
    """P3, P4, P5 to the raw maps of one branch or of both.

    With one branch: ``boxes``, ``[b, 4, h, w]`` a level (left, top, right, bottom in strides), and ``classes``,
    ``[b, classes, h, w]`` a level (logits). With both, these are the one-to-many branch's, and ``one_to_one_boxes`` and
    ``one_to_one_classes`` are the other's.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], classes: int) -> None:
        super().__init__()
        self.one_to_many: Branch | None = Branch(channels, strides, 4, classes, box_bias=2.0)
        self.one_to_one: Branch | None = Branch(channels, strides, 4, classes, box_bias=2.0)

    def keep(self, branch: str) -> None:
        """Remove the other branch."""
        for other in BRANCHES.keys() - {branch}:
            setattr(self, other, None)

    def forward(self, maps: Sequence[Tensor]) -> Raw:
        if self.one_to_many is None or self.one_to_one is None:
            only = self.one_to_many or self.one_to_one
            assert only is not None
            return only(maps)
        # only the one-to-many branch trains the features
        detached = [x.detach() for x in maps] if self.training else maps
        return {
            **self.one_to_many(maps),
            **{f"one_to_one_{name}": levels for name, levels in self.one_to_one(detached).items()},
        }


class YOLO26(Detector):
    """YOLO26 in one of its sizes."""

    family = "yolo26"
    anchor_offset = 0.5
    preprocess = Preprocess("rgb", 1 / 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "letterbox-center", 114)
    selections: Mapping[str, Selection] = {
        "one_to_one": Selection(0.001, None, True, None, 300),
        "one_to_many": Selection(0.001, 0.7, True, 30000, 300),
    }
    loss_counts_images = True
    head: Head

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        size: Size = FAMILY.sizes[recipe.model]
        self.backbone = backbone = Backbone(size, residual_pyramid=True)
        self.neck = neck = Neck(backbone.channels, size, block=C3k, last=bottleneck_with_attention, last_repeats=1)
        self.head = Head(neck.channels, self.strides, recipe.classes)
        set_norms(self)

    def drop_training_parts(self) -> None:
        self.head.keep(self.branch)

    def boxes(self, raw: Raw, size: tuple[int, int]) -> Tensor:
        maps = raw_of(raw, self.branch)["boxes"]
        centers, strides = anchor_points(maps, self.strides, 0.5)
        return ltrb_to_xyxy(flatten_levels(maps), centers) * strides

    def scores(self, raw: Raw) -> Tensor:
        return flatten_levels(raw_of(raw, self.branch)["classes"]).sigmoid()

    def loss(self, raw: Raw, targets: Targets, size: tuple[int, int], phase: Phase) -> dict[str, Tensor]:
        """``box`` (CIoU), ``classes`` and ``l1`` (of the distances) of each branch, named ``one_to_many_box`` etc."""
        start, end = ONE_TO_MANY_WEIGHT
        many = start + (end - start) * (phase.progress if phase.by_epoch is None else phase.by_epoch)
        losses = {}
        for branch, weight in (("one_to_many", many), ("one_to_one", 1 - many)):
            for name, value in self._branch_losses(raw_of(raw, branch), targets, size, ASSIGN[branch]).items():
                losses[f"{branch}_{name}"] = weight * len(targets) * value
        return losses

    def _branch_losses(
        self, raw: Raw, targets: Targets, size: tuple[int, int], assign: TaskAlignedAssigner
    ) -> dict[str, Tensor]:
        """The weighted losses of one branch with its ``raw`` maps, not yet times the number of images."""
        maps = [to_float32(level) for level in raw["boxes"]]
        centers, strides = anchor_points(maps, self.strides, 0.5)
        distances = flatten_levels(maps) * strides
        centers = centers * strides
        boxes = ltrb_to_xyxy(distances, centers)
        aligned = task_aligned_losses(flatten_levels(raw["classes"]), boxes, centers, targets, assign)
        target_distances = xyxy_to_ltrb(centers[aligned.cells], aligned.truth)
        sides_px = target_distances.new_tensor([size[1], size[0]] * 2)
        errors = ((distances[aligned.images, aligned.cells] - target_distances).abs() / sides_px).mean(-1)
        return {
            "box": BOX_WEIGHT * aligned.box_loss,
            "classes": CLASS_WEIGHT * aligned.class_loss,
            "l1": L1_WEIGHT * (errors * aligned.shares).sum(),
        }

    def official_outputs(self, image: Tensor) -> dict[str, Tensor]:
        """The outputs by their names; once folded, only those of the branch in use."""
        maps = self.features(image)
        raw = self.head(maps)
        outputs = dict(zip(("neck_p3", "neck_p4", "neck_p5"), maps, strict=True))
        for branch, official in BRANCHES.items():
            if getattr(self.head, branch) is not None:
                branch_raw = raw_of(raw, branch)
                outputs[f"{official}.boxes"] = flatten_levels(branch_raw["boxes"]).transpose(1, 2)
                outputs[f"{official}.scores"] = flatten_levels(branch_raw["classes"]).transpose(1, 2)
        if self.end2end:
            boxes, scores = self.decode(raw, (image.shape[-2], image.shape[-1]))
            outputs["end2end"] = best_of_all(boxes, scores, 300)
        return outputs


def raw_of(raw: Raw, branch: str) -> Raw:
    """``boxes`` and ``classes`` of one branch, from the raw maps of this branch or of both."""
    if branch == "one_to_one" and "one_to_one_boxes" in raw:
        return {name: raw[f"one_to_one_{name}"] for name in ("boxes", "classes")}
    return {name: raw[name] for name in ("boxes", "classes")}


FAMILY = Family(
    name="yolo26",
    title="YOLO26",
    sizes={f"yolo26{letter}": size for letter, size in SIZES.items()},
    make=YOLO26,
    landmark=r"model\.22\.m\.0\.1\.attn\.qkv\.conv\.weight",
    count_classes=count_classes,
    renames=(
        (r"^head\.one_to_many\.boxes\.", "model.23.cv2."),
        (r"^head\.one_to_many\.classes\.", "model.23.cv3."),
        (r"^head\.one_to_one\.boxes\.", "model.23.one2one_cv2."),
        (r"^head\.one_to_one\.classes\.", "model.23.one2one_cv3."),
        *RENAMES,
    ),
    recipe="yolo26",
)
