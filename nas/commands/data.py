"""Check detection data, write a repaired copy, show it, count its boxes at a detector's levels, make a synthetic set.

examples:
  nas data synth shapes --images 200 --seed 0
  nas data doctor shapes
  nas data doctor photos/ --fix photos-fixed --input 416
  nas data show shapes --png shapes.png
  nas data levels shapes --input 416 --png levels.png
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distill.data.check.report import Report

HELP = "check, repair, show, measure or synthesise detection data"
MOSAIC = 16
"""Images on the sheet of ``show --png``, at most."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``nas data doctor | show | levels | synth``."""
    actions = parser.add_subparsers(dest="action", metavar="{doctor,show,levels,synth}", required=True)
    doctor = actions.add_parser("doctor", help="find problems in a data set; exit code 1 if there are errors")
    doctor.add_argument("path", metavar="PATH", help="folder or file: COCO JSON, data.yaml (YOLO), VOC")
    fix = "write a repaired copy to this new folder, with a list of changes; the exit code is the copy's"
    doctor.add_argument("--fix", metavar="OUT", help=fix)
    tiny = "input side at which objects count as tiny (default: %(default)s)"
    doctor.add_argument("--input", type=int, default=640, metavar="PX", help=tiny)
    quick = "read only image headers: no check for broken, repeated or leaked images"
    doctor.add_argument("--quick", action="store_true", help=quick)
    show = actions.add_parser("show", help="show classes, counts and splits, and a sheet of images with boxes")
    show.add_argument("path", metavar="PATH", help="folder or file, as for doctor")
    show.add_argument("--png", metavar="FILE", help=f"also write a sheet of up to {MOSAIC} images with their boxes")
    show.add_argument("--split", metavar="SPLIT", help="split of the sheet (default: the first)")
    show.add_argument("--seed", type=int, default=0, help="which images are on the sheet (default: %(default)s)")
    levels = _add_levels(actions)
    synth = actions.add_parser("synth", help="make a synthetic data set, the same for the same seed")
    synth.add_argument("out", metavar="OUT", help="new folder")
    count = "images, train and val together (default: %(default)s)"
    synth.add_argument("--images", type=int, default=200, metavar="N", help=count)
    synth.add_argument("--seed", type=int, default=0, help="the same seed gives the same bytes (default: %(default)s)")
    for action in (doctor, show, levels, synth):
        action.add_argument("--json", action="store_true", help="print JSON")
        action.add_argument("--quiet", action="store_true", help="no progress line")


def _add_levels(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """``nas data levels``."""
    levels = actions.add_parser("levels", help="boxes below, in and above the cells of a detector's levels")
    add = levels.add_argument
    add("path", metavar="PATH", help="folder or file, as for doctor")
    sides = "input side; half to twice as large ones are counted too (default: %(default)s)"
    add("--input", type=int, default=640, metavar="PX", help=sides)
    add("--levels", default="8,16,32", metavar="S,..", help="strides of the detector's levels (default: %(default)s)")
    resize = "how images are placed: stretch, letterbox-center or letterbox-corner (default: %(default)s)"
    add("--resize", default="stretch", metavar="R", help=resize)
    add("--split", default="train", metavar="SPLIT", help="split to count (default: %(default)s)")
    add("--png", metavar="FILE", help="also draw box sizes beside the cells, and shares over the input side")
    return levels


def run(args: argparse.Namespace) -> int:
    """Run the action; the exit code."""
    from workbench.console import Progress
    from workbench.errors import missing_package

    try:
        import PIL  # noqa: F401
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package("nas data", error.name, "torch") from error
    progress = Progress(args.quiet or args.json)
    try:
        action = {"doctor": _doctor, "show": _show, "levels": _levels, "synth": _synth}[args.action]
        return action(args, progress.show, progress.done)
    finally:
        progress.done()


def _doctor(args: argparse.Namespace, log: Callable[[str], None], done: Callable[[], None]) -> int:
    from distill.data.check.doctor import examine
    from distill.data.check.repair import check_place, repair
    from distill.data.formats.readers import find_sources
    from workbench.console import print_json
    from workbench.errors import BadInput

    if not 32 <= args.input <= 8192:
        raise BadInput(f"--input {args.input} must be from 32 to 8192 pixels")
    if args.fix and args.quick:
        raise BadInput("--fix needs the whole examination: leave --quick out")
    if args.fix:
        check_place(Path(args.fix), find_sources(args.path)[0].root)
    report = examine(args.path, args.input, args.quick, log)
    data = report.to_dict()
    counts, after = {}, None
    if args.fix:
        counts = dict(repair(report, args.fix, log))
        after = examine(args.fix, args.input, False, log)
        data["fix"] = {"out": args.fix, "changes": counts, "after": after.to_dict()}
    done()
    if args.json:
        print_json(data)
    else:
        _print_report(report)
        if after is not None:
            changed = ", ".join(f"{n:,} {code}" for code, n in counts.items()) or "nothing to change"
            diff = _plain(str(Path(args.fix) / "changes.diff"))
            print(f"\nwrote {_plain(args.fix)}: {changed}")
            print(f"list of changes: {diff}; what is left in the copy: {after.summary()}")
            for finding in after.findings:
                if finding.rule.severity == "error":
                    print(f"  {finding.code}: {_plain(finding.examples[0])}; {finding.rule.mend}")
    return int((after or report).count("error") > 0)


def _print_report(report: Report) -> None:
    """Print splits, then findings from errors to notes."""
    from workbench.console import table

    classes = len(report.splits[0].raw.categories)
    rows = [
        [split.name, len(split.raw), len(split.raw.boxes), int(split.faults.usable.sum())] for split in report.splits
    ]
    print(f"{_plain(str(report.path))}: {report.splits[0].raw.source.form}, {classes} class{'es' * (classes != 1)}\n")
    print(table(["split", "images", "annotations", "usable"], rows))
    for finding in report.findings:
        rule = finding.rule
        times = f"{finding.count:,} time{'s' * (finding.count != 1)}"
        print(f"\n{rule.severity}: {finding.code}, {times}{f' in {finding.split}' if finding.split else ''}")
        print(f"  {rule.what}")
        for example in finding.examples[:3]:
            print(f"    {_plain(example)}")
        print(f"  what to do: {rule.mend}" + (f"; --fix: {rule.fix}" if rule.fix else ""))
    print(f"\n{report.summary()}" + (" (headers only: contents were not looked at)" if report.quick else ""))


def _show(args: argparse.Namespace, log: Callable[[str], None], done: Callable[[], None]) -> int:
    from distill.data.overview import overview, sample_sheet
    from workbench.console import print_json
    from workbench.errors import BadInput, unknown_name
    from workbench.files import replacing

    shown = overview(args.path, log)
    if args.split is not None and args.split not in shown.splits:
        raise unknown_name("split", args.split, shown.splits)
    done()
    if args.png:
        if not args.png.lower().endswith(".png"):
            raise BadInput(f"--png {args.png!r} must end in .png")
        sheet = sample_sheet(shown.splits[args.split or next(iter(shown.splits))], args.seed)
        with replacing(Path(args.png)) as temporary:
            sheet.save(temporary)
    if args.json:
        print_json({**shown.to_dict(), "path": args.path, "png": args.png})
        return 0
    print(f"{shown.split_table()}\n\n{shown.class_table()}")
    if args.png:
        print(f"\nwrote {_plain(args.png)}")
    return 0


def _levels(args: argparse.Namespace, log: Callable[[str], None], done: Callable[[], None]) -> int:
    from distill.data.check.box_levels import box_levels
    from workbench.console import print_json
    from workbench.errors import BadInput
    from workbench.files import write_atomic

    if args.png and not args.png.lower().endswith(".png"):
        raise BadInput(f"--png {args.png!r} must end in .png")
    try:
        strides = [int(text) for text in args.levels.split(",")]
    except ValueError as error:
        raise BadInput(f"--levels {args.levels!r} must be strides such as 8,16,32") from error
    found = box_levels(args.path, args.input, strides, args.resize, args.split, log)
    if args.png:
        from nas.report.box_levels_plot import box_levels_png

        write_atomic(args.png, box_levels_png(found))
    done()
    if args.json:
        print_json({**found.to_dict(), "png": args.png})
        return 0
    print(found)
    if args.png:
        print(f"\nwrote {_plain(args.png)}")
    return 0


def _synth(args: argparse.Namespace, log: Callable[[str], None], done: Callable[[], None]) -> int:
    from distill.data.synthetic.synth import make
    from workbench.console import print_json
    from workbench.errors import BadInput

    if args.images < 1:
        raise BadInput(f"--images {args.images} must be at least 1")
    counts = make(Path(args.out), args.images, args.seed, log)
    done()
    if args.json:
        print_json({"out": args.out, "seed": args.seed, **counts})
    else:
        print(f"wrote {_plain(args.out)}: " + ", ".join(f"{n:,} {what}" for what, n in counts.items()))
    return 0


def _plain(text: str) -> str:
    from zoo.weights.text import printable

    return printable(text)
