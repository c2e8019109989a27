"""Write the report of a finished run again: one page that opens anywhere, and its pictures.

A training or distillation gets report.html (curves, F1, confusion, classes, best and worst pictures, labels, settings,
what to do next), report/*.png and results.csv; a search gets report.html and latency.png. Runs write them themselves
when they end; --data says where the data of a training are now.

examples:
  nas report runs/train-yolox-s-my-data
  nas report runs/NAME --data /mnt/my-data
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write the report of a finished run again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas report``."""
    add = parser.add_argument
    add("run_folders", nargs="+", metavar="RUN", help="folder of a training, a distillation or a search")
    add("--data", metavar="PATH", help="data of a training (default: where they were)")
    add("--val", metavar="PATH", help="its validation data, when they are not beside the training data")
    add("--quiet", action="store_true", help="no progress line")
    add("--json", action="store_true", help="print the pages' paths as JSON")


def run(args: argparse.Namespace) -> int:
    """Write the reports and print where they are."""
    from workbench.console import print_json

    pages = [_write(Path(folder), args) for folder in args.run_folders]
    if args.json:
        print_json({"reports": pages})
    else:
        print("\n".join(f"wrote {page}" for page in pages))
    return 0


def _write(path: Path, args: argparse.Namespace) -> str:
    """The report of one run; the path of its page."""
    from nas.report.search_page import is_search, write_search_report
    from workbench.console import Progress
    from workbench.errors import BadInput, missing_package

    if not path.is_dir():
        raise BadInput(f"no run folder {str(path)!r}")
    if is_search(path):
        if args.data or args.val:
            raise BadInput(f"--data is for a training, and {str(path)!r} is a search: leave it out")
        return str(write_search_report(path))
    if not (path / "best.safetensors").is_file():
        raise BadInput(
            f"{str(path)!r} holds neither best.yaml (a search) nor best.safetensors (a training): name a finished run"
        )
    try:
        from distill.report.training import open_training_data, read_training
        from distill.report.write import write_report
    except ModuleNotFoundError as error:
        raise missing_package("nas report", error.name, "train") from error
    data = open_training_data(read_training(path), args.data, args.val)
    progress = Progress(args.quiet or args.json)
    try:
        return str(write_report(path, data, progress.show))
    finally:
        progress.done()
