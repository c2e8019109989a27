"""Train a student with a teacher: any detector that is trained already, of any family, at any input size.

The student learns from your data as in nas train, and besides from what the teacher says of every picture: its features and
its answers. Everything nas train can do (resume, recipes, curves) works here. The teacher leaves no trace in the student but
its name, its weights' hash and its licence (nas zoo show).

examples:
  nas distill runs/search/best.yaml --teacher rtdetrv2-x --teacher-weights rtdetrv2-x.safetensors --data my-data
  nas distill yolox-s --teacher runs/train-damo-yolo-l-my-data/best.safetensors --data my-data --features cwd --responses overlap
"""

from __future__ import annotations

import argparse

from nas.commands import train as training

HELP = "train a student with a teacher of any family"
RESUMES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas distill``: those of ``nas train``, and the teacher's."""
    training.add_arguments(parser)
    parser.add_argument("--teacher", required=True, metavar="T", help="checkpoint (.safetensors), or a model's name with --teacher-weights")
    parser.add_argument("--teacher-weights", metavar="FILE", help="checkpoint of the teacher")
    parser.add_argument("--teacher-input", type=int, metavar="PX", help="side at which the teacher looks (default: the student's)")
    parser.add_argument("--teacher-half", action="store_true", help="run the teacher in half precision")
    parser.add_argument("--features", nargs="*", default=["cwd"], metavar="M", help="feature methods: cwd, mgd, mimic, pkd, fgd (default: cwd; none after it: none)")
    parser.add_argument("--responses", nargs="*", metavar="M", help="response methods: scores, localisation, boxes, overlap, hungarian (default: what suits the pair)")
    parser.add_argument("--share", type=float, metavar="S", help="share of the student's own gradient that the teacher's losses have together (default: 0.3)")


def run(args: argparse.Namespace) -> int:
    """Distil, and say how good the student got."""
    from nas.training import Teaching

    teaching = Teaching(
        args.teacher, args.teacher_weights, args.teacher_input, tuple(args.features), None if args.responses is None else tuple(args.responses), args.share,
        args.teacher_half,
    )  # fmt: skip
    return training.run(args, teaching)
