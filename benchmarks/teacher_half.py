"""What half precision changes in what a teacher says, and how long it takes, beside single precision.

    python benchmarks/teacher_half.py --teacher runs/distillation-benchmark/teacher-damo-yolo-t/best.safetensors \\
        --data DATA --input 96
    python benchmarks/teacher_half.py --time damo-yolo-t damo-yolo-s yolo11s rtdetrv2-s --input 256 --batch 4

Both teachers are folded and see the same images, as they would in training. The first command evaluates AP on the split
val, and compares features, and scores and boxes where the teacher in single precision gives a score above 0.2. The
second takes the median time of passes in alternating turns, weights and images at random. Both print a Markdown
table.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

import torch
from torch import Tensor

from distill.data.formats.readers import open_pair
from distill.teach.outputs import TeacherOutputs
from distill.teach.teacher import Teacher
from distill.train.detect import coco_results
from distill.train.evaluate import evaluate_detections
from zoo.factory import build
from zoo.nms import Detections, select
from zoo.resolve import resolve_detector

SURE = 0.2


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--teacher", nargs="+", metavar="FILE", help="checkpoints, with --data")
    what.add_argument("--time", nargs="+", metavar="MODEL")
    parser.add_argument("--data")
    parser.add_argument("--input", type=int, required=True, help="side in pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=16)
    args = parser.parse_args()
    if args.teacher and not args.data:
        parser.error("--teacher needs --data: images to evaluate on")
    if args.time:
        print("| teacher | single, ms | half, ms |\n|---|---|---|")
        for model in args.time:
            print(
                f"| {model} | " + " | ".join(f"{1000 * seconds:.0f}" for seconds in times(model, args)) + " |",
                flush=True,
            )
        return
    print(
        "| teacher | images | AP in single | AP in half | features differ by | scores, mean and 95 % | box sides, "
        "px, mean and 95 % |"
    )
    print("|" + "---|" * 7)
    for file in args.teacher:
        print("| " + " | ".join(row(file, args)) + " |", flush=True)


def times(model: str, args: argparse.Namespace) -> list[float]:
    """Median seconds of a pass in single and in half precision."""
    torch.manual_seed(0)
    detector = build(model, 20)
    teachers = [Teacher(detector, detector, args.input, args.input, half) for half in (False, True)]
    image = torch.rand(args.batch, 3, args.input, args.input, device=args.device)
    taken: list[list[float]] = [[], []]
    for round_number in range(-2, args.rounds):
        for seconds, teacher in zip(taken, teachers, strict=True):
            began = time.perf_counter()
            teacher(image).features[0].cpu()
            if round_number >= 0:
                seconds.append(time.perf_counter() - began)
    return [median(seconds) for seconds in taken]


def row(file: str, args: argparse.Namespace) -> list[str]:
    """One of the table."""
    from distill.data.feed.evaluation_batches import evaluation_batches

    detector, _ = resolve_detector(file, 0)
    _, val = open_pair(args.data)
    whole, half = (Teacher(detector, detector, args.input, args.input, half) for half in (False, True))
    results: list[list[dict[str, Any]]] = [[], []]
    features, scores, boxes = [], [], []
    for batch in evaluation_batches(val, detector.preprocess, args.input, args.batch):
        both = [teacher(batch.image.to(args.device)) for teacher in (whole, half)]
        features.append(
            [float((a - b).norm() / a.norm()) for a, b in zip(both[0].features, both[1].features, strict=True)]
        )
        predictions = [outputs.predictions for outputs in both if outputs.predictions is not None]
        sure = predictions[0].scores.amax(-1) > SURE
        scores.append((predictions[0].scores[sure] - predictions[1].scores[sure]).abs().flatten())
        boxes.append((predictions[0].boxes[sure] - predictions[1].boxes[sure]).abs().flatten())
        for rows, teacher_outputs in zip(results, both, strict=True):
            for detections, placement, index in zip(
                selected(detector, teacher_outputs), batch.placements, batch.indices, strict=True
            ):
                placed = Detections(
                    placement.to_image(detections.boxes.cpu()), detections.scores.cpu(), detections.labels.cpu()
                )
                rows += coco_results(placed, val.pictures[index], val)
    aps = [f"{100 * evaluate_detections(val, rows).ap:.2f}" for rows in results]
    apart = ", ".join(f"{100 * sum(level) / len(level):.2f} %" for level in zip(*features, strict=True))
    return [
        detector.recipe.model,
        str(len(val)),
        *aps,
        apart,
        spread(torch.cat(scores), 4),
        spread(torch.cat(boxes), 3),
    ]


def selected(detector: Any, outputs: TeacherOutputs) -> list[Detections]:
    """The teacher's detections in each image, as its family selects them."""
    assert outputs.predictions is not None
    return select(outputs.predictions.boxes, outputs.predictions.scores, detector.selection)


def spread(x: Tensor, digits: int) -> str:
    """Mean and 95 % quantile."""
    return f"{float(x.mean()):.{digits}f}, {float(x.double().quantile(0.95)):.{digits}f}"


if __name__ == "__main__":
    main()
