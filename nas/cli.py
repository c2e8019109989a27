"""The ``nas`` command line. Every command is one module in ``nas.commands``: it parses, calls the API and prints.

Exit codes: 0 done, 1 a check found something, 2 bad input or no way on (one line on stderr), 130 interrupted.
NAS_DEBUG=1 shows the traceback of an error that no command foresaw.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

import nas
from nas.commands import other_words
from workbench.errors import MOST_LETTERS, BadInput
from workbench.printable import cut, printable, printable_output, shown

COMMANDS = (
    "search", "shrink", "show", "score", "bench-scores", "atlas", "cost", "latency", "bench", "calibrate", "zoo",
    "data", "train", "distill", "tune", "eval", "export", "predict", "compare", "report", "spaces", "devices", "board",
    "completion",
)  # fmt: skip
"""In the order in which help lists them."""

EPILOG = """\
a first search:   nas search --budget 3ms --device t4
look at it:       nas show runs/NAME        nas board
compare:          nas cost damo-yolo-s --device t4
more on a command:  nas search --help
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are short, however long the words are."""

    def error(self, message: str) -> NoReturn:
        super().error(cut(printable(message), MOST_LETTERS))


def build_parser() -> argparse.ArgumentParser:
    """The whole parser; command modules import only the standard library until they run."""
    parser = _Parser(
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


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The parsed command line. An unknown option is refused with the usage of its own command, and the nearest known
    one.
    """
    parser = build_parser()
    other = other_words.hint(sys.argv[1:] if argv is None else argv)
    if other:
        raise SystemExit(_refuse(other))
    args, unknown = parser.parse_known_args(argv)
    if not unknown:
        return args
    while branches := [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]:
        parser = branches[0].choices[getattr(args, branches[0].dest)]
    word = unknown[0].partition("=")[0]
    known = [option for action in parser._actions for option in action.option_strings]
    nearest = difflib.get_close_matches(word, known, 1)
    ours = other_words.of_option(word)
    hint = f"; here it is {ours}" if ours else f"; did you mean {nearest[0]}?" if nearest else ""
    parser.error(f"unrecognized argument {word!r}{hint}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit code. Nothing is printed but printable text."""
    with printable_output():
        return _main(argv)


def _main(argv: Sequence[str] | None) -> int:
    run: Callable[[argparse.Namespace], int] | None = None
    _silence_guests()
    try:
        args = parse(argv)
        run = args.run
        if sys.stdout is None:
            raise BadInput("standard output is closed: leave it open, or send it to /dev/null")
        code = int(args.run(args))
        sys.stdout.flush()
        return code
    except BadInput as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        resumes = run is not None and getattr(sys.modules[run.__module__], "RESUMES", False)
        _tell("\nnas: interrupted" + ("; the same command resumes from here" if resumes else ""))
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) has closed it: redirect stdout so that the exit is silent.
        _discard_output()
        return 0
    except Exception as error:
        # What no command foresaw: a full disk, a file that vanished, or a mistake of ours.
        if os.environ.get("NAS_DEBUG"):
            raise
        try:
            sys.stdout.flush()
        except (OSError, ValueError):
            _discard_output()
        return _refuse(f"{_describe(error)} (NAS_DEBUG=1 shows where)")


def _silence_guests() -> None:
    """Keep guests from writing: words on broken files, which our own line says, and folders that nobody needs."""
    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.filterwarnings("ignore", category=SyntaxWarning)
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    # torch makes a folder for compiled code when an optimizer is imported; no command compiles any
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.environ.get("TMPDIR") or "/tmp")


def _refuse(text: str) -> int:
    """Print one line of error; the exit code for it."""
    _tell(f"nas: {' '.join(text.split())}")
    return 2


def _tell(text: str) -> None:
    """Print a line to standard error, if it is open."""
    try:
        print(text, file=sys.stderr)
        if sys.stderr is not None:
            sys.stderr.flush()
    except (OSError, ValueError):
        return  # closed or full: the exit code has to do


def _describe(error: Exception) -> str:
    """An unforeseen error in words."""
    if isinstance(error, OSError):
        place = f"{shown(error.filename)}: " if error.filename is not None else ""
        return f"{place}{error.strerror or type(error).__name__}"
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, RecursionError):
        return "the input is nested too deeply"
    if isinstance(error, (UnicodeError, OverflowError)):
        return f"{type(error).__name__}: {shown(str(error))}"
    return f"internal error, please report it: {type(error).__name__}: {shown(str(error))}"


def _discard_output() -> None:
    """Send what is still to be printed nowhere, so that the exit is silent."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
