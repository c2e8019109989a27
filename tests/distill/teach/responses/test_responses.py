"""Response distillation: answers of every family, classes by name, the losses by hand, and what they teach across
families.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import Tensor, nn

from distill.teach.class_mapping import ClassMapping
from distill.teach.methods import RESPONSE_METHODS, default_responses, make_response_method
from distill.teach.predictions import Predictions, decode_predictions
from distill.teach.responses.base import Pair
from distill.teach.responses.hungarian import Hungarian
from distill.teach.responses.localisation import rebin
from distill.teach.responses.overlap import Overlap
from distill.teach.responses.soft_focal import soft_focal
from search_spaces.published import PUBLISHED
from tests.distill.tiny import CLASSES, PX, batches, tiny_detector
from workbench.errors import BadInput
from zoo.detector import Detector, Recipe
from zoo.factory import build, build_recipe
from zoo.learning.losses import box_iou
from zoo.learning.targets import Targets

SIZE = (PX, PX)
NAMES = ("cat", "dog", "cow")
MAPPING = ClassMapping.by_name(NAMES, NAMES)
NO_TARGETS = Targets((torch.zeros(0, 4),), (torch.zeros(0, dtype=torch.int64),), (torch.zeros(0, 4),))


def small(name: str) -> Detector:
    """A detector of each family for three classes, in training mode, with answers that differ from cell to cell."""
    torch.manual_seed(0)
    detector = tiny_detector() if name == "tiny" else build(name, CLASSES)
    for key, parameter in detector.head.named_parameters():
        if key.endswith("bias") and "cell_" not in key:
            nn.init.normal_(parameter, std=0.5)
    return detector


def answers(detector: Detector, size: tuple[int, int] = SIZE) -> Predictions:
    image = nn.functional.interpolate(batches(1, images=2)[0].image, size) * detector.preprocess.scale
    targets = Targets(NO_TARGETS.boxes * 2, NO_TARGETS.labels * 2, NO_TARGETS.ignored * 2)
    return decode_predictions(detector, detector.training_raw(detector.features(image), targets), size)


def random_answer(
    seed: int, bins: int | None = 5, dense: bool = True, count: int = 84, classes: int = 3, size: tuple[int, int] = SIZE
) -> Predictions:
    random = torch.Generator().manual_seed(seed)
    low = torch.rand(2, count, 2, generator=random) * 40
    boxes = torch.cat([low, low + 4 + torch.rand(2, count, 2, generator=random) * 20], -1)
    sides = torch.randn(2, count, 4, bins, generator=random).requires_grad_() if bins else None
    scores = torch.rand(2, count, classes, generator=random).pow(3).requires_grad_()
    return Predictions(boxes.requires_grad_(), scores, size, sides, (8, 16, 32) if dense else None)


@pytest.mark.parametrize("name", ["tiny", "damo-yolo-ns", "yolo11n"])
def test_distributions_and_points_make_the_decoded_boxes(name: str) -> None:
    predictions = answers(small(name), (64, 96))
    assert predictions.distributions is not None and predictions.strides is not None and predictions.points is not None
    bins = predictions.distributions.shape[-1]
    assert predictions.distributions.shape[:3] == (*predictions.boxes.shape[:2], 4) and bins == {
        "damo-yolo-ns": 8,
        "yolo11n": 16,
    }.get(name, 17)
    cells = torch.cat([torch.full((64 // s * 96 // s,), float(s)) for s in predictions.strides])
    reach = (predictions.distributions.softmax(-1) * torch.arange(bins)).sum(-1) * cells[:, None]
    boxes = torch.cat([predictions.points - reach[..., :2], predictions.points + reach[..., 2:]], -1)
    torch.testing.assert_close(boxes, predictions.boxes, atol=1e-3, rtol=1e-4)


def test_families_without_distributions_have_none() -> None:
    for name, dense in (("yolox-nano", True), ("yolo26n", True)):
        predictions = answers(small(name))
        assert predictions.distributions is None and (predictions.points is not None) == dense
        assert predictions.points is not None and len(predictions.points) == predictions.boxes.shape[1] == 84
    with torch.device("meta"):
        yolov7, query = build("yolov7", 3), build("rtdetrv2-s", 3)
    for detector in (yolov7, query):
        assert detector.anchor_offset is None
    raw = {"logits": torch.zeros(1, 84, 3), "boxes": torch.full((1, 84, 4), 0.5)}
    assert decode_predictions(query, raw, SIZE).points is None  # 84 queries are no cells, although as many


@pytest.mark.parametrize("name", ["yolo26n", "dual"])
def test_a_head_with_two_branches_answers_from_the_one_that_is_asked(name: str) -> None:
    if name == "dual":
        arch = PUBLISHED["damo-yolo-ns"]
        assert arch.head is not None
        arch = dataclasses.replace(arch, head=dataclasses.replace(arch.head, one_to_one=True))
        detector = build_recipe(Recipe("damo-yolo-ns", 3, arch))
    else:
        detector = build(name, 3)
    raw = detector(torch.randn(1, 3, *SIZE))
    assert detector.branch == "one_to_one"
    many, single = decode_predictions(detector, raw, SIZE), decode_predictions(detector, raw, SIZE, "one_to_one")
    assert detector.branch == "one_to_one" and not torch.equal(many.scores, single.scores)
    torch.testing.assert_close(single.scores, detector.decode(raw, SIZE)[1])
    detector.choose_branch("one_to_many")
    torch.testing.assert_close(many.boxes, detector.decode(raw, SIZE)[0])
    if name == "dual":
        assert (
            many.distributions is not None
            and single.distributions is not None
            and not torch.equal(many.distributions, single.distributions)
        )
    detector.eval().fuse()
    fused = decode_predictions(detector, detector(torch.randn(1, 3, *SIZE)), SIZE)
    assert fused.boxes.shape == many.boxes.shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_answers_are_read_in_float32(dtype: torch.dtype) -> None:
    detector = small("yolo11n").eval()
    with torch.autocast("cpu", dtype), torch.no_grad():
        raw = detector(batches(1, images=1)[0].image / 255)
        assert raw["boxes"][0].dtype == dtype
        predictions = decode_predictions(detector, raw, SIZE)
    assert predictions.boxes.dtype == predictions.scores.dtype == torch.float32
    assert predictions.distributions is not None and predictions.distributions.dtype == torch.float32
    exact = decode_predictions(detector, {key: [m.float() for m in value] for key, value in raw.items()}, SIZE)
    assert torch.equal(predictions.boxes, exact.boxes) and torch.equal(predictions.scores, exact.scores)
    halved = decode_predictions(detector.to(dtype), raw, SIZE)  # a teacher whose weights are halves too
    torch.testing.assert_close(halved.boxes, exact.boxes, atol=2.0, rtol=0)


def test_classes_meet_by_name() -> None:
    mapping = ClassMapping.by_name(
        ["Dog", "traffic_light", "unicorn", "aeroplane"], ["airplane", "dog", "bus", "traffic light", "Dog"]
    )
    assert mapping.student_columns == (0, 1, 3) and mapping.teacher_columns == (4, 3, 0)
    assert mapping.student_unmatched == ("unicorn",) and mapping.teacher_unmatched == ("dog", "bus")
    scores = torch.arange(5.0)
    assert mapping.select_teacher(scores).tolist() == [4, 3, 0] and mapping.select_student(scores[:4]).tolist() == [
        0,
        1,
        3,
    ]
    same = ClassMapping.by_name(NAMES, NAMES)
    assert same.select_student(scores[:3]).data_ptr() == scores.data_ptr()
    with pytest.raises(BadInput, match="share no class: the student has 'cat', 'dog', 'cow', the teacher 'car', 'bus'"):
        ClassMapping.by_name(NAMES, ["car", "bus"])
    with pytest.raises(BadInput, match="'DOG' may be the teacher's 'dog' or 'Dog'"):
        ClassMapping.by_name(["DOG"], ["dog", "Dog"])
    with pytest.raises(BadInput, match="the teacher has scores of 4 classes: this mapping was made for 5"):
        mapping.select_teacher(scores[:4])


def test_what_the_teacher_does_not_know_is_not_taught() -> None:
    mapping = ClassMapping.by_name(["unicorn", *NAMES], NAMES)
    for name in ("scores", "overlap", "hungarian"):
        student = random_answer(0, classes=4)
        make_response_method(name, mapping)(student, random_answer(1)).backward()
        assert student.scores.grad is not None
        assert (student.scores.grad[..., 0] == 0).all() and (student.scores.grad[..., 1:] != 0).any()


@pytest.mark.parametrize("name", ["scores", "localisation", "boxes"])
def test_identical_answers_cost_nothing(name: str) -> None:
    student = random_answer(0)
    method = make_response_method(name, MAPPING)
    loss = method(student, student)
    assert abs(loss.item()) < 1e-6
    loss.backward()
    for value in (student.boxes, student.scores, student.distributions):
        assert value is not None and (value.grad is None or value.grad.abs().max() < 1e-5 or name == "boxes")
    assert method(student, random_answer(1)).item() > 1e-3


@pytest.mark.parametrize("name", ["overlap", "hungarian"])
def test_soft_targets_that_are_answered_cost_nothing(name: str) -> None:
    boxes = torch.tensor([[[0.0, 0, 20, 20], [30, 30, 60, 60], [22, 0, 28, 6]]])
    scores = torch.tensor([[[0.9, 0.1, 0.0], [0.0, 0.2, 0.7], [0.0, 0.0, 0.0]]])
    predictions = Predictions(boxes, scores, SIZE)
    method = make_response_method(name, MAPPING)
    assert method(predictions, predictions).item() == pytest.approx(0.0, abs=1e-6)
    assert method(dataclasses.replace(predictions, box_source=boxes + 2), predictions).item() > 0.01
    assert method(dataclasses.replace(predictions, scores=scores + 0.1), predictions).item() > 1e-3


def one_cell(
    scores: list[float], sides: list[float] | None = None, box: tuple[float, ...] = (0, 0, 8, 8)
) -> Predictions:
    """One image of 32 x 32 pixels with one cell of stride 32."""
    logits = None if sides is None else torch.tensor(sides).expand(1, 1, 4, len(sides))
    return Predictions(torch.tensor([[box]]).float(), torch.tensor([[scores]]), (32, 32), logits, (32,))


def test_scores_by_hand() -> None:
    mapping = ClassMapping.by_name(["a", "b"], ["a", "b"])
    student, teacher = one_cell([0.5, 0.2]), one_cell([0.8, 0.2])
    divergence = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    assert make_response_method("scores", mapping)(student, teacher).item() == pytest.approx(
        0.3**2 * divergence, rel=1e-4
    )
    many = (
        dataclasses.replace(x, box_source=x.boxes.expand(1, 4, 4), scores=x.scores.expand(1, 4, 2), size=(64, 64))
        for x in (student, teacher)
    )
    # four cells of 0.8: over 3.2 rather than 1
    assert make_response_method("scores", mapping)(*many).item() == pytest.approx(
        4 * 0.3**2 * divergence / 3.2, rel=1e-4
    )


def test_localisation_by_hand() -> None:
    mapping = ClassMapping.by_name(["a"], ["a"])
    student, teacher = one_cell([0.1], [0.0, 0.0]), one_cell([0.5], [0.0, 2 * math.log(3)])
    divergence = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    method = make_response_method("localisation", mapping, {"temperature": 2.0})
    assert method(student, teacher).item() == pytest.approx(0.5 * 4 * divergence, rel=1e-5)


def test_boxes_by_hand() -> None:
    mapping = ClassMapping.by_name(["a"], ["a"])
    student, teacher = one_cell([0.1], box=(0, 0, 8, 8)), one_cell([0.5], box=(0, 0, 16, 8))
    assert make_response_method("boxes", mapping)(student, teacher).item() == pytest.approx(0.5 * 0.5)


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0])
def test_gradient_of_scores_is_that_of_their_formula(beta: float) -> None:
    scores, goals = torch.rand(3, 5, dtype=torch.float64).requires_grad_(), torch.rand(3, 5, dtype=torch.float64)
    with torch.no_grad():
        goals[0, 0], goals[0, 1] = 0.0, 1.0
    assert torch.autograd.gradcheck(lambda x: soft_focal(x, goals, beta), scores)
    certain = torch.tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    soft_focal(certain, torch.tensor([0.0, 1.0, 1.0, 0.0]), beta).sum().backward()
    assert certain.grad is not None and certain.grad.isfinite().all() and certain.grad[:2].abs().sum() == 0


def test_boxes_that_no_method_wants_are_not_calculated() -> None:
    def refuse() -> torch.Tensor:
        raise AssertionError("nobody needs these boxes")

    student, teacher = random_answer(0, bins=8), random_answer(1, bins=8)
    for name in ("scores", "localisation"):
        assert make_response_method(name, MAPPING)(dataclasses.replace(student, box_source=refuse), teacher).isfinite()
    with pytest.raises(AssertionError, match="nobody"):
        make_response_method("boxes", MAPPING)(dataclasses.replace(student, box_source=refuse), teacher)


def test_soft_targets_by_hand() -> None:
    mapping = ClassMapping.by_name(["a", "b"], ["a", "b"])
    student = Predictions(
        torch.tensor([[[0.0, 0, 8, 8], [0, 0, 16, 8], [40, 40, 50, 50]]]),
        torch.tensor([[[0.5, 0.0], [0.4, 0.0], [0.0, 0.6]]]),
        SIZE,
    )
    teacher = Predictions(torch.tensor([[[0.0, 0, 16, 8]]]), torch.tensor([[[0.8, 0.0]]]), SIZE)
    # two predictions overlap the target by 1/2 and 1; the third is background. The first one's share of the alignment:
    share = (0.5**0.5 * 0.5**6) / 0.4**0.5
    near = soft_focal(torch.tensor([0.5, 0.4]), torch.tensor([0.8 * share, 0.8]), 2.0)
    background = 0.6**2 * -math.log(0.4)
    overlap = make_response_method("overlap", mapping)
    assert isinstance(overlap, Overlap)
    scores, boxes = overlap.parts(student, teacher)
    assert scores.item() == pytest.approx(near.sum().item() + background, rel=1e-4)
    assert boxes.item() == pytest.approx(0.8 * share * 0.5, rel=1e-5)
    assert overlap(student, teacher).item() == pytest.approx(scores.item() + 2 * boxes.item(), rel=1e-5)
    # the nearest alone answers, the other one overlaps too little to be left alone
    hungarian = make_response_method("hungarian", mapping)
    assert isinstance(hungarian, Hungarian)
    scores, boxes = hungarian.parts(student, teacher)
    second = soft_focal(torch.tensor([0.4]), torch.tensor([0.8]), 2.0).item()
    assert boxes.item() == pytest.approx(0.0, abs=1e-6)
    assert scores.item() == pytest.approx(second + 0.5**2 * -math.log(0.5) + background, rel=1e-4)
    wider = dataclasses.replace(student, box_source=torch.tensor([[[0.0, 0, 12, 8], [0, 0, 16, 8], [40, 40, 50, 50]]]))
    assert hungarian.parts(wider, teacher)[0].item() == pytest.approx(second + background, rel=1e-4)


def test_soft_targets_are_one_an_object_and_in_the_students_pixels() -> None:
    teacher = Predictions(
        torch.tensor([[[0.0, 0, 40, 20], [1, 0, 40, 20], [60, 60, 80, 80], [0, 60, 20, 80]]]),
        torch.tensor([[[0.6, 0.0, 0.0], [0.9, 0.0, 0.0], [0.01, 0.0, 0.0], [0.0, 0.3, 0.1]]]), (128, 64),
    )  # fmt: skip
    method = make_response_method("overlap", MAPPING)
    assert isinstance(method, Overlap)
    (found,) = method.soft_targets(teacher, (64, 64))
    assert found.boxes.tolist() == [[1, 0, 40, 10], [0, 30, 20, 40]]
    torch.testing.assert_close(found.scores, torch.tensor([[0.9, 0.0, 0.0], [0.0, 0.3, 0.1]]))
    (first,) = Overlap(MAPPING, most=1).soft_targets(teacher, (64, 64))
    assert len(first.boxes) == 1


@pytest.mark.parametrize(
    ("k", "bins", "shift"), [(17, 16, 0.5), (16, 17, -0.5), (16, 17, 0.0), (17, 8, 0.0), (8, 17, 0.25)]
)
def test_rebinning_keeps_the_expected_distance(k: int, bins: int, shift: float) -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 4, k)
    logits[..., 0] = logits[..., min(k, bins) - 1 :] = -40  # nothing at the ends, where distances are cut
    expected = (logits.softmax(-1) * torch.arange(k)).sum(-1) + shift * torch.tensor([-1.0, -1, 1, 1])
    new = rebin(logits, bins, shift).softmax(-1)
    assert new.shape == (3, 4, bins)
    torch.testing.assert_close((new * torch.arange(bins)).sum(-1), expected, atol=2e-3, rtol=1e-3)
    far = torch.full((1, 4, 17), -40.0)
    far[..., 12] = 40.0
    assert rebin(far, 8, 0.0).argmax(-1).unique().tolist() == [7]


def test_distributions_of_other_bins_and_anchors_mean_the_same_box() -> None:
    # one box, told from the cell's centre in 16 bins and from its corner in 17: [3.5, 2.5, 2.5, 3.5] and [3, 2, 3, 4]
    # cells
    from_centre, from_corner = torch.full((1, 1, 4, 16), -30.0), torch.full((1, 1, 4, 17), -30.0)
    for side, (centre, corner) in enumerate(zip((3.5, 2.5, 2.5, 3.5), (3, 2, 3, 4), strict=True)):
        from_centre[0, 0, side, [int(centre), int(centre) + 1]] = 30.0
        from_corner[0, 0, side, corner] = 30.0
    new = rebin(from_centre, 17, 0.5 - 0.0).softmax(-1)
    assert ((new * torch.arange(17)).sum(-1) - torch.tensor([3.0, 2, 3, 4])).abs().max() < 1e-3
    back = rebin(from_corner, 16, 0.0 - 0.5).softmax(-1)
    assert ((back * torch.arange(16)).sum(-1) - torch.tensor([3.5, 2.5, 2.5, 3.5])).abs().max() < 1e-3


PAIRS = [
    ("tiny", "damo-yolo-ns", ("scores", "localisation")),
    ("tiny", "yolo11n", ("scores", "localisation")),
    ("yolox-nano", "yolo26n", ("scores", "boxes")),
    ("tiny", "rtdetrv2-s", ("overlap",)),
    ("yolox-nano", "rtdetrv2-s", ("hungarian",)),
    ("rtdetrv2-s", "tiny", ("hungarian",)),
]


@pytest.mark.parametrize(("student", "teacher", "methods"), PAIRS)
def test_gradients_reach_the_student_and_not_the_teacher(student: str, teacher: str, methods: tuple[str, ...]) -> None:
    pupil, master = small(student), small(teacher)
    if methods != ("hungarian",) or student.startswith("rtdetr"):
        assert default_responses(Pair(pupil, master, True)) == methods
    for side in (PX, 96):
        names = methods if side == PX else default_responses(Pair(pupil, master, False))
        theirs = answers(master, (side, side))
        assert theirs.boxes.requires_grad
        for name in names:
            pupil.zero_grad()
            loss = make_response_method(name, MAPPING)(answers(pupil), theirs)
            assert loss.isfinite() and loss.item() > 0
            loss.backward()
            for part in (pupil.backbone, pupil.neck):
                grads = [p.grad for p in part.parameters() if p.grad is not None]
                assert grads and all(g.isfinite().all() for g in grads) and any((g != 0).any() for g in grads)
            assert all(p.grad is None for p in master.parameters())


@pytest.mark.parametrize("name", RESPONSE_METHODS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite(name: str, dtype: torch.dtype) -> None:
    detector = tiny_detector()
    raw = detector(batches(1, images=2)[0].image)
    # as far as float16 goes: scores of exactly 0 and 1
    halves = {key: [(m.detach() * 2000).to(dtype).requires_grad_() for m in value] for key, value in raw.items()}
    with torch.autocast("cpu", dtype):
        loss = make_response_method(name, MAPPING)(decode_predictions(detector, halves, SIZE), random_answer(1, bins=8))
    assert loss.dtype == torch.float32 and loss.isfinite()
    loss.backward()
    assert all(m.grad is None or m.grad.isfinite().all() for value in halves.values() for m in value)


@pytest.mark.parametrize("name", RESPONSE_METHODS)
def test_a_teacher_may_answer_in_inference_mode(name: str) -> None:
    method, student, teacher = make_response_method(name, MAPPING), random_answer(0), random_answer(1)
    expected = method(student, teacher).item()
    with torch.inference_mode():
        frozen = Predictions(
            teacher.boxes.clone(),
            teacher.scores.clone(),
            SIZE,
            None if teacher.distributions is None else teacher.distributions.clone(),
            teacher.strides,
        )
    loss = method(student, frozen)
    loss.backward()
    assert loss.item() == expected


@pytest.mark.parametrize("name", RESPONSE_METHODS)
def test_images_are_averaged_and_empty_answers_do_no_harm(name: str) -> None:
    method = make_response_method(name, MAPPING)

    def twice(predictions: Predictions) -> Predictions:
        sides = predictions.distributions
        assert sides is not None
        return dataclasses.replace(
            predictions,
            box_source=predictions.boxes.repeat(2, 1, 1),
            scores=predictions.scores.repeat(2, 1, 1),
            distributions=sides.repeat(2, 1, 1, 1),
        )

    student, teacher = random_answer(0), random_answer(1)
    torch.testing.assert_close(method(student, teacher), method(twice(student), twice(teacher)))
    silent = dataclasses.replace(teacher, scores=torch.zeros_like(teacher.scores))
    loss = method(student, silent)
    assert loss.isfinite() and loss.requires_grad
    loss.backward()


@pytest.mark.parametrize("name", ["overlap", "hungarian"])
@pytest.mark.parametrize("dense", [True, False])
def test_a_student_learns_boxes_and_classes_from_queries(name: str, dense: bool) -> None:
    teacher = Predictions(
        torch.tensor([[[8.0, 8, 30, 28], [36, 30, 60, 58], [0, 0, 1, 1]]]),
        torch.tensor([[[0.9, 0.05, 0], [0, 0.1, 0.8], [0, 0, 0.01]]]),
        SIZE,
    )
    torch.manual_seed(0)
    # the answers of a head, without the network before it
    with torch.device("meta"):
        detector = build("yolox-nano" if dense else "rtdetrv2-s", CLASSES)
    if dense:
        raw: dict[str, Any] = {
            key: [torch.randn(1, c, PX // s, PX // s) * 0.1 for s in (8, 16, 32)]
            for key, c in (("boxes", 4), ("objectness", 1), ("classes", 3))
        }
    else:
        raw = {"logits": torch.randn(1, 30, 3) - 3, "boxes": torch.rand(1, 30, 4) * 0.4 + 0.3}
    leaves: list[Tensor] = [
        m.requires_grad_() for value in raw.values() for m in (value if isinstance(value, list) else [value])
    ]
    rates = [0.05] * 9 if dense else [0.1, 0.02]
    optimizer = torch.optim.Adam([{"params": [leaf], "lr": rate} for leaf, rate in zip(leaves, rates, strict=True)])
    method = make_response_method(name, MAPPING)
    for _ in range(200):
        optimizer.zero_grad()
        method(decode_predictions(detector, raw, SIZE), teacher).backward()
        optimizer.step()
    found = decode_predictions(detector, raw, SIZE)
    for box, label, score in zip(teacher.boxes[0][:2], (0, 2), (0.9, 0.8), strict=True):
        best = found.scores[0, :, label].argmax()
        assert box_iou(found.boxes[0, best], box) > 0.85
        assert abs(found.scores[0, best, label].item() - score) < 0.15


def test_settings_and_pairs_are_checked() -> None:
    with pytest.raises(BadInput, match=r"unknown response distillation 'score'.*scores"):
        make_response_method("score", MAPPING)
    with pytest.raises(BadInput, match="boxes has no option 'beta'; it has none"):
        make_response_method("boxes", MAPPING, {"beta": 1.0})
    with pytest.raises(BadInput, match=r"beta 0\.5"):
        make_response_method("scores", MAPPING, {"beta": 0.5})
    with pytest.raises(BadInput, match="topk 0"):
        make_response_method("overlap", MAPPING, {"topk": 0})
    method = make_response_method("localisation", MAPPING)
    for other in (random_answer(1, bins=None), random_answer(1, dense=False), random_answer(1, size=(128, 128))):
        with pytest.raises(BadInput, match="take box distillation"):
            method(random_answer(0), other)
    one = dataclasses.replace(random_answer(1), box_source=torch.zeros(1, 84, 4), scores=torch.zeros(1, 84, 3))
    with pytest.raises(BadInput, match="for 2 images and the teacher for 1"):
        method(random_answer(0), one)


def truth_of(*images: list[list[float]]) -> Targets:
    boxes = tuple(torch.tensor(one).reshape(-1, 4) for one in images)
    return Targets(
        boxes, tuple(torch.zeros(len(one), dtype=torch.int64) for one in boxes), (torch.zeros(0, 4),) * len(boxes)
    )


def test_a_box_is_right_as_far_as_it_overlaps_a_true_one() -> None:
    boxes = torch.tensor([[[0.0, 0, 20, 20], [0, 0, 20, 10], [0, 0, 20, 8], [40, 40, 60, 60]]]).repeat(2, 1, 1)
    teacher = Predictions(boxes, torch.full((2, 4, 3), 0.5), SIZE)
    quality = teacher.with_quality(truth_of([[0, 0, 20, 20], [100, 100, 110, 110]], []), SIZE).quality
    assert quality is not None and quality.tolist() == [[1.0, 0.5, 0.0, 0.0], [0.0] * 4]
    # true boxes are in the student's pixels, and the teacher may look at another size
    quality = teacher.with_quality(truth_of([[0, 0, 40, 40]], []), (2 * PX, 2 * PX)).quality
    assert quality is not None and quality[0].tolist() == [1.0, 0.5, 0.0, 0.0]
    assert teacher.with_quality(truth_of([[0, 0, 20, 20]], []), SIZE).detached().quality is not None


@pytest.mark.parametrize("name", ["localisation", "boxes", "overlap", "hungarian"])
def test_nothing_is_learned_from_where_a_wrong_box_lies(name: str) -> None:
    student, teacher = random_answer(0), random_answer(1)
    teacher = dataclasses.replace(teacher, scores=torch.full_like(teacher.scores, 0.9))
    method = make_response_method(name, MAPPING, {"iou_threshold": 1.0} if name in ("overlap", "hungarian") else None)
    places = student.distributions if name == "localisation" else student.boxes
    assert places is not None

    def pull(targets: Targets | None) -> Tensor:
        said = teacher if targets is None else teacher.with_quality(targets, SIZE)
        found = method(student, said)
        return (
            torch.autograd.grad(found, places, allow_unused=True, retain_graph=True)[0]
            if found.requires_grad
            else torch.zeros_like(places)
        )

    if not places.requires_grad:
        places.requires_grad_()
    assert pull(None).abs().sum() > 0
    assert pull(truth_of([], [])).abs().sum() == 0
    some = truth_of(teacher.boxes[0, :20].tolist(), [])
    assert pull(some)[0].abs().sum() > 0 and pull(some)[1].abs().sum() == 0
