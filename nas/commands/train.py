"""Train a detector on your own data: a searched best.yaml, a model of the zoo, or a checkpoint to go on from.

The data may be COCO JSON, YOLO text folders or Pascal VOC (nas data show PATH tells what is read). Everything goes to
runs/NAME; the same command goes on where an interrupted run stopped, and ends with the same weights.

examples:
  nas data synth my-data --images 600
  nas train runs/search/best.yaml --data my-data
  nas train yolox-s --weights yolox_s.safetensors --data my-data --epochs 50
  nas train damo-yolo-t --data my-data --recipe damo-yolo --set lr=0.005 --batch 32 --device cuda
  nas train damo-yolo-t --data my-data --batch 32 --workers 4 --gpus-per-worker 1
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distill.request import TrainRequest
    from distill.teach.request import TeacherRequest

HELP = "train a detector on your data, resumable"
RESUMES = True
"""Whether the same command goes on after an interruption."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas train``."""
    parser.add_argument("model", metavar="MODEL", help="architecture YAML, run folder, model of the zoo, or checkpoint")
    parser.add_argument("--data", required=True, metavar="PATH", help="training data (with a val split, unless --val is given)")
    parser.add_argument("--val", metavar="PATH", help="validation data, when it is not beside the training data")
    parser.add_argument("--weights", metavar="FILE", help="checkpoint (.safetensors) to start from; what fits is taken over")
    parser.add_argument("--recipe", metavar="R", help="name of a recipe or a YAML file (default: small below 5,000 images, else the family's)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes", help="change one setting of the recipe; again for more")
    parser.add_argument("--epochs", type=int, metavar="N", help="epochs (default: the recipe's)")
    parser.add_argument("--batch", type=int, metavar="N", help="images a step (default: the recipe's)")
    parser.add_argument("--input", type=int, metavar="PX", help="input side in pixels (default: the model's own)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--precision", help="fp32, bf16 or fp16 (default: fp32 on the CPU, the recipe's on a GPU)")
    parser.add_argument("--data-workers", type=int, metavar="N", help="processes that read images, for each worker (default: tuned; with --workers its CPUs less one)")
    parser.add_argument("--workers", type=int, metavar="N", help="train in N processes of a local Ray, or of the cluster at --address (default: this process)")
    parser.add_argument("--gpus-per-worker", type=int, metavar="G", help="with --workers: 1 for a GPU each (default: 0, on CPUs)")
    parser.add_argument("--cpus-per-worker", type=int, metavar="C", help="with --workers: CPUs, and threads, of each (default: 1)")
    parser.add_argument("--address", metavar="A", help="with --workers: join the Ray cluster at auto or HOST:PORT; its nodes must see data and runs under the same paths")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order and augmentation (default: %(default)s)")
    parser.add_argument("--deterministic", action="store_true", help="same bits on a GPU too, slower")
    parser.add_argument("--name", help="name of the run (default: train-MODEL-DATA)")
    parser.add_argument("--runs", default="runs", metavar="DIR", help="folder of runs (default: %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="start over in a folder that holds an earlier training")
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Train, and say how good it got and where it lies."""
    return finish(request_of(args), args.json)


def request_of(args: argparse.Namespace, teaching: TeacherRequest | None = None) -> TrainRequest:
    """What the arguments ask for; ``nas distill`` adds what teaches."""
    from distill.request import TrainRequest
    from distill.train.parallel.worker_request import worker_request

    return TrainRequest(
        model=args.model, data=args.data, val=args.val, weights=args.weights, recipe=args.recipe, changes=tuple(args.changes),
        epochs=args.epochs, batch=args.batch, input_px=args.input, device=args.device, precision=args.precision, data_workers=args.data_workers,
        seed=args.seed, deterministic=args.deterministic, name=args.name, runs=args.runs, fresh=args.fresh, quiet=args.quiet or args.json,
        teaching=teaching, spread=worker_request(args.workers, args.gpus_per_worker, args.cpus_per_worker, args.address),
    )  # fmt: skip


def finish(request: TrainRequest, as_json: bool) -> int:
    """Train what ``request`` says, and print what came of it."""
    from distill.prepare import train_from

    outcome = train_from(request)
    if as_json:
        from workbench.console import print_json

        print_json({
            "folder": str(outcome.folder), "best": str(outcome.best), "last": str(outcome.last), "best_epoch": outcome.best_epoch,
            "val": outcome.verdict, "history": outcome.history, "notes": outcome.notes, "seconds": outcome.seconds,
        })  # fmt: skip
        return 0
    from workbench.console import table

    rows = [[name.upper().replace("_", " "), value] for name, value in outcome.verdict.items()]
    print(table([f"val, epoch {outcome.best_epoch}", "value"], rows))
    for note in outcome.notes:
        print(f"note: {note}")
    print(f"\nwritten to {outcome.folder}: best.safetensors, last.safetensors, resume.pt, TensorBoard events (nas board)")
    print(f"next: nas eval {outcome.best} --data {request.data}; nas export {outcome.best} --format onnx --verify {request.data}")
    return 0
