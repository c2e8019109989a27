"""The options of ``nas bench-scores --train``, and what they ask for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import BadInput

if TYPE_CHECKING:
    from nas.evidence.train import EvidenceRequest

COUNT = 24
SPACES = ("res", "csp", "mob")
SHRINK, DEVICE, INPUT_PX = 4, "raspberry-pi-4", 96
"""On a T4 networks as small as these take as long as their number of kernels says; on a small CPU their sizes count."""
IMAGES, EPOCHS, BATCH = 2000, 3, 8
"""Of the easy synthetic set, a fifth of it to validate, and of a brief training: few epochs of many pictures, since every epoch ends with an evaluation."""
RECIPE, CHANGES = "small", ("optimizer=muon", "lr=0.02", "momentum=0.95", "nominal_batch=8", "warmup_epochs=0.1", "closing_epochs=0", "ema_updates=150")
"""What the recipe has is made for a hundred epochs; in a few hundred steps it leads nowhere."""
DEFAULTS: dict[str, Any] = {"recipe": RECIPE, "epochs": EPOCHS, "batch": BATCH, "spaces": SPACES, "shrink": SHRINK, "latency_of": DEVICE, "input": INPUT_PX, "images": IMAGES, "seeds": 1, "train_device": "cpu"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """All of them without a default, so that one given without --train can be told."""
    group = parser.add_argument_group("training the detectors first")
    add = group.add_argument
    add("--train", type=int, nargs="?", const=COUNT, metavar="N", help=f"draw N architectures of equal predicted latency (default {COUNT}), train each briefly, and leave them in --data; the same command goes on")
    add("--seeds", type=int, metavar="N", help="trainings of each architecture; two or more tell how noisy one is (default 1)")
    add("--repeat", type=int, metavar="N", help="only the first N architectures are trained more than once (default: all)")
    add("--space", nargs="+", dest="spaces", metavar="S", help=f"spaces that take turns (default {' '.join(SPACES)})")
    add("--shrink", type=int, metavar="N", help=f"divide the spaces' channels by N; the neck keeps one layer (default {SHRINK})")
    add("--device", dest="latency_of", metavar="D", help=f"profile that predicts the latency (default {DEVICE})")
    add("--budget", metavar="B", help="a narrow band instead of the one the spaces have most of in common, for instance 61..62ms")
    add("--input", type=int, metavar="PX", help=f"input side in pixels (default {INPUT_PX})")
    add("--pictures", metavar="PATH", help="data to train on, with a val split (default: an easy synthetic set)")
    add("--images", type=int, metavar="N", help=f"pictures of the easy synthetic set, every fifth for validation (default {IMAGES})")
    add("--epochs", type=int, metavar="N", help=f"of every training (default {EPOCHS})")
    add("--batch", type=int, metavar="N", help=f"images a step (default {BATCH})")
    add("--recipe", metavar="R", help=f"as in nas train, for all of them (default {RECIPE} with {', '.join(CHANGES)})")
    add("--set", action="append", metavar="KEY=VALUE", dest="changes", help="as in nas train, for all of them")
    add("--train-device", metavar="D", help="cpu (default) or cuda")
    add("--fresh", action="store_true", default=None, help="start over in a folder that holds other trainings of ours")


OPTIONS = (*DEFAULTS, "budget", "pictures", "changes", "fresh", "repeat")
WORDS = {"changes": "set", "spaces": "space", "latency_of": "device"}
"""Options whose name on the command line is another."""


def wish_of(args: argparse.Namespace) -> EvidenceRequest | None:
    """What ``--train`` asks for; None where it is not given."""
    if args.train is None:
        for name in OPTIONS:
            if getattr(args, name) is not None:
                raise BadInput(f"--{WORDS.get(name, name).replace('_', '-')} says how detectors are trained: add --train")
        return None
    from distill.request import TrainRequest
    from nas.evidence.train import EvidenceRequest

    if args.pictures is not None and args.images is not None:
        raise BadInput(f"--images {args.images} is of the synthetic set: leave it out, or --pictures")
    given = {name: default if getattr(args, name) is None else getattr(args, name) for name, default in DEFAULTS.items()}
    changes = (*(CHANGES if args.recipe is None else ()), *(args.changes or ()))
    request = TrainRequest(
        model="", data=args.pictures or "", recipe=given["recipe"], changes=changes, epochs=given["epochs"], batch=given["batch"], device=given["train_device"],
        data_workers=0, seed=args.seed, fresh=bool(args.fresh),
    )  # fmt: skip
    return EvidenceRequest(
        Path(args.data), args.train, given["seeds"], args.repeat, tuple(given["spaces"]), given["shrink"], given["latency_of"], args.budget, given["input"], given["images"],
        request, args.jobs,
    )  # fmt: skip
