"""Response distillation: what a teacher answers (boxes, scores, distributions of box sides) becomes what a student is to answer.

Both sides' raw output is turned into an ``Answer``, in which families look alike, and classes meet by name (``ClassBridge``).
Cell meets cell where both have one prediction a cell and see inputs of one size. Everywhere else, and
for teachers or students that answer with queries, the teacher's boxes are selected and become soft targets.

A method gives one number that does not grow with the number of images, in float32, and no gradient to the teacher.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.teach.align import constant
from workbench.checks import check_int, check_number, check_options
from workbench.errors import BadInput, unknown_name
from zoo.boxes import xyxy_to_cxcywh
from zoo.detector import Detector, Raw
from zoo.families.parts.zero_head import ONE_TO_MANY
from zoo.learning.assign_set import SetMatch
from zoo.learning.assign_task import best_of, largest
from zoo.learning.batch_share import sum_over_batch
from zoo.learning.losses import box_iou, iou_pairwise, to_float32
from zoo.learning.targets import Targets
from zoo.nms import nms

SYNONYMS = {"aeroplane": "airplane", "motorbike": "motorcycle", "sofa": "couch", "tvmonitor": "tv"}
"""Pascal VOC's words that COCO writes otherwise."""
NO_SCORE = 1e-12
"""Scores are this far from 0 at least before a logarithm is taken."""
NO_CHANCE = 1e-6
"""Least probability of a bin of a distribution that was brought to other bins."""
RIGHT = 0.5
"""A teacher's box that overlaps every true one less than this is somebody else's or nobody's: nothing is learned from where it lies."""
LEFT_ALONE = 0.5
"""A prediction that overlaps a soft target more than this, and is not to answer it, is not taught background either."""
ALIGN_SCORE, ALIGN_OVERLAP = 0.5, 6.0
"""Exponents of score and overlap in how well a prediction is aligned with a soft target."""
CANDIDATES = 10
"""Predictions that a soft target may be matched with one to one: its cheapest ones."""
SIGNS = (-1.0, -1.0, 1.0, 1.0)
"""How the distances to left, top, right and bottom change when the point they are taken from moves by -1, right and down."""


@dataclass(frozen=True)
class Answer:
    """What a detector answers to a batch, n predictions an image."""

    located: Tensor | Callable[[], Tensor]
    """The boxes, or what calculates them: not every method wants those of a student."""
    scores: Tensor
    """``[b, n, classes]`` in 0..1."""
    size: tuple[int, int]
    """The input's height and width in pixels."""
    distributions: Tensor | None = None
    """Logits ``[b, n, 4, bins]`` of the distances to left, top, right and bottom; bin k stands for k cells."""
    strides: tuple[int, ...] | None = None
    """Sides of the cells in pixels, level by level, where there is one prediction a cell; else None."""
    offset: float = 0.0
    """Where in its cell a prediction stands, in cells from the corner."""
    right: Tensor | None = None
    """How far each box is right, ``[b, n]`` in 0..1; None where that is not known."""

    @functools.cached_property
    def boxes(self) -> Tensor:
        """``[b, n, 4]``: x1, y1, x2, y2 in pixels of the detector's own input."""
        return self.located if isinstance(self.located, Tensor) else self.located()

    @property
    def points(self) -> Tensor | None:
        """Where the predictions stand, x and y in pixels ``[n, 2]``; None unless there is one a cell."""
        if self.strides is None:
            return None
        found = []
        for stride in self.strides:
            y, x = torch.meshgrid(*(torch.arange(side // stride, device=self.scores.device) for side in self.size), indexing="ij")
            found.append((torch.stack([x, y], -1).reshape(-1, 2) + self.offset) * stride)
        return torch.cat(found).to(self.scores.dtype)

    def constant(self) -> Answer:
        """The same in float32 and without a gradient."""
        sides = None if self.distributions is None else constant(self.distributions)
        return Answer(constant(self.boxes), constant(self.scores), self.size, sides, self.strides, self.offset, self.right)

    @torch.no_grad()
    def judged(self, targets: Targets, size: tuple[int, int]) -> Answer:
        """The same with ``right``: the overlap with the nearest true box, and 0 below ``RIGHT``; ``targets`` are in pixels of an input of ``size``.

        Of the many cells far from any object even a good teacher says something, each with a small score. Together they
        weigh more than the few that found one, and what their boxes say is nothing to be learned.
        """
        boxes = to_float32(self.boxes)
        ratio = boxes.new_tensor([self.size[1] / size[1], self.size[0] / size[0]] * 2)
        # at least one, which overlaps nothing where there is no object
        truth, _, _ = targets.padded(max(1, targets.most_objects))
        overlap = iou_pairwise(truth.to(boxes) * ratio, boxes).amax(1)
        return dataclasses.replace(self, located=self.boxes, right=overlap * (overlap >= RIGHT))

    def same_cells(self, other: Answer) -> bool:
        """Whether prediction i of both stands in the same cell."""
        return self.strides is not None and self.strides == other.strides and self.size == other.size


def answer_of(detector: Detector, raw: Raw, size: tuple[int, int], branch: str | None = None) -> Answer:
    """What ``raw`` says, which ``detector`` gave for an input of ``size`` (height, width in pixels), in float32.

    ``branch`` is the one to be read of a head with two; unless told the one-to-many branch, which shapes the features
    and whose neighbouring cells agree.
    """
    if branch is None:
        branch = ONE_TO_MANY if ONE_TO_MANY in detector.selections and not detector.fused else detector.branch
    lifted = {name: _lifted(value) for name, value in raw.items()}
    with _reading(detector, branch, _device(lifted)):
        scores, distributions = detector.scores(lifted), detector.distributions(lifted)

    def located() -> Tensor:
        with _reading(detector, branch, _device(lifted)):
            return detector.boxes(lifted, size)

    if detector.anchor_offset is None:
        return Answer(located, scores, size, distributions)
    return Answer(located, scores, size, distributions, tuple(detector.strides), detector.anchor_offset)


@contextmanager
def _reading(detector: Detector, branch: str, device: str) -> Iterator[None]:
    """In here ``detector`` decodes that branch, in the precision of what it is given."""
    before = detector.branch
    detector.choose_branch(branch)
    try:
        with torch.autocast(device, enabled=False):
            yield
    finally:
        detector.choose_branch(before)


def _lifted(value: Any) -> Any:
    if isinstance(value, Tensor):
        return to_float32(value) if value.is_floating_point() else value
    return [_lifted(one) for one in value] if isinstance(value, (list, tuple)) else value


def _device(raw: Raw) -> str:
    first = next(iter(raw.values()))
    return (first if isinstance(first, Tensor) else first[0]).device.type


@dataclass(frozen=True, slots=True)
class ClassBridge:
    """Which class of the student is which of the teacher; the k-th entries of both columns belong together."""

    student_columns: tuple[int, ...]
    teacher_columns: tuple[int, ...]
    student_unmatched: tuple[str, ...]
    """Classes that the teacher does not know: it says nothing of them, neither object nor background."""
    teacher_unmatched: tuple[str, ...]
    """Classes that the student has no use for: what the teacher says of them is dropped."""
    student_classes: int
    teacher_classes: int

    @staticmethod
    def of(student_names: Sequence[str], teacher_names: Sequence[str]) -> ClassBridge:
        """Match by name: as written, else whatever the case, spaces, hyphens and underscores, VOC's words as COCO's."""
        exact = {name: at for at, name in enumerate(teacher_names)}
        loose: dict[str, list[int]] = {}
        for at, name in enumerate(teacher_names):
            loose.setdefault(_plain(name), []).append(at)
        pairs: dict[int, int] = {at: exact[name] for at, name in enumerate(student_names) if name in exact}
        for at, name in enumerate(student_names):
            near = [one for one in loose.get(_plain(name), []) if one not in pairs.values()]
            if at not in pairs and near:
                if len(near) > 1:
                    raise BadInput(f"the student's class {name!r} may be the teacher's {' or '.join(repr(teacher_names[one]) for one in near)}: give them the same name")
                pairs[at] = near[0]
        if not pairs:
            raise BadInput(
                f"student and teacher share no class: the student has {_some(student_names)}, the teacher {_some(teacher_names)}; "
                "rename the classes of the data, or distil features only"
            )
        order = sorted(pairs)
        return ClassBridge(
            tuple(order), tuple(pairs[at] for at in order),
            tuple(name for at, name in enumerate(student_names) if at not in pairs),
            tuple(name for at, name in enumerate(teacher_names) if at not in pairs.values()),
            len(student_names), len(teacher_names),
        )  # fmt: skip

    def of_student(self, scores: Tensor) -> Tensor:
        """The student's ``scores`` ``[..., classes]`` of the shared classes ``[..., m]``."""
        return _columns(scores, self.student_columns, self.student_classes, "student")

    def of_teacher(self, scores: Tensor) -> Tensor:
        """The teacher's ``scores`` ``[..., classes]`` of the shared classes ``[..., m]``."""
        return _columns(scores, self.teacher_columns, self.teacher_classes, "teacher")


def _plain(name: str) -> str:
    plain = "".join(c for c in name.casefold() if c not in " -_")
    return SYNONYMS.get(plain, plain)


def _some(names: Iterable[str], most: int = 6) -> str:
    listed = [repr(name) for name in names]
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def _columns(scores: Tensor, columns: tuple[int, ...], classes: int, who: str) -> Tensor:
    if scores.shape[-1] != classes:
        raise BadInput(f"the {who} answers for {scores.shape[-1]} classes: this bridge was made for {classes}")
    if columns == tuple(range(classes)):
        return scores
    return scores[..., torch.tensor(columns, device=scores.device)]


class ResponseMethod(nn.Module, abc.ABC):
    """What the methods share: classes, precision, and a teacher without a gradient."""

    def __init__(self, bridge: ClassBridge) -> None:
        super().__init__()
        self.bridge = bridge

    def forward(self, student: Answer, teacher: Answer) -> Tensor:
        """The loss of both answers to the same view of the same images."""
        if len(student.scores) != len(teacher.scores):
            raise BadInput(f"the student answers for {len(student.scores)} images and the teacher for {len(teacher.scores)}: both must see the same batch")
        with torch.autocast(student.scores.device.type, enabled=False):
            return self.of_answers(student, teacher.constant())

    @abc.abstractmethod
    def of_answers(self, student: Answer, teacher: Answer) -> Tensor:
        """The same, in float32."""

    def weights(self, teacher: Answer) -> Tensor:
        """How much each of the teacher's boxes counts, ``[b, n]``: its best score of the shared classes, as far as the box is right."""
        best = self.bridge.of_teacher(teacher.scores).amax(-1)
        return best if teacher.right is None else best * teacher.right


class Scores(ResponseMethod):
    """Scores cell by cell: cross entropy to the teacher's score, less that score's own, times their distance to the power
    ``beta`` as in the quality focal loss (Li et al. 2020), over the sum of the teacher's best scores, at least 1.

    Teacher's scores carry quality: of the sure cells much is learned, of the many empty ones little. Answers in
    different cells go the way of ``Overlapping``, its scores only.
    """

    def __init__(self, bridge: ClassBridge, beta: float = 2.0) -> None:
        super().__init__(bridge)
        self.beta = check_number("beta", beta, 1)
        self.otherwise = Overlapping(bridge, beta)

    def of_answers(self, student: Answer, teacher: Answer) -> Tensor:
        if not student.same_cells(teacher):
            return self.otherwise.parts(student, teacher)[0]
        ours, theirs = self.bridge.of_student(to_float32(student.scores)), self.bridge.of_teacher(teacher.scores)
        return soft_focal(ours, theirs, self.beta).sum() / sum_over_batch(theirs.amax(-1).sum()).clamp(min=1)


class Localisation(ResponseMethod):
    """LD (Zheng et al. 2022): the distribution of every box side follows the teacher's, cell by cell.

    Kullback-Leibler divergence at ``temperature``, times its square, as a mean over the four sides; cells count as much as
    the teacher's best score times how far its box is right, which leaves the paper's main region.

    Where bins differ in number, or distances are taken from another point of the cell, the teacher's distribution is
    brought to the student's bins first: every bin's probability goes to the two bins beside its distance, as the true
    distance does in training, so that the expected distance stays; what is beyond the student's bins goes to the end one.
    """

    def __init__(self, bridge: ClassBridge, temperature: float = 10.0) -> None:
        super().__init__(bridge)
        self.temperature = check_number("temperature", temperature, above=True)

    def of_answers(self, student: Answer, teacher: Answer) -> Tensor:
        if student.distributions is None or teacher.distributions is None or not student.same_cells(teacher):
            raise BadInput("localisation distillation needs distributions on both sides and inputs of one size: take box distillation")
        weights = self.weights(teacher)
        counted = weights > 0  # a few of many cells
        ours = to_float32(student.distributions[counted])
        theirs = rebinned(teacher.distributions[counted], ours.shape[-1], teacher.offset - student.offset)
        own = (ours / self.temperature).log_softmax(-1)
        goal = (theirs / self.temperature).log_softmax(-1)
        apart = (goal.exp() * (goal - own)).sum(-1).mean(-1) * self.temperature**2
        return (apart * weights[counted]).sum() / sum_over_batch(weights.sum()).clamp(min=1)


class Boxes(ResponseMethod):
    """Boxes cell by cell, for heads without distributions: 1 - GIoU of both boxes, a mean weighted by the teacher's best score
    times how far its box is right.

    Answers in different cells go the way of ``Overlapping``, its boxes only.
    """

    def __init__(self, bridge: ClassBridge) -> None:
        super().__init__(bridge)
        self.otherwise = Overlapping(bridge)

    def of_answers(self, student: Answer, teacher: Answer) -> Tensor:
        if not student.same_cells(teacher):
            return self.otherwise.parts(student, teacher)[1]
        weights = self.weights(teacher)
        counted = weights > 0  # a few of many cells
        apart = 1 - box_iou(student.boxes[counted], teacher.boxes[counted], "giou")
        return (apart * weights[counted]).sum() / sum_over_batch(weights.sum()).clamp(min=1)


class Match(NamedTuple):
    """Which predictions of one image are to answer which soft targets, p pairs, and what they are to say."""

    predictions: Tensor
    """int64 ``[p]``."""
    targets: Tensor
    """int64 ``[p]``."""
    qualities: Tensor
    """``[p]``, 0..1: what part of the target's scores a prediction is to give."""
    shares: Tensor
    """``[p]``, 0..1: how much its box counts; 1 for the target's best prediction."""
    alone: Tensor
    """bool ``[n]``: predictions that overlap some soft target without being its own."""


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """What a teacher found in one image, q boxes, best first."""

    boxes: Tensor
    """``[q, 4]`` in pixels of the student's input."""
    scores: Tensor
    """``[q, m]`` of the shared classes, 0..1."""
    weights: Tensor
    """How much each box counts, ``[q]``: its best score, as far as the box is right."""


class SoftTargetMethod(ResponseMethod):
    """The teacher's selected boxes as targets with soft classes: a prediction's goal is the target's scores times its quality.

    The loss is that of scores (as in ``Scores``; predictions far from every target learn 0) plus ``box_weight`` times
    1 - GIoU, weighted by the target's best score, how far its box is right, and the prediction's share. The first is over the sum of
    the best scores, the second over that of the targets' weights, each at least 1.

    Selected are boxes with a score above ``threshold``, of those of one class that overlap by more than ``iou_threshold`` the
    best, and ``most`` an image.
    """

    def __init__(
        self, bridge: ClassBridge, beta: float = 2.0, box_weight: float = 2.0, threshold: float = 0.05, iou_threshold: float = 0.7,
        most: int = 100,
    ) -> None:  # fmt: skip
        super().__init__(bridge)
        self.beta, self.box_weight = check_number("beta", beta, 1), check_number("box_weight", box_weight)
        self.threshold, self.iou_threshold = check_number("threshold", threshold, 0, 1), check_number("iou_threshold", iou_threshold, 0, 1)
        self.most = check_int("most", most)

    def of_answers(self, student: Answer, teacher: Answer) -> Tensor:
        scores, boxes = self.parts(student, teacher)
        return scores + self.box_weight * boxes

    def parts(self, student: Answer, teacher: Answer) -> tuple[Tensor, Tensor]:
        """The loss of the scores and that of the boxes, not yet weighted."""
        boxes, scores = to_float32(student.boxes), self.bridge.of_student(to_float32(student.scores))
        with torch.no_grad():
            soft = self.soft_targets(teacher, student.size)
            goals, taught = torch.zeros_like(scores), torch.ones_like(scores[..., 0], dtype=torch.bool)
            images, predictions, wanted, counts = [], [], [boxes[:0, 0]], [boxes[:0, 0, 0]]
            for i, one in enumerate(soft):
                if not len(one.boxes):
                    continue
                match = self.match(boxes[i], scores[i], one, student.size)
                goals[i, match.predictions] = one.scores[match.targets] * match.qualities[:, None]
                taught[i] = ~match.alone
                taught[i, match.predictions] = True
                images += [i] * len(match.predictions)
                predictions.append(match.predictions)
                wanted.append(one.boxes[match.targets])
                counts.append(one.weights[match.targets] * match.shares)
            scored, weighed = (sum_over_batch(torch.cat(x).sum()).clamp(min=1) for x in ([one.scores.amax(-1) for one in soft], [one.weights for one in soft]))
        score_sum = (soft_focal(scores, goals, self.beta).sum(-1) * taught).sum()
        chosen = boxes[images, torch.cat(predictions)] if predictions else boxes[:0, 0]
        box_sum = ((1 - box_iou(chosen, torch.cat(wanted), "giou")) * torch.cat(counts)).sum()
        return score_sum / scored, box_sum / weighed

    @torch.no_grad()
    def soft_targets(self, teacher: Answer, size: tuple[int, int]) -> list[SoftTargets]:
        """The teacher's boxes above the threshold, one an object, for a student whose input is of ``size`` (height, width)."""
        ratio = to_float32(teacher.boxes).new_tensor([size[1] / teacher.size[1], size[0] / teacher.size[0]] * 2)
        found = []
        for boxes, scores, weights in zip(to_float32(teacher.boxes), self.bridge.of_teacher(teacher.scores), self.weights(teacher), strict=True):
            best, labels = scores.max(-1)
            there = (best > self.threshold).nonzero()[:, 0]
            there = there[nms(boxes[there], best[there], labels[there], self.iou_threshold, self.most)]
            found.append(SoftTargets(boxes[there] * ratio, scores[there], weights[there]))
        return found

    @abc.abstractmethod
    def match(self, boxes: Tensor, scores: Tensor, soft: SoftTargets, size: tuple[int, int]) -> Match:
        """Which of an image's predictions (``boxes`` ``[n, 4]``, ``scores`` ``[n, m]``) answer which soft targets."""


class Overlapping(SoftTargetMethod):
    """Many predictions for a target: the ``topk`` that are best aligned with it, as the YOLO families assign true boxes.

    Alignment is the root of the score given to the target's best class times the sixth power of the overlap (TOOD,
    Feng et al. 2021). A prediction's share is its alignment over the best one of the target, its quality that share of the
    best overlap. One wanted by several targets answers the one it overlaps most.
    """

    def __init__(
        self, bridge: ClassBridge, beta: float = 2.0, box_weight: float = 2.0, threshold: float = 0.05, iou_threshold: float = 0.7,
        most: int = 100, topk: int = 10,
    ) -> None:  # fmt: skip
        super().__init__(bridge, beta, box_weight, threshold, iou_threshold, most)
        self.topk = check_int("topk", topk)

    def match(self, boxes: Tensor, scores: Tensor, soft: SoftTargets, size: tuple[int, int]) -> Match:
        overlaps = iou_pairwise(soft.boxes, boxes)
        near = _near(overlaps)
        alignments = scores[:, soft.scores.argmax(-1)].T.clamp(min=NO_SCORE).pow(ALIGN_SCORE) * overlaps.pow(ALIGN_OVERLAP)
        targets, predictions = (largest(alignments, self.topk) & (overlaps > 0)).nonzero(as_tuple=True)
        kept = best_of(predictions, overlaps[targets, predictions], targets, len(boxes))
        targets, predictions = targets[kept], predictions[kept]
        own, reached = alignments[targets, predictions], overlaps[targets, predictions]
        most_aligned, most_overlap = (x.new_zeros(len(overlaps)).scatter_reduce(0, targets, x, "amax") for x in (own, reached))
        shares = own / most_aligned[targets].clamp(min=torch.finfo(own.dtype).tiny)
        return Match(predictions, targets, shares * most_overlap[targets], shares, near)


class Hungarian(SoftTargetMethod):
    """One prediction for a target, at the least total cost: DETR's assignment, with the target's best class as its class.

    Its quality is its overlap.
    """

    assign = SetMatch()

    def match(self, boxes: Tensor, scores: Tensor, soft: SoftTargets, size: tuple[int, int]) -> Match:
        overlaps = iou_pairwise(soft.boxes, boxes)
        unit = boxes.new_tensor([size[1], size[0]] * 2)
        logits, places = scores.logit(eps=1e-6), xyxy_to_cxcywh(boxes / unit)
        labels, truth = soft.scores.argmax(-1), xyxy_to_cxcywh(soft.boxes / unit)
        rows = torch.arange(len(boxes), device=boxes.device)
        if len(truth) and len(boxes) > CANDIDATES * len(truth):
            # the table of a whole dense head takes SciPy longer than the step
            rows = self.assign.cost(logits, places, labels, truth).topk(CANDIDATES, 0, largest=False).indices.unique()
        pairs = self.assign(logits[rows][None, None], places[rows][None, None], (labels,), (truth,))
        predictions, targets = rows[pairs.queries], pairs.objects
        reached = overlaps[targets, predictions]
        return Match(predictions, targets, reached, torch.ones_like(reached), _near(overlaps))


def _near(overlaps: Tensor) -> Tensor:
    """Which predictions overlap some target more than a little: bool ``[n]`` from ``[q, n]``."""
    return (overlaps > LEFT_ALONE).any(0)


def soft_focal(scores: Tensor, goals: Tensor, beta: float) -> Tensor:
    """Of each score 0..1 the cross entropy to its goal, less the goal's own, times their distance to the power ``beta``.

    Takes scores rather than logits because some families' are products of two.
    """
    found: Tensor = _SoftFocal.apply(scores, goals, beta)
    return found


class _SoftFocal(torch.autograd.Function):
    """Its gradient, to the scores alone, takes half the passes over them that autograd's own way does. There is none for the second."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, goals: Tensor, beta: float) -> Tensor:
        yes, no = _chances(scores)
        goal_yes, goal_no = _chances(goals)
        # cross entropy less the goal's own: g log(g / s) + (1 - g) log((1 - g) / (1 - s))
        apart = goal_yes.div_(yes).log_().mul_(goals).add_(goal_no.div_(no).log_().mul_(1 - goals))
        gap = scores - goals
        ctx.save_for_backward(yes, no, apart, gap)
        ctx.beta = beta
        return gap.abs().pow_(beta).mul_(apart)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        yes, no, apart, gap = ctx.saved_tensors
        size = gap.abs()
        fall = size.pow(ctx.beta - 1)
        # that of the cross entropy is (s - g) / (s (1 - s)), that of the distance's power beta |s - g|^(beta - 1)
        slope = (gap / yes).div_(no).mul_(size).mul_(fall)
        return slope.add_(fall.mul_(apart).mul_(gap.sign()), alpha=ctx.beta).mul_(grads[0]), None, None


def _chances(x: Tensor) -> tuple[Tensor, Tensor]:
    """``x`` and 1 - ``x``, both far enough from 0 for a logarithm."""
    return x.clamp(min=NO_SCORE), (1 - x).clamp_(min=torch.finfo(x.dtype).eps)


def rebinned(logits: Tensor, bins: int, shift: float) -> Tensor:
    """``logits`` ``[..., 4, k]`` over other ``bins``, as logits ``[..., 4, bins]``; see ``Localisation``.

    ``shift`` says how far right and down of the wanted point the distances were taken from, in cells.
    """
    if logits.shape[-1] == bins and shift == 0:
        return logits
    distances = torch.arange(logits.shape[-1], device=logits.device, dtype=logits.dtype)
    moved = (distances + shift * logits.new_tensor(SIGNS)[:, None]).clamp(0, bins - 1)
    left = moved.floor().clamp(max=max(bins - 2, 0)).long()
    right_share = moved - left
    table = F.one_hot(left, bins) * (1 - right_share)[..., None] + F.one_hot((left + 1).clamp(max=bins - 1), bins) * right_share[..., None]
    return (logits.softmax(-1)[..., None, :] @ table).squeeze(-2).clamp(min=NO_CHANCE).log()


RESPONSE_METHODS: dict[str, type[ResponseMethod]] = {
    "scores": Scores,
    "localisation": Localisation,
    "boxes": Boxes,
    "overlap": Overlapping,
    "hungarian": Hungarian,
}
"""Method name to its class."""


def make_response_method(name: str, bridge: ClassBridge, options: Mapping[str, Any] | None = None) -> ResponseMethod:
    """The method of that name; an unknown name or option is refused."""
    if name not in RESPONSE_METHODS:
        raise unknown_name("response distillation", name, RESPONSE_METHODS)
    method = RESPONSE_METHODS[name]
    check_options(name, method, options or {}, given=1)
    return method(bridge, **(options or {}))


def suited(student: Detector, teacher: Detector, same_size: bool) -> tuple[str, ...]:
    """The response methods that fit a pair best; ``same_size`` says whether both see inputs of one size."""
    if ONE_TO_MANY not in student.selections:
        return ("hungarian",)
    if not same_size or student.anchor_offset is None or teacher.anchor_offset is None:
        return ("overlap",)
    both = all(type(one).distributions is not Detector.distributions for one in (student, teacher))
    return ("scores", "localisation" if both else "boxes")
