"""Train a student with a teacher: any detector that is trained already, of any family, at any input size.

The student learns from your data as in nas train, and besides from what the teacher says of every picture: its features and
its answers. Everything nas train can do (resume, recipes, curves) works here. The teacher leaves no trace in the student but
its name, its weights' hash and its licence (nas zoo show).

With --control the student is trained with and without the teacher, --seeds times each, at the same epochs, and the gain is printed
with its 95 % confidence interval. Several teachers teach together; --chain puts smaller ones between teacher and student.

examples:
  nas distill damo-yolo-t --teacher damo-yolo-l.safetensors --data my-data --control --seeds 3
  nas distill damo-yolo-t --teacher damo-yolo-l.safetensors --chain damo-yolo-m,damo-yolo-s --data my-data
  nas distill yolox-s --teacher yolox-l.safetensors --teacher rtdetrv2-x.safetensors --data my-data
  nas distill runs/search/best.yaml --teacher rtdetrv2-x --teacher-weights rtdetrv2-x.safetensors --data my-data
  nas distill yolox-s --teacher runs/train-damo-yolo-l-my-data/best.safetensors --data my-data --features cwd --responses overlap
  nas distill yolox-s --teacher damo-yolo-l.safetensors --data my-data --cache-views 8 --cache-gb 50
  nas distill yolox-s --teacher damo-yolo-l.safetensors --data my-data --batch 64 --workers 16 --gpus-per-worker 1 --address auto
"""

from __future__ import annotations

import argparse

from nas.commands import train as training

HELP = "train a student with a teacher of any family"
RESUMES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas distill``: those of ``nas train``, and the teacher's."""
    training.add_arguments(parser)
    parser.add_argument(
        "--teacher", required=True, action="append", metavar="T",
        help="checkpoint (.safetensors), a model's name with --teacher-weights, or self (the student's own average); again for an ensemble",
    )  # fmt: skip
    parser.add_argument("--teacher-weights", action="append", default=[], metavar="FILE", help="checkpoint of the teacher; again for each that needs one, in their order")
    parser.add_argument("--chain", metavar="M,M", help="models between teacher and student, largest first: each is taught by the one before it")
    parser.add_argument("--control", action="store_true", help="train with and without the teacher, and print the gain with its confidence interval")
    parser.add_argument("--seeds", type=int, metavar="N", help="with --control: so many seeds from --seed on (default: 3)")
    parser.add_argument("--stop-when-harmful", action="store_true", help="with --control: end it once the teacher is known to do harm")
    parser.add_argument("--teacher-input", type=int, metavar="PX", help="side at which the teacher looks (default: the student's)")
    parser.add_argument(
        "--teacher-half", action=argparse.BooleanOptionalAction,
        help="run the teacher in half precision (default: where the student trains in it, and on CPUs that multiply matrices of bfloat16)",
    )  # fmt: skip
    parser.add_argument("--features", nargs="*", default=["cwd"], metavar="M", help="feature methods, such as cwd (the default) or mgd; an unknown name lists all; nothing after it means none")
    parser.add_argument("--responses", nargs="*", metavar="M", help="response methods, such as scores or overlap; an unknown name lists all (default: what suits the pair)")
    parser.add_argument("--share", type=float, metavar="S", help="share of the student's own gradient that the teacher's losses have together (default: 0.3)")
    parser.add_argument(
        "--cache-views", type=int, metavar="V",
        help="show every picture in V augmented views that come round again, and ask the teacher once for each (as --set views=V; default: the recipe's, 0)",
    )  # fmt: skip
    parser.add_argument("--cache", metavar="DIR", help="folder where the teacher's answers stay, for other runs too (default: with the run, until it is done)")
    parser.add_argument("--cache-gb", type=float, metavar="G", help="what these answers may take on the disk; 0 keeps none (default: 20)")


def run(args: argparse.Namespace) -> int:
    """Distil, and say how good the student got."""
    from distill.teach.request import TeacherRequest
    from workbench.errors import BadInput

    if not args.control and (args.seeds is not None or args.stop_when_harmful):
        raise BadInput("--seeds and --stop-when-harmful belong to --control: add it")
    if args.stop_when_harmful and args.workers is not None:
        raise BadInput("--stop-when-harmful looks into a run from its own process: leave it out, or leave out --workers")

    if args.cache_views is not None:
        args.changes.append(f"views={args.cache_views}")
    teaching = TeacherRequest(
        tuple(args.teacher), tuple(args.teacher_weights), args.teacher_input, tuple(args.features), None if args.responses is None else tuple(args.responses), args.share,
        args.teacher_half, args.cache, args.cache_gb,
    )  # fmt: skip
    request = training.request_of(args, teaching)
    if args.chain is not None:
        from distill.study.chain import parse_chain, train_chain

        request, _ = train_chain(request, parse_chain(args.chain))
    if not args.control:
        return training.finish(request, args.json)
    from distill.study.control import DEFAULT_SEEDS, control
    from workbench.console import print_json

    found = control(request, DEFAULT_SEEDS if args.seeds is None else args.seeds, args.stop_when_harmful)
    if args.json:
        print_json(found.to_dict())
    else:
        print(found)
    return 0
