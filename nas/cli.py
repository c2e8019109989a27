"""The ``nas`` command line. Every command is one module in ``nas.commands``: it parses, calls the API and prints.

Exit codes: 0 done, 1 a check found something, 2 bad input (one line on stderr), 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

import nas
from workbench.errors import BadInput

COMMANDS = (
    "search", "shrink", "show", "score", "bench-scores", "atlas", "cost", "latency", "bench", "calibrate", "zoo",
    "data", "train", "distill", "tune", "eval", "export", "predict", "compare", "spaces", "devices", "board",
    "completion",
)  # fmt: skip
"""In the order in which help lists them."""

EPILOG = """\
a first search:   nas search --budget 3ms --device t4
look at it:       nas show runs/NAME        nas board
compare:          nas cost damo-yolo-s --device t4
more on a command:  nas search --help
"""


def build_parser() -> argparse.ArgumentParser:
    """The whole parser; command modules import only the standard library until they run."""
    parser = argparse.ArgumentParser(
        prog="nas",
        description="Search, train, distill, measure and compare object detectors: an open, local workbench.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"nas {nas.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"nas.commands.{name.replace('-', '_')}")
        sub = commands.add_parser(
            name, help=module.HELP, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit code."""
    args = build_parser().parse_args(argv)
    try:
        return int(args.run(args))
    except BadInput as error:
        print(f"nas: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        resumes = getattr(sys.modules[args.run.__module__], "RESUMES", False)
        print("\nnas: interrupted" + ("; the same command resumes from here" if resumes else ""), file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) has closed it: redirect stdout so that the exit is silent.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
