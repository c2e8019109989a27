"""The options of ``nas search ... --then``, and what they ask for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from workbench.errors import BadInput

if TYPE_CHECKING:
    from nas.shortlist.run import ShortlistRequest

TRAIN, DISTILL = "train", "distill"
EPOCHS = 30
"""Of a brief training, unless told."""
TOP = 5


def add_options(parser: argparse.ArgumentParser) -> None:
    """All of them without a default, so that one given without --then can be told."""
    group = parser.add_argument_group("training the shortlist")
    add = group.add_argument
    add("--then", choices=(TRAIN, DISTILL), help="train the best of the front briefly by successive halving, alone or with a teacher, beside stock models")
    add("--data", metavar="PATH", help="training data (with a val split, unless --val is given)")
    add("--val", metavar="PATH", help="validation data, when it is not beside the training data")
    add("--top", type=int, metavar="N", help=f"so many of the front, spread over its dearer half (default {TOP})")
    add("--against", nargs="*", metavar="MODEL", help="stock models trained beside them (default: the nearest in cost; none after it: none)")
    add("--teacher", action="append", metavar="T", help="as in nas distill; again for several")
    add("--teacher-weights", action="append", metavar="FILE", help="as in nas distill")
    add("--epochs", type=int, metavar="N", help=f"of those that are trained to the end (default {EPOCHS})")
    add("--batch", type=int, metavar="N", help="images a step (default: the recipe's)")
    add("--recipe", metavar="R", help="as in nas train, for all of them")
    add("--set", action="append", metavar="KEY=VALUE", dest="changes", help="as in nas train, for all of them")
    add("--train-input", type=int, metavar="PX", help="input side in training (default: --input)")
    add("--train-device", metavar="D", help="cpu (default) or cuda")
    add("--train-data-workers", type=int, metavar="N", help="processes that read images (default: tuned)")


OPTIONS = ("data", "val", "top", "against", "teacher", "teacher_weights", "epochs", "batch", "recipe", "changes", "train_input", "train_device", "train_data_workers")


def wish_of(args: argparse.Namespace) -> ShortlistRequest | None:
    """What ``--then`` asks for; None where it is not given."""
    if args.then is None:
        for name in OPTIONS:
            if getattr(args, name) is not None:
                raise BadInput(f"--{'set' if name == 'changes' else name.replace('_', '-')} says how the shortlist is trained: add --then train or --then distill")
        return None
    from distill.request import TrainRequest
    from distill.teach.request import TeacherRequest
    from nas.shortlist.run import ShortlistRequest

    if args.data is None:
        raise BadInput(f"--then {args.then} needs --data PATH: what the shortlist is trained on (nas data synth makes a set)")
    if (args.teacher is not None) != (args.then == DISTILL):
        raise BadInput("--then distill needs --teacher T" if args.then == DISTILL else "--then train has no teacher: say --then distill")
    teaching = None if args.teacher is None else TeacherRequest(tuple(args.teacher), tuple(args.teacher_weights or ()))
    request = TrainRequest(
        model="", data=args.data, val=args.val, recipe=args.recipe, changes=tuple(args.changes or ()), epochs=EPOCHS if args.epochs is None else args.epochs,
        batch=args.batch, input_px=args.train_input or args.input, device=args.train_device or "cpu", data_workers=args.train_data_workers, seed=args.seed,
        quiet=args.quiet or args.json, teaching=teaching,
    )  # fmt: skip
    return ShortlistRequest(request, TOP if args.top is None else args.top, None if args.against is None else tuple(args.against))
