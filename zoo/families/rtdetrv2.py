"""RT-DETRv2: a ResNet-D backbone, a hybrid of attention and convolutions as neck, and a decoder of 300 queries.

Training (Zhao et al. 2024 and the authors' Apache-2.0 code): every decoder layer, and the cells selected as queries,
are matched with the objects one to one. Besides the ordinary queries the decoder gets noised ground-truth boxes, which
it restores or, where the noise is strong, rejects (contrastive denoising, DINO, Zhang et al. 2023).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.boxes import cxcywh_to_xyxy, flatten_levels, xyxy_to_cxcywh
from zoo.detector import Detector, Raw, Recipe
from zoo.families.family import Family
from zoo.families.parts.deformable import MLP, DecoderLayer, EncoderLayer, Sizes, log_odds
from zoo.families.parts.resnet_vd import ResNetVD
from zoo.images import Preprocess
from zoo.layers import ConvBN, ConvBNAct, LayerStack, RepConv
from zoo.learning.assign_set import HungarianMatcher, MatchedPairs
from zoo.learning.batch_share import count_over_batch, max_over_batch, sample_for_batch
from zoo.learning.losses import box_iou, to_float32, varifocal
from zoo.learning.targets import Phase, Targets, inside
from zoo.nms import Selection

QUERIES = 300
HEADS = 8
DECODER_WIDTH = 256
DECODER_HIDDEN = 1024
PRIOR = 0.01
"""Initial score of every class."""
ANCHOR_SIDE = 0.05
"""Side of the finest level's anchors as a share of the image; it doubles from level to level."""
MARGIN = 0.01
"""Anchors whose center lies nearer to the border than this share of the image are not used."""
TEMPERATURE = 10000.0
"""Longest wavelength of the position code over 2 pi, in cells."""
CLASS_WEIGHT, L1_WEIGHT, GIOU_WEIGHT = 1.0, 5.0, 2.0
MATCH = HungarianMatcher(class_weight=2.0, l1_weight=5.0, giou_weight=2.0)
DENOISING_QUERIES = 100
"""Noised boxes to restore an image, at most; a group holds all its objects, and only whole groups are used."""
LABEL_NOISE = 0.5
"""Twice the share of noised queries with a random class."""
BOX_NOISE = 1.0
"""Largest shift of a corner in half sides in queries to restore; one to two times that in queries to reject."""


@dataclass(frozen=True, slots=True)
class Size:
    """The settings of one model; the defaults are those of L."""

    depth: int = 50
    """Of the ResNet."""
    frozen_norms: bool = True
    """Whether the backbone's batch norms and its stem are constants."""
    width: int = 256
    """Channels of the neck."""
    hidden: int = 1024
    """Width inside the neck's attention layer."""
    expansion: float = 1.0
    """Width inside the neck's blocks over ``width``."""
    layers: int = 6
    """Decoder layers."""
    used_layers: int = 6
    """Decoder layers that prediction runs; the others only help training."""
    points: tuple[int, int, int] = (4, 4, 4)
    """Sampling points of the decoder's attention, a level."""


SIZES: dict[str, Size] = {
    "rtdetrv2-s": Size(depth=18, frozen_norms=False, expansion=0.5, layers=3, used_layers=3),
    "rtdetrv2-m": Size(expansion=0.5, used_layers=3),
    "rtdetrv2-l": Size(),
    "rtdetrv2-x": Size(depth=101, width=384, hidden=2048),
}


def position_code(h: int, w: int, width: int, like: Tensor) -> Tensor:
    """Sines and cosines ``[1, h * w, width]`` of the two coordinates, with the device and dtype of ``like``.

    Codes are listed column by column, as the official code lists them, although the tokens go row by row. On square
    maps that only swaps the axes; on others it is what the official network computes too.
    """
    count = width // 4
    xs = torch.arange(w, device=like.device, dtype=torch.float32).reshape(w, 1).expand(w, h).reshape(-1, 1)
    ys = torch.arange(h, device=like.device, dtype=torch.float32).reshape(1, h).expand(w, h).reshape(-1, 1)
    frequency = 1 / TEMPERATURE ** (torch.arange(count, device=like.device, dtype=torch.float32) / count)
    x, y = xs * frequency, ys * frequency
    return torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], 1).unsqueeze(0).to(like.dtype)


def anchor_boxes(sizes: Sizes, like: Tensor) -> tuple[Tensor, Tensor]:
    """Log-odds ``[1, n, 4]`` of one square anchor a cell (cx, cy, w, h) and whether it is used ``[1, n, 1]``.

    Unused anchors are infinite. Device and dtype are those of ``like``.
    """
    levels = []
    for level, (h, w) in enumerate(sizes):
        xs = (torch.arange(w, device=like.device, dtype=torch.float32) + 0.5) / w
        ys = (torch.arange(h, device=like.device, dtype=torch.float32) + 0.5) / h
        y, x = torch.meshgrid(ys, xs, indexing="ij")
        side = torch.full_like(x, ANCHOR_SIDE * 2**level)
        levels.append(torch.stack([x, y, side, side], -1).reshape(1, -1, 4))
    anchors = torch.cat(levels, 1)
    used = ((anchors > MARGIN) & (anchors < 1 - MARGIN)).all(-1, keepdim=True)
    odds = torch.log(anchors / (1 - anchors)).masked_fill(~used, torch.inf)
    return odds.to(like.dtype), used.to(like.dtype)


class CSPRep(nn.Module):
    """Two 1x1 convolutions, RepVGG convolutions after the first, their sum, and a 1x1 to ``cout`` if it is wider."""

    def __init__(self, cin: int, cout: int, expansion: float, repeats: int = 3) -> None:
        super().__init__()
        width = int(cout * expansion)
        self.conv1 = ConvBNAct(cin, width)
        self.conv2 = ConvBNAct(cin, width)
        self.blocks = nn.Sequential(*(RepConv(width, width, act="silu") for _ in range(repeats)))
        self.conv3 = ConvBNAct(width, cout) if width != cout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(self.blocks(self.conv1(x)) + self.conv2(x))


class HybridEncoder(nn.Module):
    """C3, C4, C5 to P3, P4, P5 of one width: attention within C5, then top down and bottom up by convolutions."""

    def __init__(self, channels: Sequence[int], size: Size) -> None:
        super().__init__()
        width = size.width
        self.project = nn.ModuleList(ConvBN(cin, width) for cin in channels)
        self.attention = EncoderLayer(width, HEADS, size.hidden)
        self.lateral = nn.ModuleList(ConvBNAct(width, width) for _ in range(2))
        self.top_down = nn.ModuleList(CSPRep(2 * width, width, size.expansion) for _ in range(2))
        self.down = nn.ModuleList(ConvBNAct(width, width, 3, 2) for _ in range(2))
        self.bottom_up = nn.ModuleList(CSPRep(2 * width, width, size.expansion) for _ in range(2))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        p3, p4, p5 = (project(x) for project, x in zip(self.project, maps, strict=True))
        b, c, h, w = p5.shape
        tokens = self.attention(p5.flatten(2).transpose(1, 2), position_code(h, w, c, p5))
        p5 = self.lateral[0](tokens.transpose(1, 2).reshape(b, c, h, w))
        p4 = self.lateral[1](self.top_down[0](torch.cat([F.interpolate(p5, scale_factor=2.0, mode="nearest"), p4], 1)))
        p3 = self.top_down[1](torch.cat([F.interpolate(p4, scale_factor=2.0, mode="nearest"), p3], 1))
        p4 = self.bottom_up[0](torch.cat([self.down[0](p3), p4], 1))
        p5 = self.bottom_up[1](torch.cat([self.down[1](p4), p5], 1))
        return [p3, p4, p5]


class QueryDecoder(LayerStack):
    """P3, P4, P5 to logits and boxes of 300 queries (fewer where the maps have fewer cells).

    Raw: ``logits`` ``[b, 300, classes]``; ``boxes`` ``[b, 300, 4]`` cx, cy, w, h in 0..1. In training mode these are of
    the last layer, and there are also ``layer_logits`` and ``layer_boxes``, lists of the same for every layer from
    first to last, and ``selected_logits`` and ``selected_boxes`` of the encoder's cells that became queries.
    Queries are ordered by the best class logit of their cell. Given the true boxes in training mode, there are also
    ``denoising_logits`` and ``denoising_boxes``, lists as of the layers, of the noised queries
    ``[b, groups * 2 * m, ...]``: groups of m to restore and m to reject, m the most objects of an image.
    """

    def __init__(self, channels: Sequence[int], size: Size, classes: int) -> None:
        super().__init__()
        width = DECODER_WIDTH
        self.depth = size.used_layers
        self.auxiliary = True
        self.project = nn.ModuleList(ConvBN(cin, width) for cin in channels)
        self.layers = nn.ModuleList(DecoderLayer(width, HEADS, DECODER_HIDDEN, size.points) for _ in range(size.layers))
        # what noised queries start from; the last row is "no object"
        self.denoising_classes = nn.Embedding(classes + 1, width, padding_idx=classes)
        self.query_position = MLP(4, 2 * width, width)
        self.cell_projection = nn.Linear(width, width)
        self.cell_norm = nn.LayerNorm(width)
        self.cell_scores = nn.Linear(width, classes)
        self.cell_boxes = MLP(width, width, width, 4)
        self.scores = nn.ModuleList(nn.Linear(width, classes) for _ in range(size.layers))
        self.boxes = nn.ModuleList(MLP(width, width, width, 4) for _ in range(size.layers))
        self._init_weights()

    def _init_weights(self) -> None:
        """Every score starts at ``PRIOR``, and every box at its anchor."""
        for scores in (self.cell_scores, *self.scores):
            nn.init.constant_(scores.bias, -math.log((1 - PRIOR) / PRIOR))
        for boxes in (self.cell_boxes, *self.boxes):
            nn.init.zeros_(boxes.layers[-1].weight)
            nn.init.zeros_(boxes.layers[-1].bias)
        for layer in (self.cell_projection, *self.query_position.layers, *(project.conv for project in self.project)):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, maps: Sequence[Tensor], noised: tuple[Tensor, Tensor] | None = None) -> Raw:
        """``noised`` are classes ``[b, groups, 2, m]`` and boxes ``[b, groups, 2, m, 4]`` of ``noised_queries``."""
        levels = [project(x) for project, x in zip(self.project, maps, strict=True)]
        sizes = [(x.shape[-2], x.shape[-1]) for x in levels]
        memory = flatten_levels(levels)
        cells, logits, odds = self.select(memory, sizes)
        if not (self.training and self.auxiliary):
            return self.refine(cells, odds, memory, sizes)
        queries, start, attn_mask, extra = cells.detach(), odds.detach(), None, 0
        if noised is not None:
            groups, extra = noised[0].shape[1], noised[0][0].numel()
            queries = torch.cat([self.denoising_classes(noised[0].flatten(1)).to(queries.dtype), queries], 1)
            start = torch.cat([log_odds(noised[1].flatten(1, 3)).to(start.dtype), start], 1)
            attn_mask = attention_mask(groups, extra, cells.shape[1], cells.device)
        raw = self.refine_all(queries, start, memory, sizes, attn_mask)
        selected = {"selected_logits": logits, "selected_boxes": odds.sigmoid()}
        if noised is None:
            return raw | selected
        restored = {f"denoising_{name}": [x[:, :extra] for x in raw[f"layer_{name}"]] for name in ("logits", "boxes")}
        layers = {name: [x[:, extra:] for x in raw[name]] for name in ("layer_logits", "layer_boxes")}
        last = {name: layers[f"layer_{name}"][-1] for name in ("logits", "boxes")}
        return {**last, **layers, **selected, **restored}

    def select(self, memory: Tensor, sizes: Sizes) -> tuple[Tensor, Tensor, Tensor]:
        """The cells ``[b, 300, c]`` of ``memory`` ``[b, n, c]`` with the best logits; these, boxes' log-odds."""
        # in the precision of the weights: under autocast that of the maps is too coarse for boxes
        anchors, used = anchor_boxes(sizes, self.cell_scores.weight)
        cells = self.cell_norm(self.cell_projection(used * memory))
        logits = self.cell_scores(cells)
        odds = self.cell_boxes(cells) + anchors
        best = torch.topk(logits.amax(-1), min(QUERIES, memory.shape[1]), -1).indices.unsqueeze(-1)
        cells, logits, odds = (x.gather(1, best.expand(-1, -1, x.shape[-1])) for x in (cells, logits, odds))
        return cells, logits, odds

    def refine(self, queries: Tensor, odds: Tensor, memory: Tensor, sizes: Sizes) -> Raw:
        """Logits and boxes of the last layer that prediction uses."""
        boxes = odds.sigmoid()
        for i in range(self.depth):
            queries = self.layers[i](queries, self.query_position(boxes), boxes, memory, sizes)
            boxes = (self.boxes[i](queries) + log_odds(boxes)).sigmoid()
        return {"logits": self.scores[self.depth - 1](queries), "boxes": boxes}

    def refine_all(
        self, queries: Tensor, odds: Tensor, memory: Tensor, sizes: Sizes, attn_mask: Tensor | None = None
    ) -> Raw:
        """Logits and boxes of every layer. A layer's boxes teach itself and the layer before it, no others."""
        before = boxes = odds.sigmoid()
        all_logits, all_boxes = [], []
        for layer, scores, shifts in zip(self.layers, self.scores, self.boxes, strict=True):
            queries = layer(queries, self.query_position(boxes), boxes, memory, sizes, attn_mask)
            shift = shifts(queries)
            all_logits.append(scores(queries))
            all_boxes.append((shift + log_odds(before)).sigmoid())
            before = (shift + log_odds(boxes)).sigmoid()
            boxes = before.detach()
        return {"logits": all_logits[-1], "boxes": all_boxes[-1], "layer_logits": all_logits, "layer_boxes": all_boxes}

    def keep_layers(self, count: int) -> None:
        """Remove all but the first ``count`` layers, in place, with their predictions."""
        self.depth = min(self.depth, count)
        self.layers, self.boxes, self.scores = self.layers[:count], self.boxes[:count], self.scores[:count]

    def drop_training_parts(self) -> None:
        """Keep what ``refine`` runs."""
        self.auxiliary = False
        self.keep_layers(self.depth)
        for i in range(self.depth - 1):
            self.scores[i] = nn.Identity()
        del self.denoising_classes


def attention_mask(groups: int, noised: int, ordinary: int, device: torch.device) -> Tensor:
    """Attention mask, bool ``[q, q]`` for q = ``noised`` + ``ordinary`` queries.

    Noised queries attend to their group and to the ordinary ones, which attend only to each other.
    """
    group = torch.arange(noised, device=device) // max(noised // groups, 1)
    group = torch.cat([group, group.new_full((ordinary,), groups)])
    return (group[:, None] == group) | (group == groups)


def noised_queries(
    targets: Targets, size: tuple[int, int], classes: int, queries: int = DENOISING_QUERIES
) -> tuple[Tensor, Tensor] | None:
    """Classes ``[b, groups, 2, m]`` and boxes ``[b, groups, 2, m, 4]`` (cx, cy, w, h in 0..1) near the ground truth.

    Of each pair the first is to be restored and the second to be rejected. Images with fewer than m objects are padded
    with the class ``classes`` ("no object"). ``size`` is the input's (height, width) in pixels. None if no image has an
    object. Randomness comes from torch's global generator.
    """
    m = max_over_batch(targets.most_objects)
    if m == 0:
        return None
    boxes, labels, valid = targets.padded(m)
    b = len(labels)
    groups = max(queries // m, 1)
    shape = (b, groups, 2, m)
    valid = valid[:, None, None].expand(shape)
    labels = labels[:, None, None].expand(shape).masked_fill(~valid, classes)
    wrong = sample_for_batch(lambda n: torch.rand(n, *shape[1:], device=boxes.device), b) < LABEL_NOISE / 2
    device = boxes.device
    random_labels = sample_for_batch(lambda n: torch.randint(classes, (n, *shape[1:]), device=device), b)
    labels = torch.where(wrong & valid, random_labels, labels)

    boxes = (to_float32(boxes) / boxes.new_tensor([size[1], size[0]] * 2))[:, None, None].expand(*shape, 4)
    half = (boxes[..., 2:] - boxes[..., :2]) / 2
    corner_shape, dtype = boxes.shape[1:], boxes.dtype
    bits = sample_for_batch(lambda n: torch.randint(2, (n, *corner_shape), device=device, dtype=dtype), b)
    signs = bits * 2 - 1
    shares = sample_for_batch(lambda n: torch.rand(n, *corner_shape, device=device, dtype=dtype), b)
    shares = shares + shares.new_tensor([0.0, 1.0])[:, None, None]
    moved = boxes + signs * shares * BOX_NOISE * torch.cat([half, half], -1)
    return labels, xyxy_to_cxcywh(moved.clamp(0, 1))


def restored_pairs(targets: Targets, layers: int, groups: int, m: int | None = None) -> MatchedPairs:
    """Pairs of noised queries and the objects that they restore, in every layer; images are padded to ``m`` objects."""
    labels, valid = targets.padded(m)[1:]
    m, device = labels.shape[1], labels.device
    group = torch.arange(groups, device=device)
    order = torch.arange(layers, device=device)
    images, places = valid.nonzero(as_tuple=True)
    objects = torch.arange(len(images), device=device)
    grid = torch.cartesian_prod(order, objects, group)
    return MatchedPairs(grid[:, 0], images[grid[:, 1]], grid[:, 2] * 2 * m + places[grid[:, 1]], grid[:, 1])


class RTDETRv2(Detector):
    """An RT-DETRv2: end to end, 300 boxes an image."""

    family: ClassVar[str] = "rtdetrv2"
    preprocess = Preprocess("rgb", 1 / 255, resize="stretch", antialias=True)
    selections: Mapping[str, Selection] = {"one_to_one": Selection(0.0, None, True, None, QUERIES)}

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        size = SIZES[recipe.model]
        backbone = ResNetVD(size.depth, size.frozen_norms)
        self.backbone = backbone
        self.neck = HybridEncoder(backbone.channels, size)
        self.head: QueryDecoder = QueryDecoder([size.width] * 3, size, recipe.classes)

    def boxes(self, raw: Raw, size: tuple[int, int]) -> Tensor:
        height, width = size
        cx, w = (raw["boxes"][..., 0::2] * width).split(1, -1)
        cy, h = (raw["boxes"][..., 1::2] * height).split(1, -1)
        return torch.cat([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], -1)

    def scores(self, raw: Raw) -> Tensor:
        logits: Tensor = raw["logits"]
        return logits.sigmoid()

    def training_raw(self, features: list[Tensor], targets: Targets) -> Raw:
        """The head's raw output with noised queries beside the ordinary ones."""
        h, w = features[0].shape[-2:]
        size = (h * self.strides[0], w * self.strides[0])
        return self.head(features, noised_queries(targets, size, self.classes))

    def loss(self, raw: Raw, targets: Targets, size: tuple[int, int], phase: Phase) -> dict[str, Tensor]:
        """``classes`` (varifocal), ``l1`` and ``giou`` of the last decoder layer; of the layers before it together
        (``layers_classes`` and so on), of the selected cells and, if there are any, of the noised queries.

        Each is a sum over queries divided by the number of objects, of noised queries also by that of groups.
        """
        logits = torch.stack([raw["selected_logits"], *raw["layer_logits"]])
        boxes = torch.stack([to_float32(raw["selected_boxes"]), *map(to_float32, raw["layer_boxes"])])
        truth = self._normalized(targets.boxes, size)
        pairs = MATCH(logits.detach(), boxes.detach(), targets.labels, truth)
        by_layer = self._set_losses(logits, boxes, pairs, targets, size)
        losses = {name: values[-1] for name, values in by_layer.items()}
        if len(raw["layer_logits"]) > 1:
            losses |= {f"layers_{name}": values[1:-1].sum() for name, values in by_layer.items()}
        losses |= {f"selected_{name}": values[0] for name, values in by_layer.items()}
        if "denoising_logits" in raw:
            logits = torch.stack(raw["denoising_logits"])
            boxes = torch.stack([to_float32(x) for x in raw["denoising_boxes"]])
            m = max_over_batch(targets.most_objects)
            groups = logits.shape[2] // (2 * m)
            pairs = restored_pairs(targets, len(logits), groups, m)
            by_layer = self._set_losses(logits, boxes, pairs, targets, size)
            losses |= {f"denoising_{name}": values.sum() / groups for name, values in by_layer.items()}
        else:
            # without objects there are no noised queries: their embedding gets a gradient of 0, so that it has one
            losses["classes"] = losses["classes"] + 0.0 * self.head.denoising_classes.weight.sum()
        return losses

    def _set_losses(
        self, logits: Tensor, boxes: Tensor, pairs: MatchedPairs, targets: Targets, size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Weighted losses ``[k]`` of k layers: ``logits`` ``[k, b, q, classes]``, ``boxes`` ``[k, b, q, 4]``."""
        logits, objects = to_float32(logits), max(count_over_batch(targets.objects), 1)
        truth = torch.cat(self._normalized(targets.boxes, size))[pairs.objects]
        at = (pairs.layers, pairs.images, pairs.queries)
        chosen = boxes[at]
        corners, true_corners = cxcywh_to_xyxy(chosen), cxcywh_to_xyxy(truth)

        quality, positive = torch.zeros_like(logits), torch.zeros_like(logits, dtype=torch.bool)
        place = (*at, torch.cat(targets.labels)[pairs.objects])
        quality[place] = box_iou(corners.detach(), true_corners).to(quality.dtype)
        positive[place] = True
        entropy = varifocal(logits, quality, positive)
        background = self._in_ignored(boxes.detach(), targets, size)
        background[at] = False
        classes = entropy.masked_fill(background[..., None], 0.0).sum((1, 2, 3))

        def by_layer(values: Tensor) -> Tensor:
            return values.new_zeros(len(logits)).index_add(0, pairs.layers, values)

        return {
            "classes": CLASS_WEIGHT * classes / objects,
            "l1": L1_WEIGHT * by_layer((chosen - truth).abs().sum(-1)) / objects,
            "giou": GIOU_WEIGHT * by_layer(1 - box_iou(corners, true_corners, "giou")) / objects,
        }

    @staticmethod
    def _normalized(boxes: Sequence[Tensor], size: tuple[int, int]) -> tuple[Tensor, ...]:
        """Boxes in pixels as cx, cy, w, h in 0..1."""
        return tuple(xyxy_to_cxcywh(rows / rows.new_tensor([size[1], size[0]] * 2)) for rows in boxes)

    @staticmethod
    def _in_ignored(boxes: Tensor, targets: Targets, size: tuple[int, int]) -> Tensor:
        """Mask ``[k, b, q]`` of the boxes ``[k, b, q, 4]`` (0..1) with their center in an ignored region."""
        centers = boxes[..., :2] * boxes.new_tensor([size[1], size[0]])
        masks = [
            inside(centers[:, i].flatten(0, 1), regions).reshape(centers.shape[0], -1)
            for i, regions in enumerate(targets.ignored)
        ]
        return torch.stack(masks, 1)

    def official_outputs(self, image: Tensor) -> dict[str, Tensor]:
        c = self.backbone(image)
        p = self.neck(c)
        raw = self.head(p)
        maps = {f"backbone_c{i}": x for i, x in enumerate(c, 3)} | {f"encoder_p{i}": x for i, x in enumerate(p, 3)}
        return maps | {"pred_logits": raw["logits"], "pred_boxes": raw["boxes"]}

    def raw_outputs(self, raw: Raw) -> list[Tensor]:
        return [raw["logits"], raw["boxes"]]

    def drop_training_parts(self) -> None:
        self.head.drop_training_parts()


def _are_anchors(value: Tensor) -> bool:
    """Whether ``value`` is ``anchor_boxes`` of some input size."""
    if value.ndim != 3 or value.shape[0] != 1 or value.shape[2] != 4:
        return False
    used = value.isfinite().all(-1)
    boxes = value[used].sigmoid()
    sides = torch.tensor([ANCHOR_SIDE * 2**level for level in range(3)], device=value.device)
    known = (boxes[:, 2:, None] - sides).abs().amin(-1) < 1e-3
    within = (boxes[:, :2] - 0.5).abs() < 0.5 - MARGIN + 1e-3
    return bool(known.all() and within.all() and value[~used].isposinf().all())


FAMILY = Family(
    name="rtdetrv2",
    title="RT-DETRv2",
    sizes=SIZES,
    make=RTDETRv2,
    landmark=r"decoder\.dec_score_head\.0\.weight",
    count_classes=lambda shapes: shapes["decoder.enc_score_head.weight"][0],
    renames=(
        (r"\.bn\.", ".norm."),
        (r"\.self_attn\.qkv\.", ".self_attn.in_proj_"),
        (r"\.self_attn\.out\.", ".self_attn.out_proj."),
        (r"^backbone\.stem\.conv(\d)\.", r"backbone.conv1.conv1_\1."),
        (r"^backbone\.stages\.(\d+)\.(\d+)\.", r"backbone.res_layers.\1.blocks.\2."),
        (r"(blocks\.\d+)\.conv1\.", r"\1.branch2a."),
        (r"(blocks\.\d+)\.conv2\.", r"\1.branch2b."),
        (r"(blocks\.\d+)\.conv3\.", r"\1.branch2c."),
        (r"^neck\.project\.", "encoder.input_proj."),
        (r"^neck\.attention\.", "encoder.encoder.0.layers.0."),
        (r"^neck\.lateral\.", "encoder.lateral_convs."),
        (r"^neck\.top_down\.", "encoder.fpn_blocks."),
        (r"^neck\.down\.", "encoder.downsample_convs."),
        (r"^neck\.bottom_up\.", "encoder.pan_blocks."),
        (r"\.blocks\.(\d)\.dense\.", r".bottlenecks.\1.conv1."),
        (r"\.blocks\.(\d)\.point\.", r".bottlenecks.\1.conv2."),
        (r"^head\.project\.", "decoder.input_proj."),
        (r"^head\.layers\.", "decoder.decoder.layers."),
        (r"^head\.denoising_classes\.", "decoder.denoising_class_embed."),
        (r"^head\.query_position\.", "decoder.query_pos_head."),
        (r"^head\.cell_projection\.", "decoder.enc_output.proj."),
        (r"^head\.cell_norm\.", "decoder.enc_output.norm."),
        (r"^head\.cell_scores\.", "decoder.enc_score_head."),
        (r"^head\.cell_boxes\.", "decoder.enc_bbox_head."),
        (r"^head\.scores\.", "decoder.dec_score_head."),
        (r"^head\.boxes\.", "decoder.dec_bbox_head."),
    ),
    constants={
        r"decoder\.anchors": _are_anchors,
        r"decoder\.valid_mask": lambda value: bool(((value == 0) | (value == 1)).all()),
        r"decoder\.decoder\.layers\.\d+\.cross_attn\.num_points_scale": lambda value: bool((value == 0.25).all()),
        # frozen batch norms count nothing; the official loader drops the number too
        r"backbone\..+\.norm\.num_batches_tracked": lambda value: value.numel() == 1,
    },
    inf_allowed=("decoder.anchors",),
    # LibreYOLO's converted checkpoints number what the official code names
    aliases=(
        (r"^((?:encoder|decoder)\.input_proj\.\d+)\.0\.", r"\1.conv."),
        (r"^((?:encoder|decoder)\.input_proj\.\d+)\.1\.", r"\1.norm."),
        (r"^decoder\.enc_output\.0\.", "decoder.enc_output.proj."),
        (r"^decoder\.enc_output\.1\.", "decoder.enc_output.norm."),
    ),
    recipe="rtdetrv2",
)
