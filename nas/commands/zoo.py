"""List the detectors, show a card, import official weights.

examples:
  nas zoo
  nas zoo show yolo26n
  nas zoo import yolox_s.pth
  nas zoo import my_yolox.pth --names classes.txt
  nas zoo show yolox_s.safetensors
  nas zoo import mine.pth --architecture runs/NAME/best.yaml --out mine.safetensors
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

HELP = "list the detectors, show a card, import official weights"
SHOWN = 8
"""Number of class names in a line."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``nas zoo [list | show MODEL | import FILE]``."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    actions = parser.add_subparsers(dest="action", metavar="{list,show,import}")
    listing = actions.add_parser("list", help="list the detectors (the default)")
    licence = "and whether the licence allows commercial use"
    show = actions.add_parser("show", help=f"show a card or the metadata of a checkpoint, {licence}")
    show.add_argument("model", help="a name of the list, or a checkpoint (.safetensors)")
    bring = actions.add_parser("import", help="convert an official checkpoint; nothing in it is executed")
    bring.add_argument("file", metavar="FILE", help=".pt, .pth, .safetensors or .npz with official tensor names")
    bring.add_argument("--family", metavar="F", help="family, where the file does not tell it")
    architecture = "architecture of a searched DAMO-YOLO-style detector, or its run folder"
    names = "class names, one a line (default: those in the file, else COCO's for 80 classes)"
    bring.add_argument("--architecture", metavar="YAML", help=architecture)
    bring.add_argument("--names", metavar="FILE", help=names)
    bring.add_argument("--out", metavar="FILE", help="checkpoint to write (default: FILE's name with .safetensors)")
    for action in (listing, show, bring):
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say; the exit code."""
    return {"list": _list, "show": _show, "import": _import}[getattr(args, "action", None) or "list"](args)


def _list(args: argparse.Namespace) -> int:
    import dataclasses

    from workbench.console import print_json, table
    from zoo.families.card import load_cards

    cards = load_cards().values()
    if args.json:
        print_json([dataclasses.asdict(card) for card in cards])
        return 0
    rows = [
        [c.model, c.input_px, c.ap, c.params_m, c.measured_params / 1e6, c.gflops, c.measured_flops / 1e9, c.t4_ms,
         c.weights_licence]
        for c in cards
    ]  # fmt: skip
    header = ["model", "input", "AP", "Mparams", "ours", "GFLOPs", "ours", "T4 ms", "licence of the weights"]
    print(table(header, rows))
    print("\nAP, Mparams, GFLOPs and T4 ms as published; 'ours' of our build, folded. More: nas zoo show MODEL")
    return 0


def _show(args: argparse.Namespace) -> int:
    import dataclasses

    from workbench.console import print_json, table
    from zoo.families.card import find_card
    from zoo.weights.licence import of_card

    if args.model.endswith(".safetensors"):
        return _show_checkpoint(args)
    card = find_card(args.model)
    use = of_card(card)
    if args.json:
        print_json(dataclasses.asdict(card) | {"commercial_use": use.to_dict()})
        return 0
    print(f"{card.model}  ({card.family}, code {card.code_licence}, official weights {card.weights_licence})\n")
    rows = [
        ["input side, px", card.input_px, None],
        ["AP on COCO val, %", card.ap, None],
        ["parameters, M", card.params_m, card.measured_params / 1e6],
        ["GFLOPs", card.gflops, card.measured_flops / 1e9],
    ]
    print(table(["", "published", "ours"], rows))
    if card.latencies:
        rows = [[latency.ms, latency.device, latency.runtime, latency.source] for latency in card.latencies]
        print("\n" + table(["ms", "device", "runtime", "source"], rows))
    notes = [f"source: {card.source}", *([f"note: {card.note}"] if card.note else [])]
    notes += [f"{latency.device}: {latency.note}" for latency in card.latencies if latency.note]
    print("\n" + "\n".join(notes))
    print("\n" + use.text())
    return 0


def _show_checkpoint(args: argparse.Namespace) -> int:
    from workbench.console import print_json

    _need_torch("reading a checkpoint")
    from zoo.weights.checkpoint import read_manifest
    from zoo.weights.licence import CUT_FROM, ROLES, of_weights
    from zoo.weights.text import printable

    manifest = read_manifest(args.model)
    use = of_weights(manifest.info.provenance, manifest.info.lineage)
    recipe, info = manifest.recipe, manifest.info
    cut = None
    if recipe.cuts:
        from zoo.pruning.summary import summarize_cuts

        cut = summarize_cuts(recipe)
    if args.json:
        facts = {"commercial_use": use.to_dict()} | ({} if cut is None else {"cut": cut.to_dict()})
        print_json(manifest.to_dict() | facts)
        return 0
    form = f"folded, branch {manifest.branch}" if manifest.fused else "training form"
    print(f"{args.model}: {recipe.model}, {_classes(recipe.classes)}, input {info.input_px} px, {form}")
    if cut is not None:
        print(printable(cut.text()))
    print(f"classes: {_some(info.class_names)}")
    for key, value in info.provenance.items():
        if key == CUT_FROM and isinstance(value, dict):
            value = ", ".join(f"{name} {fact}" for name, fact in value.items())
        print(printable(f"{key}: {value}"))
    for ancestor in info.lineage:
        role = f", its {ancestor['role']}" if ancestor.get("role") in ROLES else ""
        origin = f"{ancestor.get('model')} under {ancestor.get('licence')}{role}"
        print(printable(f"lineage: {origin}, sha256 {ancestor.get('sha256')}"))
    print("\n".join(printable(line) for line in use.text().splitlines()))
    return 0


def _import(args: argparse.Namespace) -> int:
    from pathlib import Path

    from workbench.console import print_json
    from workbench.errors import BadInput
    from zoo.resolve import resolve_model

    _need_torch("importing weights")
    from zoo.weights.checkpoint import save
    from zoo.weights.importing import read_names
    from zoo.weights.official import import_official

    out = Path(args.out or Path(args.file).with_suffix(".safetensors").name)
    if out.suffix != ".safetensors":
        raise BadInput(f"--out {str(out)!r} must end in .safetensors")
    if out.exists() and out.resolve() == Path(args.file).resolve():
        raise BadInput(f"{str(out)!r} would overwrite the file it is made from: give another --out")
    architecture = None
    if args.architecture:
        architecture = resolve_model(args.architecture).arch
        if architecture is None or architecture.head is None:
            named = f"--architecture {args.architecture!r}"
            raise BadInput(f"{named} is no architecture of a whole detector: it needs neck and head")
    names = read_names(args.names) if args.names else None
    detector = import_official(args.file, args.family, architecture, names)
    save(detector, out)
    info = detector.info
    if args.json:
        print_json({
            "checkpoint": str(out), "model": detector.recipe.model, "classes": detector.classes,
            "class_names": list(info.class_names), "input_px": info.input_px, "provenance": dict(info.provenance),
            "lineage": [dict(ancestor) for ancestor in info.lineage],
        })  # fmt: skip
    else:
        params = sum(p.numel() for p in detector.parameters()) / 1e6
        size = f"{_classes(detector.classes)}, {params:.2f} M parameters in training form"
        print(f"{args.file}: {detector.recipe.model}, {size}, all tensors in place")
        print(f"classes: {_some(info.class_names)}")
        licence = info.provenance["licence"]
        print(f"licence of the family's official weights: {licence}; what is trained from them inherits it as lineage")
        print(f"wrote {out}")
    return 0


def _need_torch(what: str) -> None:
    """Raise the error for a missing package, before anything is imported that needs it."""
    from workbench.errors import missing_package

    try:
        import safetensors  # noqa: F401
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package(what, error.name, "torch") from error


def _classes(count: int) -> str:
    return f"{count} class" if count == 1 else f"{count} classes"


def _some(names: Sequence[str]) -> str:
    """The first names, in a line."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
