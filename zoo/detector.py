"""The interface of every detector, and the data that builds and describes one.

A detector is a backbone, a neck and a head. ``forward`` returns the head's raw maps, ``features`` the maps that enter
the head, ``decode`` turns raw maps into scored boxes, ``predict`` into detections. Whatever differs between
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
from zoo.meta import without_weights
from zoo.nms import Detections, Selection, select
from zoo.pruning.cuts import Cuts

if TYPE_CHECKING:
    from search_spaces.architecture import Architecture
    from search_spaces.graph import Graph

Raw: TypeAlias = dict[str, Any]
"""Output of a head: named tensors, or lists of one tensor a level, documented by each family."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything needed to build a detector, without its weights."""

    model: str
    classes: int = 80
    architecture: Architecture | None = None
    """Backbone, neck and head of a searched detector; None for models of the zoo."""
    cuts: Cuts = field(default_factory=Cuts)
    """Channels, blocks and layers that are removed from the network that the other fields describe."""


@dataclass(frozen=True, slots=True)
class Info:
    """Facts about a detector besides its weights; a checkpoint stores them, a student inherits ``lineage``."""

    class_names: tuple[str, ...]
    input_px: int
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Where the weights come from: source file with its SHA-256, licence, program that wrote it."""
    lineage: tuple[Mapping[str, Any], ...] = ()
    """Every set of weights that these derive from: model, licence, SHA-256."""
    category_ids: tuple[int, ...] = ()
    """Category id of each class in the training data; empty if unknown."""


class Detector(nn.Module, abc.ABC):
    """A detector. Images are ``[b, 3, h, w]``, preprocessed by ``preprocess``; h and w are multiples of the coarsest
    stride.
    """

    family: ClassVar[str]
    preprocess: Preprocess
    selections: Mapping[str, Selection]
    """Branch name to the selection of detections in the official evaluation; ``iou_threshold`` None means no NMS.

    Most detectors have only the branch ``one_to_many``; a head with two also has ``one_to_one``.
    """
    strides: tuple[int, ...] = (8, 16, 32)
    """Cell sides in pixels, one a level, finest first."""
    anchor_offset: ClassVar[float | None] = None
    """Offset of anchor points from the corner of their cell, in cells, for families with one prediction a cell in the
    order of ``anchor_points``; None for the others."""
    loss_counts_images: ClassVar[bool] = False
    """Whether losses grow with the number of images, as the family's published ones; else they are batch means."""
    backbone: nn.Module
    """``[b, 3, h, w]`` to one map a level: C3, C4, C5 where ``strides`` are 8, 16, 32."""
    neck: nn.Module
    """These to the levels: P3, P4, P5."""
    head: nn.Module
    """The levels to ``Raw``."""

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
        """How detections of the branch in use are selected."""
        return self.selections[self.branch]

    def choose_branch(self, name: str) -> None:
        """Use another branch of a head with two: for decoding, prediction, folding and export."""
        if name not in self.selections:
            raise unknown_name(f"branch of {self.recipe.model}", name, self.selections)
        if self.fused and name != self.branch:
            folded = f"{self.recipe.model} is folded and has kept only its branch {self.branch!r}"
            raise BadInput(f"{folded}: choose {name!r} before folding")
        self.branch = name

    @property
    def end2end(self) -> bool:
        """Whether ``decode`` needs no NMS after it."""
        return self.selection.iou_threshold is None

    def features(self, image: Tensor) -> list[Tensor]:
        """The levels: the maps that enter the head, ``[b, c, h / stride, w / stride]`` each."""
        return list(self.neck(self.backbone(image)))

    def forward(self, image: Tensor) -> Raw:
        """Raw head output for ``image`` ``[b, 3, h, w]``."""
        return self.head(self.features(image))

    @abc.abstractmethod
    def boxes(self, raw: Raw, size: tuple[int, int]) -> Tensor:
        """Boxes ``[b, n, 4]`` (x1, y1, x2, y2 in input pixels) of the branch in use.

        ``size`` is the input's (height, width) in pixels.
        """

    @abc.abstractmethod
    def scores(self, raw: Raw) -> Tensor:
        """Scores ``[b, n, classes]`` in 0..1 of the branch in use, in the order of ``boxes``."""

    def decode(self, raw: Raw, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """``boxes`` and ``scores``. Families whose boxes and scores come from one calculation override it."""
        return self.boxes(raw, size), self.scores(raw)

    def distributions(self, raw: Raw) -> Tensor | None:
        """Logits ``[b, n, 4, bins]`` of the distances from the anchor point to left, top, right and bottom side.

        Bin k is a distance of k cells. Of the branch in use, in the order of ``decode``; None for heads that regress
        numbers.
        """
        return None

    @property
    def has_distributions(self) -> bool:
        """Whether ``distributions`` gives any."""
        return type(self).distributions is not Detector.distributions

    @abc.abstractmethod
    def official_outputs(self, image: Tensor) -> dict[str, Tensor]:
        """Outputs in the layout of the family's official code, by the names of the parity fixtures."""

    @torch.no_grad()
    def predict(self, image: Tensor, selection: Selection | None = None) -> list[Detections]:
        """Detections of every image of a preprocessed batch, boxes in input pixels, best first."""
        boxes, scores = self.decode(self(image), (image.shape[-2], image.shape[-1]))
        return select(boxes, scores, selection or self.selection)

    def fuse(self) -> Detector:
        """Convert to the deploy form, in place: batch norms folded, branches merged, training-only parts dropped."""
        if not self.fused:
            self.drop_training_parts()
            fold_all(self)
            self.fused = True
        return self

    def deploy_twin(self) -> Detector:
        """The deploy form of the branch in use on the meta device, without weights."""
        with without_weights():
            twin = self.untrained()
        twin.choose_branch(self.branch)
        return twin.eval().fuse()

    def untrained(self) -> Detector:
        """A detector of the same recipe with fresh weights, in training form."""
        detector = type(self)(self.recipe)
        if self.recipe.cuts:
            from zoo.pruning.apply import apply_cuts

            apply_cuts(detector, self.recipe.cuts)
        return detector

    def drop_training_parts(self) -> None:
        """Remove modules that only training needs. Families with auxiliary or double heads override it."""

    def raw_outputs(self, raw: Raw) -> list[Tensor]:
        """The raw maps in the order of the graph's outputs: level by level, or as the family overrides it."""
        columns = [value if isinstance(value, (list, tuple)) else [value] for value in raw.values()]
        return [tensor for level in zip(*columns, strict=True) for tensor in level]

    def graph(self, input_px: int | tuple[int, int] = 640, with_decode: bool = False) -> Graph:
        """The deploy form as a graph, traced on the meta device at ``input_px`` (side, or height and width, pixels).

        Outputs are the raw maps; ``with_decode`` adds the decoding to boxes and scores, as part ``decode``.
        """
        from zoo.graphs.trace import trace

        size = (input_px, input_px) if isinstance(input_px, int) else input_px
        step = self.strides[-1]
        if min(size) < step or size[0] % step or size[1] % step:
            raise BadInput(f"input of {size[0]} x {size[1]} pixels: both sides must be multiples of {step}")
        twin = self.deploy_twin()
        decode = (lambda raw: twin.decode(raw, size)) if with_decode else None
        return trace(twin, size, self.recipe.model, twin.raw_outputs, decode)

    def training_raw(self, features: list[Tensor], targets: Targets) -> Raw:
        """Raw output of the head in training. Families whose head reads the targets (denoising) override it."""
        return self.head(features)

    @abc.abstractmethod
    def loss(self, raw: Raw, targets: Targets, size: tuple[int, int], phase: Phase) -> dict[str, Tensor]:
        """Named losses of a batch, each a weighted scalar; training minimizes their sum.

        ``raw`` is the output of ``training_raw`` in training mode for an input of ``size`` (height, width in pixels).
        Cells with their center in an ignored region are no background. A batch without objects gives finite losses.
        """


def class_names(count: int) -> tuple[str, ...]:
    """Default class names: COCO's for 80 classes, else numbered ones."""
    return COCO_NAMES if count == len(COCO_NAMES) else tuple(f"class {i}" for i in range(count))
