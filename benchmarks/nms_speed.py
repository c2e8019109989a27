"""Time of suppression against the plain loop over boxes, and of the whole selection.

    python benchmarks/nms_speed.py                 # 300, 3,000 and 30,000 candidates
    python benchmarks/nms_speed.py --device cuda --repeats 20

The plain loop takes the best box left, keeps it and drops what it overlaps, with one vector operation a box. Both
sides run in turn in one process and must keep the same boxes. Prints a Markdown table; each time is the least of the
repeats.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zoo.nms import Selection, iou_matrix, nms, select

SIDE_PX = 640
BOXES_PER_OBJECT = 20
SLOW_S = 5.0
"""What has taken so long is not repeated beyond the second time."""
EVALUATION = Selection(
    score_threshold=0.001, iou_threshold=0.65, multi_label=True, max_candidates=30_000, max_detections=300
)


def plain_loop(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float, max_kept: int | None
) -> Tensor:
    """What every framework's fallback does: one box after another."""
    left = torch.sort(scores, descending=True, stable=True).indices
    kept: list[Tensor] = []
    while len(left) and (max_kept is None or len(kept) < max_kept):
        best, left = left[0], left[1:]
        kept.append(best)
        over = iou_matrix(boxes[best][None], boxes[left])[0] > iou_threshold
        if labels is not None:
            over &= labels[left] == labels[best]
        left = left[~over]
    return torch.stack(kept)


def scene(count: int, classes: int, crowded: bool, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """``count`` boxes with scores and labels: spread at random, or crowded about objects as a detector's are."""
    random = torch.Generator().manual_seed(seed)
    objects = max(count // BOXES_PER_OBJECT, 1) if crowded else count
    centre = torch.rand(objects, 2, generator=random) * SIDE_PX
    size = 10 + torch.rand(objects, 2, generator=random) ** 2 * SIDE_PX / 3
    label = torch.randint(classes, (objects,), generator=random)
    owner = torch.randint(objects, (count,), generator=random) if crowded else torch.arange(count)
    noise = (
        torch.randn(count, 4, generator=random) * 0.1 * size[owner].repeat(1, 2) if crowded else torch.zeros(count, 4)
    )
    boxes = torch.cat([centre - size / 2, centre + size / 2], 1)[owner] + noise
    return boxes, torch.rand(count, generator=random), label[owner]


def timed(calls: list[Callable[[], Any]], repeats: int, device: str) -> list[float]:
    """Least seconds of each call; the calls take turns, so that a busy machine slows all of them."""
    least = [math.inf] * len(calls)
    first = time.perf_counter()
    for turn in range(repeats):
        for at, call in enumerate(calls):
            began = time.perf_counter()
            call()
            if device == "cuda":
                torch.cuda.synchronize()
            least[at] = min(least[at], time.perf_counter() - began)
        if turn and time.perf_counter() - first > SLOW_S:
            break
    return least


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[300, 3_000, 30_000], help="candidate boxes")
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--iou", type=float, default=0.65)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="CPU threads; torch's own choice without it")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    print(
        f"torch {torch.__version__}, {args.device}, {torch.get_num_threads()} thread(s), seed {args.seed}, IoU "
        f"{args.iou}\n"
    )
    print("| candidates | boxes | classes | at most | kept | plain loop, ms | nms, ms | faster by |")
    print("|---|---|---|---|---|---|---|---|")
    for count in args.counts:
        for crowded in (True, False):
            for classes in (args.classes, None):
                for most in (None, 300):
                    boxes, scores, labels = scene(count, args.classes, crowded, args.seed)
                    given = (boxes.to(args.device), scores.to(args.device), labels.to(args.device) if classes else None)
                    kept = nms(*given, args.iou, most)
                    if not torch.equal(kept, plain_loop(*given, args.iou, most)):
                        raise SystemExit(f"{count} boxes: the two keep different boxes")
                    loop, ours = timed(
                        [lambda: plain_loop(*given, args.iou, most), lambda: nms(*given, args.iou, most)],  # noqa: B023
                        args.repeats, args.device,
                    )  # fmt: skip
                    print(
                        f"| {count:,} | {'crowded' if crowded else 'spread'} | {classes or 'ignored'} | "
                        f"{most or 'all'} | {len(kept):,} | "
                        f"{1e3 * loop:.1f} | {1e3 * ours:.2f} | {loop / ours:.1f} × |",
                        flush=True,
                    )
    print("\n| whole selection of one image | ms |\n|---|---|")
    random = torch.Generator().manual_seed(args.seed)
    boxes, _, labels = scene(8400, args.classes, True, args.seed)
    # a trained detector's scores: nearly all of them far below the threshold
    scores = torch.sigmoid(torch.randn(8400, args.classes, generator=random) * 2 - 9)
    scores[torch.arange(8400), labels] = torch.rand(8400, generator=random) ** 4
    image = boxes[None].to(args.device), scores[None].to(args.device)
    ranked = Selection(0.0, None, True, None, 300)
    seconds = timed([lambda: select(*image, EVALUATION), lambda: select(*image, ranked)], args.repeats, args.device)
    above = int((scores > EVALUATION.score_threshold).sum())
    print(
        f"| 8,400 boxes, {args.classes} classes, {above:,} candidates, best 300 after suppression | "
        f"{1e3 * seconds[0]:.2f} |"
    )
    print(f"| the same, best 300 without suppression | {1e3 * seconds[1]:.2f} |")


if __name__ == "__main__":
    main()
