"""How well a checkpoint detects: COCO's AP on your data, by class, with the confusion matrix.

Writes detections in COCO's result form with --out, for pycocotools and evaluation servers. The answer does not depend on the
batch size. --shard K/N does every N-th image from the K-th on; the parts' files are joined by giving them back with --results.

examples:
  nas eval runs/train-best-my-data/best.safetensors --data my-data
  nas eval best.safetensors --data my-data --out results.json --per-class --confusion
  nas eval best.safetensors --data big --shard 0/4 --out part0.json
  nas eval best.safetensors --data big --results part0.json part1.json part2.json part3.json
"""

from __future__ import annotations

import argparse
from typing import Any

HELP = "measure a checkpoint's AP on your data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas eval``."""
    parser.add_argument("model", metavar="MODEL", help="checkpoint (.safetensors)")
    parser.add_argument("--data", required=True, metavar="PATH", help="data to judge on")
    parser.add_argument("--split", default="val", help="split of the data (default: %(default)s)")
    parser.add_argument("--input", type=int, metavar="PX", help="input side in pixels (default: the checkpoint's)")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="images a run (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--data-workers", type=int, metavar="N", help="processes that read images (default: tuned)")
    parser.add_argument("--shard", default="0/1", metavar="K/N", help="only every N-th image from the K-th on; detects and judges nothing else")
    parser.add_argument("--results", nargs="+", metavar="FILE", help="judge these result files instead of detecting")
    parser.add_argument("--out", metavar="FILE", help="write detections in COCO's result form")
    parser.add_argument("--per-class", action="store_true", help="print AP of every class")
    parser.add_argument("--confusion", action="store_true", help="print the confusion matrix")
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Detect, judge, print."""
    import json
    import time
    from pathlib import Path

    from workbench.console import Progress, print_json
    from workbench.errors import BadInput, missing_package
    from workbench.files import write_atomic

    try:
        from distill.data.formats.readers import open_data
        from distill.prepare import check_device
        from distill.train.evaluate import detect, evaluate_detections, read_results
        from zoo.resolve import resolve_detector
    except ModuleNotFoundError as error:
        raise missing_package("evaluating", error.name, "train") from error
    check_device(args.device)
    if args.batch < 1:
        raise BadInput(f"--batch {args.batch} must be at least 1")
    shard = _shard(args.shard)
    data = open_data(args.data, args.split)
    progress = Progress(args.quiet or args.json)
    began = time.perf_counter()
    if args.results:
        results = [one for file in args.results for one in read_results(file, data)]
    else:
        detector, trained = resolve_detector(args.model)
        if not trained:
            raise BadInput(f"{args.model!r} has no trained weights: train it first (nas train), or give a checkpoint")
        results = detect(
            detector, data, input_px=args.input, batch=args.batch, device=args.device, shard=shard, workers=args.data_workers, log=progress.show
        )
        progress.done()
    seconds = time.perf_counter() - began
    if args.out:
        write_atomic(Path(args.out), json.dumps(results))
    if shard[1] > 1:
        print(f"{len(results)} detections on part {shard[0]} of {shard[1]}" + (f", written to {args.out}" if args.out else ""))
        return 0
    verdict = evaluate_detections(data, results)
    if args.json:
        print_json({**verdict.to_dict(), "detections": len(results), "seconds": seconds, "out": args.out})
        return 0
    _print(verdict, data.classes.names, args)
    per_image = 1000 * seconds / max(len(data), 1)
    if not args.results:
        print(f"\n{len(data)} images, {len(results)} detections, {per_image:.1f} ms an image with reading and selection")
    if args.out:
        print(f"wrote {args.out}")
    return 0


def _shard(text: str) -> tuple[int, int]:
    from workbench.errors import BadInput

    first, slash, second = text.partition("/")
    if not slash or not first.isdigit() or not second.isdigit() or int(second) < 1 or int(first) >= int(second):
        raise BadInput(f"--shard {text!r} must be K/N with K from 0 to N - 1, for instance 0/4")
    return int(first), int(second)


def _print(verdict: Any, names: tuple[str, ...], args: argparse.Namespace) -> None:
    from workbench.console import table

    rows = [[name.upper().replace("_", " "), value] for name, value in verdict.summary.items()]
    print(table(["", "value"], rows))
    if args.per_class:
        print("\n" + table(["class", "AP", "AP50", "objects"], [[name, v["ap"], v["ap50"], v["objects"]] for name, v in verdict.per_class.items()]))
    if args.confusion:
        labels = [*names, "nothing"]
        print("\ntrue class by found class (last column: missed; last row: found where nothing is)")
        print(table(["", *labels], [[label, *map(int, row)] for label, row in zip(labels, verdict.confusion, strict=True)]))
