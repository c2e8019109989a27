"""The options of ``nas bench-scores --train``, and the request that they make."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from nas.commands import options
from nas.evidence.own.request import (
    BATCH,
    CHANGES,
    COUNT,
    DEVICE,
    EPOCHS,
    IMAGES,
    INPUT_PX,
    RECIPE,
    SHRINK,
    SPACES,
    EvidenceRequest,
    default_training,
)
from workbench.errors import BadInput

TRAINING = options.TrainingDefaults(
    unset=True, of=" of every training", epochs=str(EPOCHS), batch=str(BATCH),
    recipe=f"{RECIPE} with {', '.join(CHANGES)}",
)  # fmt: skip
OPTIONS = (
    "recipe", "epochs", "batch", "spaces", "shrink", "latency_of", "input", "images", "seeds", "train_device", "budget",
    "pictures", "changes", "fresh", "repeat", "design",
)  # fmt: skip
ALL = -1
"""Value of ``--train`` without a number."""
SAMPLED = ("spaces", "shrink", "budget")
"""Options of sampled architectures, which a design does not take."""
FLAGS = {"changes": "set", "spaces": "space", "latency_of": "device"}
"""Options whose name on the command line differs."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """All without a default, so that one given without ``--train`` can be refused."""
    group = parser.add_argument_group("training the detectors first")
    add = group.add_argument
    add(
        "--train", type=int, nargs="?", const=ALL, metavar="N",
        help=f"sample N architectures of equal predicted latency (default {COUNT}, or the design's number), train each "
        "briefly, and leave them in --data; the same command resumes",
    )  # fmt: skip
    add(
        "--design", metavar="D",
        help="train the first N architectures of a design instead: a name that ships (levels), or a YAML file that "
        "lists factors or architectures",
    )  # fmt: skip
    add("--seeds", type=int, metavar="N", help="trainings of each architecture; two or more show the noise (default 1)")
    add("--repeat", type=int, metavar="N", help="train only the first N architectures more than once (default: all)")
    add("--space", nargs="+", dest="spaces", metavar="S", help=f"spaces that take turns (default {' '.join(SPACES)})")
    add("--shrink", type=int, metavar="N", help=f"divide channels by N, with one neck layer (default {SHRINK})")
    add("--device", dest="latency_of", metavar="D", help=f"profile that predicts the latency (default {DEVICE})")
    add(
        "--budget", metavar="B",
        help="a narrow band instead of the one in which the spaces overlap most, for instance 61..62ms",
    )  # fmt: skip
    add(
        "--input", type=int, metavar="PX",
        help=f"input side in pixels of architectures without their own (default {INPUT_PX})",
    )  # fmt: skip
    add("--pictures", metavar="PATH", help="training data with a val split (default: an easy synthetic dataset)")
    add("--images", type=int, metavar="N", help=f"images of the easy dataset, every fifth for val (default {IMAGES})")
    options.add_training_options(add, TRAINING)
    options.add_recipe_option(add, TRAINING)
    options.add_device_option(add, dataclasses.replace(TRAINING, prefix="train"))
    add("--fresh", action="store_true", default=None, help="start over in a folder that holds other trainings of ours")


def evidence_request(args: argparse.Namespace) -> EvidenceRequest | None:
    """What ``--train`` asks for; None without it."""
    if args.train is None:
        for name in OPTIONS:
            if getattr(args, name) is not None:
                flag = FLAGS.get(name, name).replace("_", "-")
                raise BadInput(f"--{flag} says how detectors are trained: add --train")
        return None
    if args.pictures is not None and args.images is not None:
        raise BadInput(f"--images {args.images} is of the synthetic dataset: leave it out, or --pictures")
    if args.design is not None:
        for name in SAMPLED:
            if getattr(args, name) is not None:
                raise BadInput(f"--{FLAGS.get(name, name)} is of sampled architectures: leave it out, or --design")
    changes = (*(CHANGES if args.recipe is None else ()), *(args.changes or ()))
    training: dict[str, Any] = {
        "data": args.pictures, "recipe": args.recipe, "epochs": args.epochs, "batch": args.batch,
        "device": args.train_device,
    }  # fmt: skip
    request: dict[str, Any] = {
        "seeds": args.seeds, "shrink": args.shrink, "device": args.latency_of, "input_px": args.input,
        "images": args.images, "spaces": None if args.spaces is None else tuple(args.spaces),
    }  # fmt: skip
    return EvidenceRequest(
        folder=Path(args.data[0]),
        training=dataclasses.replace(
            default_training(args.seed), changes=changes, fresh=bool(args.fresh), **_given(training)
        ),
        count=_count(args),
        design=args.design,
        repeat=args.repeat,
        budget=args.budget,
        jobs=args.jobs,
        **_given(request),
    )


def _count(args: argparse.Namespace) -> int:
    """The number of architectures; without one, the design's or the default."""
    if args.train != ALL:
        return int(args.train)
    if args.design is None:
        return COUNT
    from nas.evidence.own.design_file import load_design

    return load_design(args.design).count


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Options that were given; the others keep the request's defaults."""
    return {name: value for name, value in options.items() if value is not None}
