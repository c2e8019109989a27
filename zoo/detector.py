"""The interface of every detector, and the data that builds and describes one.

A detector is a backbone, a neck and a head. ``forward`` returns the head's raw maps, ``features`` the three maps that
enter the head, ``decode`` turns raw maps into scored boxes, ``predict`` into detections. Whatever differs between
families is in the family's module under ``zoo.families``.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from workbench.errors import BadInput, unknown_name
from zoo.coco_names import COCO_NAMES
from zoo.images import Preprocess
from zoo.layers import fold_all
from zoo.learning.targets import Phase, Targets
from zoo.nms import Detections, Selection, select

if TYPE_CHECKING:
    from search_spaces.architecture import Architecture
    from search_spaces.graph import Graph

Raw: TypeAlias = dict[str, Any]
"""What a head gives: named tensors, or lists of one tensor a level (strides 8, 16, 32). Each family documents its names."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that is needed to build the same detector again (without its weights)."""

    model: str
    classes: int = 80
    architecture: Architecture | None = None
    """For detectors of this workbench: backbone, neck and head. None for the families with fixed sizes."""


@dataclass(frozen=True, slots=True)
class Info:
    """What a detector carries besides its weights; a checkpoint keeps it, a student inherits ``lineage``."""

    class_names: tuple[str, ...]
    input_px: int
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Where the weights come from: source file and its SHA-256, licence, who wrote it."""
    lineage: tuple[Mapping[str, Any], ...] = ()
    """Every set of weights that went into these: model, licence, SHA-256."""
    category_ids: tuple[int, ...] = ()
    """What the data that taught it call each class; empty where the data are not known."""


class Detector(nn.Module, abc.ABC):
    """A detector. Images are ``[b, 3, h, w]`` as ``preprocess`` says; h and w are multiples of 32."""

    family: ClassVar[str]
    preprocess: Preprocess
    selections: Mapping[str, Selection]
    """Branch name to how the family's official evaluation selects its detections; ``iou_threshold`` None needs no NMS.

    Most detectors have the one branch ``one_to_many``; a head with two also has ``one_to_one``.
    """
    strides: ClassVar[tuple[int, int, int]] = (8, 16, 32)
    anchor_offset: ClassVar[float | None] = None
    """For families with one prediction a cell, in the order of ``points``: where in its cell it stands, in cells from the
    corner. None for the others."""
    loss_counts_images: ClassVar[bool] = False
    """Whether losses grow with the number of images, as the family publishes them; else they are means over the batch."""
    backbone: nn.Module
    """``[b, 3, h, w]`` to the maps C3, C4, C5 (strides 8, 16, 32)."""
    neck: nn.Module
    """C3, C4, C5 to P3, P4, P5."""
    head: nn.Module
    """P3, P4, P5 to ``Raw``."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.fused = False
        self.branch = next(iter(self.selections))
        self.info = Info(class_names(recipe.classes), 640)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.recipe.classes

    @property
    def selection(self) -> Selection:
        """How detections are selected from the branch in use."""
        return self.selections[self.branch]

    def choose_branch(self, name: str) -> None:
        """Use another branch of a head that has two: for decoding, prediction, folding and export."""
        if name not in self.selections:
            raise unknown_name(f"branch of {self.recipe.model}", name, self.selections)
        if self.fused and name != self.branch:
            raise BadInput(f"{self.recipe.model} is folded and has kept only its branch {self.branch!r}: choose {name!r} before folding")
        self.branch = name

    @property
    def end2end(self) -> bool:
        """Whether ``decode`` needs no NMS behind it."""
        return self.selection.iou_threshold is None

    def features(self, image: Tensor) -> list[Tensor]:
        """P3, P4, P5: the maps that enter the head, ``[b, c, h / stride, w / stride]`` each."""
        return list(self.neck(self.backbone(image)))

    def forward(self, image: Tensor) -> Raw:
        """Raw head output for ``image`` ``[b, 3, h, w]``."""
        return self.head(self.features(image))

    @abc.abstractmethod
    def boxes(self, raw: Raw, size: tuple[int, int]) -> Tensor:
        """Boxes ``[b, n, 4]`` (x1, y1, x2, y2 in input pixels) of the branch in use, for an input of ``size`` (height, width in pixels)."""

    @abc.abstractmethod
    def scores(self, raw: Raw) -> Tensor:
        """Scores ``[b, n, classes]`` in 0..1 of the branch in use, in the order of ``boxes``."""

    def decode(self, raw: Raw, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """``boxes`` and ``scores``. Families whose boxes and scores come from one calculation override it."""
        return self.boxes(raw, size), self.scores(raw)

    def distributions(self, raw: Raw) -> Tensor | None:
        """Logits ``[b, n, 4, bins]`` of how far left, top, right and bottom side lie from the anchor point of a cell: bin k
        stands for k cells. Of the branch in use and in the order of ``decode``; None for heads that predict plain numbers.
        """
        return None

    @abc.abstractmethod
    def official_outputs(self, image: Tensor) -> dict[str, Tensor]:
        """The same numbers in the layout of the family's official code, by the names of the parity fixtures."""

    @torch.no_grad()
    def predict(self, image: Tensor, selection: Selection | None = None) -> list[Detections]:
        """Detections of every image of a prepared batch, boxes in input pixels, best first."""
        boxes, scores = self.decode(self(image), (image.shape[-2], image.shape[-1]))
        return select(boxes, scores, selection or self.selection)

    def fuse(self) -> Detector:
        """Turn into the deploy form, in place: batch norms folded, branches merged, training-only parts dropped."""
        if not self.fused:
            self.drop_training_parts()
            fold_all(self)
            self.fused = True
        return self

    def drop_training_parts(self) -> None:
        """Remove what only training needs. Families with auxiliary or double heads override it."""

    def raw_outputs(self, raw: Raw) -> list[Tensor]:
        """The raw maps in the order of the Graph's outputs: level by level, or as the family overrides it."""
        columns = [value if isinstance(value, (list, tuple)) else [value] for value in raw.values()]
        return [tensor for level in zip(*columns, strict=True) for tensor in level]

    def graph(self, input_px: int | tuple[int, int] = 640, with_decode: bool = False) -> Graph:
        """The deploy form as a Graph, traced on the meta device at ``input_px`` (side, or height and width, pixels).

        Outputs are the raw maps; ``with_decode`` adds what turns them into boxes and scores, as part ``decode``.
        """
        from zoo.graphs.trace import trace

        size = (input_px, input_px) if isinstance(input_px, int) else input_px
        if min(size) < 32 or size[0] % 32 or size[1] % 32:
            raise BadInput(f"input of {size[0]} x {size[1]} pixels: both sides must be multiples of 32")
        with torch.device("meta"):
            twin = type(self)(self.recipe)
        twin.choose_branch(self.branch)
        twin.eval().fuse()
        decode = (lambda raw: twin.decode(raw, size)) if with_decode else None
        return trace(twin, size, self.recipe.model, twin.raw_outputs, decode)

    def training_raw(self, features: list[Tensor], targets: Targets) -> Raw:
        """What the head gives while it learns. Families whose head looks at the targets (denoising) override it."""
        return self.head(features)

    @abc.abstractmethod
    def loss(self, raw: Raw, targets: Targets, size: tuple[int, int], phase: Phase) -> dict[str, Tensor]:
        """Named losses of a batch, each a weighted scalar; training minimises their sum.

        ``raw`` is what ``training_raw`` gave in training mode for an input of ``size`` (height, width in pixels). Cells
        whose centre lies in an ignored region of their image are not taught as background. A batch without any object
        gives finite losses.
        """


def class_names(count: int) -> tuple[str, ...]:
    """COCO's names for 80 classes, else numbered ones, until a data set or checkpoint brings its own."""
    return COCO_NAMES if count == len(COCO_NAMES) else tuple(f"class {i}" for i in range(count))
