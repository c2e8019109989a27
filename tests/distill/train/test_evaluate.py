"""Evaluation: hand-worked cases, the data's own ids, and pycocotools on the written results."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pycocotools")
from PIL import Image

from distill.data.classes import ClassMap
from distill.data.dataset import DataSet, Picture
from distill.train.confusion import confusion_matrix
from distill.train.detect import DetectOptions, check_classes, coco_results, detect, read_results
from distill.train.evaluate import evaluate_detections
from tests.distill.tiny import tiny_detector
from workbench.errors import BadInput
from zoo.nms import Detections

CLASSES = ClassMap(("nut", "bolt", "washer"), (7, 90, 13))


def picture(
    number: int, boxes: list[list[float]], labels: list[int], crowd: list[bool] | None = None, file: Path | None = None
) -> Picture:
    corners = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    return Picture(
        number,
        file or Path(f"/data/{number}.png"),
        100,
        80,
        corners,
        np.array(labels, dtype=np.int64),
        np.array(crowd or [False] * len(labels), dtype=bool),
        (corners[:, 2:] - corners[:, :2]).prod(1),
    )


DATA = DataSet(
    Path("/data"),
    "val",
    CLASSES,
    (
        picture(11, [[10, 10, 50, 50], [60, 10, 90, 40]], [0, 1]),
        picture(5, [], []),
        picture(42, [[5, 5, 95, 75], [20, 20, 40, 40]], [2, 0], [True, False]),
    ),
)


def row(image: int, category: int, box: list[float], score: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


PERFECT = [row(11, 7, [10, 10, 40, 40], 0.9), row(11, 90, [60, 10, 30, 30], 0.8), row(42, 7, [20, 20, 20, 20], 0.7)]


def test_perfect_detections_have_ap_1_and_a_crowd_is_no_object() -> None:
    verdict = evaluate_detections(DATA, PERFECT)
    assert verdict.ap == pytest.approx(1.0) and verdict.summary["ap50"] == pytest.approx(1.0)
    assert verdict.per_class["nut"] == {"ap": pytest.approx(1.0), "ap50": pytest.approx(1.0), "objects": 2}
    assert verdict.per_class["bolt"]["objects"] == 1
    assert verdict.per_class["washer"] == {"ap": None, "ap50": None, "objects": 0}
    assert verdict.summary["ap_large"] is None
    inside_crowd = row(42, 13, [10, 10, 70, 60], 0.95)
    assert evaluate_detections(DATA, [*PERFECT, inside_crowd]).ap == pytest.approx(1.0)


def test_a_wrong_class_costs_its_class_alone() -> None:
    wrong = [PERFECT[0], {**PERFECT[1], "category_id": 7}, PERFECT[2]]
    verdict = evaluate_detections(DATA, wrong)
    assert verdict.per_class["bolt"]["ap"] == 0.0
    # Precision 1 up to recall 0.5, then 2/3 at recall 1 (a false alarm between the two finds): 101-point mean.
    assert verdict.per_class["nut"]["ap50"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_nothing_found_and_nothing_there() -> None:
    assert evaluate_detections(DATA, []).ap == 0.0
    assert evaluate_detections(DATA, []).summary["ap50"] == 0.0
    bare = DataSet(Path("/data"), "val", CLASSES, (picture(1, [], []),))
    assert evaluate_detections(bare, []).summary["ap"] is None


def test_confusion_by_hand() -> None:
    results = [
        *PERFECT[:1],
        {**PERFECT[1], "category_id": 13},
        row(5, 90, [1, 1, 20, 20], 0.9),
        row(42, 13, [5, 5, 90, 70], 0.9),
        row(11, 7, [10, 10, 40, 40], 0.5),
        row(11, 7, [0, 0, 5, 5], 0.1),
    ]
    table = confusion_matrix(DATA, results)
    expected = np.zeros((4, 4), dtype=int)
    expected[0, 0] = 1  # found
    expected[1, 2] = 1  # a bolt taken for a washer
    expected[3, 1] = 1  # on the empty picture
    expected[3, 0] = 1  # the second find of one nut; the one within the crowd does not count, nor does the faint one
    expected[0, 3] = 1  # the nut before the crowd was missed
    assert table.tolist() == expected.tolist()


def test_pycocotools_agrees_on_the_written_file(tmp_path: Path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    results = [*PERFECT[:2], row(42, 7, [24, 20, 20, 20], 0.6), row(5, 13, [0, 0, 30, 30], 0.4)]
    (tmp_path / "truth.json").write_text(json.dumps(DATA.to_coco()))
    (tmp_path / "found.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / "truth.json"))
        judged = COCOeval(truth, truth.loadRes(str(tmp_path / "found.json")), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    ours = evaluate_detections(DATA, read_results(tmp_path / "found.json", DATA))
    assert [v if v is not None else -1 for v in ours.summary.values()] == pytest.approx(judged.stats.tolist())


def test_a_crowded_picture_has_more_than_a_hundred_detections() -> None:
    """COCO's limit is 100 an image and category: what is handed over has the AP of all detections."""
    rng = np.random.default_rng(0)
    low = rng.integers(0, 60, (180, 2)).astype(float)
    boxes, labels = np.concatenate([low, low + 12], 1), np.arange(180) % 2
    data = DataSet(Path("/data"), "val", CLASSES, (picture(1, boxes.tolist(), labels.tolist()),))
    shaken = torch.from_numpy(np.concatenate([boxes, boxes + rng.integers(-3, 4, boxes.shape)])).float()
    scores, order = torch.from_numpy(rng.random(360)).float().sort(descending=True)
    found = Detections(shaken[order], scores, torch.from_numpy(np.tile(labels, 2))[order])
    everything = [
        row(1, CLASSES.original_ids[int(label)], [x1, y1, x2 - x1, y2 - y1], float(score))
        for (x1, y1, x2, y2), score, label in zip(found.boxes.tolist(), found.scores, found.labels, strict=True)
    ]
    handed = coco_results(found, data.pictures[0], data)
    assert len(handed) == 200
    assert evaluate_detections(data, handed).ap == pytest.approx(evaluate_detections(data, everything).ap, abs=1e-6)
    assert evaluate_detections(data, handed[:100]).ap < evaluate_detections(data, handed).ap - 0.05


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("{}", "must be a list"),
        ('[{"image_id": 1}]', "entry 0 must have"),
        ('[{"image_id": 99, "category_id": 7, "bbox": [0,0,1,1], "score": 1}]', "image_id 99"),
        ('[{"image_id": 5, "category_id": 1, "bbox": [0,0,1,1], "score": 1}]', "category_id 1 is not in the data"),
        ('[{"image_id": 5, "category_id": 7, "bbox": [0,0,1], "score": 1}]', "four numbers"),
        ('[{"image_id": 5, "category_id": 7, "bbox": [0,0,1,NaN], "score": 1}]', "NaN is not a number"),
    ],
)
def test_bad_results_are_one_line(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(BadInput) as error:
        read_results(tmp_path / "r.json", DATA)
    assert words in str(error.value) and "\n" not in str(error.value)


def real_data(folder: Path, count: int = 5) -> DataSet:
    random = np.random.default_rng(0)
    pictures = []
    for i in range(count):
        file = folder / f"{i}.png"
        Image.fromarray(random.integers(0, 255, (80, 100, 3), dtype=np.uint8)).save(file)
        pictures.append(picture(100 + i, [[10, 10, 50, 50]], [i % 3], file=file))
    return DataSet(folder, "val", CLASSES, tuple(pictures))


def test_the_answer_does_not_depend_on_batch_size_or_shards(tmp_path: Path) -> None:
    import dataclasses

    from zoo.nms import Selection

    data, detector = real_data(tmp_path), tiny_detector().eval()
    detector.info = dataclasses.replace(detector.info, class_names=CLASSES.names)
    every = Selection(0.0, 0.7, True, None, 50)
    one = detect(detector, data, DetectOptions(64, 1, selection=every, workers=0))
    three = detect(detector, data, DetectOptions(64, 3, selection=every, workers=0))
    assert len(one) > 50 and {r["category_id"] for r in one} <= set(CLASSES.original_ids)
    assert evaluate_detections(data, one).summary == evaluate_detections(data, three).summary
    parts = [
        r
        for k in range(2)
        for r in detect(detector, data, DetectOptions(64, 2, selection=every, shard=(k, 2), workers=0))
    ]
    assert evaluate_detections(data, parts).summary == evaluate_detections(data, one).summary
    assert sorted(r["image_id"] for r in parts) == sorted(r["image_id"] for r in one)


def test_another_class_map_is_refused_by_name(tmp_path: Path) -> None:
    detector = tiny_detector()
    with pytest.raises(BadInput, match="category 'nut' of the data \\(val\\) is unknown to the model"):
        check_classes(detector, DATA)
