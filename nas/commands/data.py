"""Look at detection data: find what hurts, write a repaired copy, show it, make a synthetic set.

examples:
  nas data synth shapes --images 200 --seed 0
  nas data doctor shapes
  nas data doctor photos/ --fix photos-fixed --input 416
  nas data show shapes --png shapes.png
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.data.check.doctor import Report
    from distill.data.dataset import DataSet

HELP = "check, repair, show or synthesise detection data"
MOSAIC = 16
"""So many pictures are in a mosaic."""
TILE_PX = 320


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``nas data doctor | show | synth``."""
    actions = parser.add_subparsers(dest="action", metavar="{doctor,show,synth}", required=True)
    doctor = actions.add_parser("doctor", help="find what hurts in a data set; exit code 1 if there are errors")
    doctor.add_argument("path", metavar="PATH", help="folder or file: COCO JSON, data.yaml (YOLO), VOC")
    doctor.add_argument("--fix", metavar="OUT", help="write a repaired copy to this new folder, with a list of changes; the exit code is the copy's")
    doctor.add_argument("--input", type=int, default=640, metavar="PX", help="input side at which objects count as tiny (default: %(default)s)")
    doctor.add_argument("--quick", action="store_true", help="read only the headers of images: nothing on broken, repeated or leaked ones")
    show = actions.add_parser("show", help="show classes, counts and splits, and a mosaic of pictures with boxes")
    show.add_argument("path", metavar="PATH", help="folder or file, as for doctor")
    show.add_argument("--png", metavar="FILE", help=f"also write a picture of up to {MOSAIC} pictures with their boxes")
    show.add_argument("--split", metavar="SPLIT", help="split of the mosaic (default: the first)")
    show.add_argument("--seed", type=int, default=0, help="which pictures are in the mosaic (default: %(default)s)")
    synth = actions.add_parser("synth", help="make a synthetic data set, the same for the same seed")
    synth.add_argument("out", metavar="OUT", help="new folder")
    synth.add_argument("--images", type=int, default=200, metavar="N", help="pictures, train and val together (default: %(default)s)")
    synth.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default: %(default)s)")
    for action in (doctor, show, synth):
        action.add_argument("--json", action="store_true", help="print JSON")
        action.add_argument("--quiet", action="store_true", help="no progress line")


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say; the exit code."""
    from workbench.console import Progress
    from workbench.errors import missing_package

    try:
        import PIL  # noqa: F401
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package("nas data", error.name, "torch") from error
    progress = Progress(args.quiet or args.json)
    try:
        return {"doctor": _doctor, "show": _show, "synth": _synth}[args.action](args, progress.show, progress.done)
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
            print(f"\nwrote {_plain(args.fix)}: {changed}\nlist of changes: {_plain(str(Path(args.fix) / 'changes.diff'))}; what is left in the copy: {_summary(after)}")
            for one in after.findings:
                if one.rule.severity == "error":
                    print(f"  {one.code}: {_plain(one.examples[0])}; {one.rule.mend}")
    return int((after or report).count("error") > 0)


def _print_report(report: Report) -> None:
    """Splits, then findings from the worst to the least."""
    from workbench.console import table

    classes = len(report.splits[0].claims.categories)
    rows = [[one.name, len(one.claims), len(one.claims.boxes), int(one.verdict.usable.sum())] for one in report.splits]
    print(f"{_plain(str(report.path))}: {report.splits[0].claims.source.form}, {classes} class{'es' * (classes != 1)}\n")
    print(table(["split", "images", "annotations", "usable"], rows))
    for found in report.findings:
        rule = found.rule
        print(f"\n{rule.severity}: {found.code}, {found.count:,} time{'s' * (found.count != 1)}{f' in {found.split}' if found.split else ''}")
        print(f"  {rule.what}")
        for example in found.examples[:3]:
            print(f"    {_plain(example)}")
        print(f"  what to do: {rule.mend}" + (f"; --fix: {rule.fix}" if rule.fix else ""))
    print(f"\n{_summary(report)}" + (" (headers only: contents were not looked at)" if report.quick else ""))


def _summary(report: Report) -> str:
    return ", ".join(f"{n} {kind}{'s' * (n != 1)}" for kind in ("error", "warning", "note") for n in [report.count(kind)])


def _show(args: argparse.Namespace, log: Callable[[str], None], done: Callable[[], None]) -> int:
    from distill.data.formats.readers import accept, find_sources, read_claims
    from workbench.console import print_json, table
    from workbench.errors import unknown_name

    splits = {source.name or "all": accept(read_claims(source, log), args.path) for source in find_sources(args.path)}
    if args.split is not None and args.split not in splits:
        raise unknown_name("split", args.split, splits)
    done()
    first = next(iter(splits.values()))
    described = {name: _described(data) for name, data in splits.items()}
    if args.png:
        _mosaic(splits[args.split] if args.split else first, Path(args.png), args.seed)
    if args.json:
        print_json({"path": args.path, "splits": described, "png": args.png})
        return 0
    print(table(
        ["split", "images", "empty", "objects", "crowds", "least px", "most px", "clipped", "dropped"],
        [[name, d["images"], d["empty"], d["objects"], d["crowds"], d["least_px"], d["most_px"], d["handled"]["outside"], d["handled"]["degenerate"]] for name, d in described.items()],
    ))  # fmt: skip
    names = list(dict.fromkeys(c["name"] for d in described.values() for c in d["classes"]))
    by_name = [{c["name"]: c for c in d["classes"]} for d in described.values()]
    rows = []
    for name in names:
        one = next(classes[name] for classes in by_name if name in classes)
        rows.append([_plain(name), one["number"], one["id"], *(classes[name]["objects"] if name in classes else None for classes in by_name)])
    print("\n" + table(["class", "number", "id in the data", *(f"objects in {name}" for name in described)], rows))
    if args.png:
        print(f"\nwrote {_plain(args.png)}")
    return 0


def _described(data: DataSet) -> dict[str, Any]:
    """Counts of one split."""
    import numpy as np

    crowd = np.concatenate([p.crowd for p in data.pictures])
    labels = np.concatenate([p.labels for p in data.pictures])[~crowd]
    counts = np.bincount(labels, minlength=len(data.classes)).tolist()
    sides = [side for p in data.pictures for side in (p.width, p.height)]
    return {
        "images": len(data), "empty": sum(not len(p.labels) for p in data.pictures), "objects": len(labels), "crowds": int(crowd.sum()),
        "least_px": min(sides), "most_px": max(sides), "handled": dict(data.handled),
        "classes": [
            {"name": name, "number": n, "id": own, "objects": count}
            for n, (name, own, count) in enumerate(zip(data.classes.names, data.classes.original_ids, counts, strict=True))
        ],
    }  # fmt: skip


def _mosaic(data: DataSet, out: Path, seed: int) -> None:
    """A sheet of pictures with boxes, those with objects first."""
    import random

    import numpy as np
    from PIL import Image

    from workbench.errors import BadInput
    from workbench.files import replacing
    from zoo.draw import draw
    from zoo.images import read_image

    if out.suffix.lower() != ".png":
        raise BadInput(f"--png {str(out)!r} must end in .png")
    order = list(range(len(data)))
    random.Random(seed).shuffle(order)
    chosen = sorted(order, key=lambda at: not len(data.pictures[at].labels))[:MOSAIC]
    columns = min(4, len(chosen))
    sheet = Image.new("RGB", (columns * TILE_PX, -(-len(chosen) // columns) * TILE_PX), "white")
    for n, at in enumerate(chosen):
        picture = data.pictures[at]
        image = Image.fromarray(read_image(picture.file))
        scale = TILE_PX / max(image.size)
        small = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
        names = [f"{name} (ignored)" if ignored else name for ignored in (False, True) for name in data.classes.names]
        labels = picture.labels + len(data.classes) * picture.crowd
        tile = draw(np.asarray(small), picture.boxes * scale, None, labels, names)
        sheet.paste(tile, (n % columns * TILE_PX, n // columns * TILE_PX))
    with replacing(out) as temporary:
        sheet.save(temporary)


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
