"""Set what you found and trained beside every detector of the zoo, on one page that opens anywhere.

X is a run folder (of a search or a training), a checkpoint, a model of the zoo, an architecture YAML, a graph JSON or
an ONNX file. Latency is foretold on every --device, with its interval; measured where a search measured its finalists
or --bench brings what `nas bench --json` printed. Published AP and your own have a front each.

Writes compare.html (one file, no network), compare.png and compare.md into --out.

examples:
  nas compare runs/NAME --device t4
  nas compare runs/NAME best.safetensors --device t4,raspberry-pi-4 --only damo-yolo,yolo26
  nas compare yolo.onnx damo-yolo-s yolo26s --no-zoo --out page
"""

from __future__ import annotations

import argparse

HELP = "one page: your finds beside every rival"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas compare``."""
    add = parser.add_argument
    add("subjects", nargs="*", metavar="X", help="runs, checkpoints, models or network files; the zoo's rivals come along")
    add("--device", action="append", metavar="D[,D]", help="device profile (default t4); several with commas or again")
    add("--only", action="append", metavar="F[,F]", help="only these families or models of the zoo (default: all)")
    add("--no-zoo", action="store_true", help="no rivals but those that are named")
    add("--bench", action="append", default=[], metavar="FILE", help="what nas bench --json printed; may be repeated")
    add("--top", type=int, default=1, metavar="N", help="candidates of each search (default: %(default)s, the best)")
    add("--out", default="compare", metavar="DIR", help="folder to write into (default: %(default)s)")
    add("--title", default="Detectors compared", help="heading of the page (default: %(default)s)")
    add("--json", action="store_true", help="print JSON")
    add("--quiet", action="store_true", help="no progress line")


def run(args: argparse.Namespace) -> int:
    """Gather, write the three files, and say who is on the front."""
    from nas.comparison.gather import compare
    from nas.comparison.write import check_folder, write_comparison
    from workbench.console import Progress, print_json
    from workbench.errors import BadInput

    devices = _names(args.device, "--device") or ["t4"]
    only = _names(args.only, "--only")
    if args.no_zoo and only:
        raise BadInput("--no-zoo and --only contradict each other: give one of them")
    check_folder(args.out)
    progress = Progress(args.quiet or args.json)
    try:
        only_or_all = [] if args.no_zoo else only or None
        comparison = compare(
            args.subjects, devices, only=only_or_all, bench=args.bench, top=args.top, log=progress.show
        )
        progress.show("drawing", force=True)
        files = write_comparison(comparison, args.out, args.title)
    finally:
        progress.done()
    if args.json:
        print_json(comparison.to_dict() | {"files": [str(file) for file in files]})
        return 0
    print(comparison)
    print(f"\nwrote {', '.join(str(file) for file in files)}")
    return 0


def _names(given: list[str] | None, option: str) -> list[str]:
    """Names from an option that takes several with commas."""
    from workbench.errors import BadInput

    names = [name.strip() for text in given or () for name in text.split(",")]
    if not all(names):
        raise BadInput(f"{option} {','.join(given or ())!r} holds an empty name: put one between every two commas")
    return list(dict.fromkeys(names))
