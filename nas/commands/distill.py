"""Train a student with a teacher: any trained detector, of any family, at any input size.

The student learns from your data as in nas train, and also from the teacher's features and outputs on every image.
Everything nas train can do (resume, recipes, curves) works here. The student keeps nothing of the teacher but its name,
the hash of its weights and its licence (nas zoo show).

With --control the student is trained with and without the teacher, --seeds times each, at the same epochs, and the gain
is printed with its 95 % confidence interval. Several teachers form an ensemble; --chain puts smaller models between
teacher and student.

examples:
  nas distill damo-yolo-t --teacher damo-yolo-l.safetensors --data my-data --control --seeds 3
  nas distill damo-yolo-t --teacher damo-yolo-l.safetensors --chain damo-yolo-m,damo-yolo-s --data my-data
  nas distill yolox-s --teacher yolox-l.safetensors --teacher rtdetrv2-x.safetensors --data my-data
  nas distill runs/search/best.yaml --teacher rtdetrv2-x --teacher-weights rtdetrv2-x.safetensors --data my-data
  nas distill yolox-s --teacher damo-yolo-l.safetensors --data my-data --features cwd --responses overlap
  nas distill yolox-s --teacher damo-yolo-l.safetensors --data my-data --cache-views 8 --cache-gb 50
  nas distill yolox-s --teacher damo-yolo-l.safetensors --data my-data --workers 16 --gpus-per-worker 1 --address auto
"""

from __future__ import annotations

import argparse

from nas.commands import options
from nas.commands import train as training

HELP = "train a student with a teacher of any family"
RESUMES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas distill``: those of ``nas train``, and the teacher's."""
    training.add_arguments(parser)
    add = parser.add_argument
    options.add_teacher_options(add, required=True)
    add("--chain", metavar="M,M", help="models between teacher and student, largest first, each taught by the last")
    add("--control", action="store_true", help="train with and without the teacher, and print the gain")
    add("--seeds", type=int, metavar="N", help="with --control: number of seeds from --seed on (default: 3)")
    add("--stop-when-harmful", action="store_true", help="with --control: stop once the teacher is known to do harm")
    options.add_input_option(add, text="the student's", name="--teacher-input")
    add(
        "--teacher-half", action=argparse.BooleanOptionalAction,
        help="run the teacher in half precision (default: if the student is, and on CPUs with bfloat16 matrix units)",
    )  # fmt: skip
    add("--features", nargs="*", default=["cwd"], metavar="M",
        help="feature methods, such as cwd (the default) or mgd; an unknown name lists all; nothing: none")  # fmt: skip
    add("--responses", nargs="*", metavar="M", help="response methods, such as scores or overlap; an unknown name "
        "lists all (default: what suits the pair)")  # fmt: skip
    add("--share", type=float, metavar="S", help="share of the gradient norm for the teacher's losses (default: 0.3)")
    add("--cache-views", type=int, metavar="V", help="repeat V augmented views of each image; the teacher sees each "
        "once (as --set views=V; default: the recipe's, 0)")  # fmt: skip
    add("--cache", metavar="DIR",
        help="folder for the teacher's outputs, shared by runs (default: with the run, until it ends)")  # fmt: skip
    add("--cache-gb", type=float, metavar="G", help="disk space for these outputs; 0 keeps none (default: 20)")


def run(args: argparse.Namespace) -> int:
    """Distil, and print AP and files, or the gain over the control."""
    from nas.api.distill import distill
    from workbench.console import print_json

    args.quiet = args.quiet or args.json
    result = distill(**options.api_options(args))
    if not args.control:
        return training.show(result, args)  # type: ignore[arg-type]
    if args.json:
        print_json(result.to_dict())
    else:
        print(result)
    return 0
