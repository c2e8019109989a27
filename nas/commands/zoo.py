"""``nas zoo``: list the detectors, show one's card, bring in official weights.

examples:
  nas zoo
  nas zoo show yolo26n
  nas zoo import yolox_s.pth
  nas zoo import mine.pth --architecture runs/NAME/best.yaml --out mine.safetensors
"""

from __future__ import annotations

import argparse

HELP = "list the detectors, show a card, import official weights"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``nas zoo [list | show MODEL | import FILE]``."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    actions = parser.add_subparsers(dest="action", metavar="{list,show,import}")
    listing = actions.add_parser("list", help="list the detectors (the default)")
    show = actions.add_parser("show", help="show one card")
    show.add_argument("model", help="a name of the list, or one of our checkpoints")
    bring = actions.add_parser("import", help="turn an official checkpoint into one of ours; nothing in it is executed")
    bring.add_argument("file", metavar="FILE", help=".pt, .pth, .safetensors or .npz with official tensor names")
    bring.add_argument("--family", metavar="F", help="family, where the file leaves it open")
    bring.add_argument("--architecture", metavar="YAML", help="architecture of a searched DAMO-YOLO-style detector, or its run folder")
    bring.add_argument("--out", metavar="FILE", help="checkpoint to write (default: FILE's name with .safetensors, here)")
    for action in (listing, show, bring):
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say; the exit code."""
    return {"list": _list, "show": _show, "import": _import}[getattr(args, "action", None) or "list"](args)


def _list(args: argparse.Namespace) -> int:
    import dataclasses

    from nas.console import print_json, table
    from zoo.card import load_cards

    cards = load_cards().values()
    if args.json:
        print_json([dataclasses.asdict(card) for card in cards])
        return 0
    rows = [
        [c.model, c.input_px, c.ap, c.params_m, c.measured_params / 1e6, c.gflops, c.measured_flops / 1e9, c.t4_ms, c.weights_licence]
        for c in cards
    ]
    print(table(["model", "input", "AP", "Mparams", "ours", "GFLOPs", "ours", "T4 ms", "licence of the weights"], rows))
    print("\nAP, Mparams, GFLOPs and T4 ms as published; 'ours' measured on our build, folded. More: nas zoo show MODEL")
    return 0


def _show(args: argparse.Namespace) -> int:
    import dataclasses

    from nas.console import print_json, table
    from zoo.card import find_card

    if args.model.endswith(".safetensors"):
        return _show_checkpoint(args)
    card = find_card(args.model)
    if args.json:
        print_json(dataclasses.asdict(card))
        return 0
    print(f"{card.model}  ({card.family}, code {card.code_licence}, official weights {card.weights_licence})\n")
    rows = [
        ["input side, px", float(card.input_px), None],
        ["AP on COCO val, %", card.ap, None],
        ["parameters, M", card.params_m, card.measured_params / 1e6],
        ["GFLOPs", card.gflops, card.measured_flops / 1e9],
    ]
    print(table(["", "published", "ours"], rows))
    if card.latencies:
        print("\n" + table(["ms", "device", "runtime", "source"], [[one.ms, one.device, one.runtime, one.source] for one in card.latencies]))
    notes = [f"source: {card.source}", *([f"note: {card.note}"] if card.note else []), *(f"{one.device}: {one.note}" for one in card.latencies if one.note)]
    print("\n" + "\n".join(notes))
    return 0


def _show_checkpoint(args: argparse.Namespace) -> int:
    from nas.console import print_json
    from zoo.checkpoint import read_manifest

    manifest = read_manifest(args.model)
    if args.json:
        print_json(manifest)
        return 0
    info = manifest["info"]
    names = info["class_names"]
    print(f"{args.model}: {manifest['model']}, {manifest['classes']} classes, input {info['input_px']} px, {'folded' if manifest['fused'] else 'training form'}")
    print(f"classes: {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}")
    for key, value in info["provenance"].items():
        print(f"{key}: {value}")
    for ancestor in info["lineage"]:
        print(f"lineage: {ancestor.get('model')} under {ancestor.get('licence')}, sha256 {str(ancestor.get('sha256'))[:16]}")
    return 0


def _import(args: argparse.Namespace) -> int:
    from pathlib import Path

    from nas.console import print_json
    from nas.resolve import resolve_subject
    from search_spaces.errors import BadInput
    from zoo.checkpoint import save
    from zoo.official import import_official

    architecture = None
    if args.architecture:
        architecture = resolve_subject(args.architecture).arch
        if architecture is None or architecture.head is None:
            raise BadInput(f"--architecture {args.architecture!r} is no architecture of a whole detector: it needs neck and head")
    detector = import_official(args.file, args.family, architecture)
    out = Path(args.out or Path(args.file).with_suffix(".safetensors").name)
    if out.suffix != ".safetensors":
        raise BadInput(f"--out {str(out)!r} must end in .safetensors")
    if out.exists() and out.resolve() == Path(args.file).resolve():
        raise BadInput(f"{str(out)!r} would overwrite the file it is made from: give another --out")
    save(detector, out)
    facts = dict(detector.info.provenance)
    if args.json:
        print_json({"checkpoint": str(out), "model": detector.recipe.model, "classes": detector.classes, "provenance": facts})
    else:
        params = sum(p.numel() for p in detector.parameters()) / 1e6
        print(f"{args.file}: {detector.recipe.model}, {detector.classes} classes, {params:.2f} M parameters in training form, all tensors in place")
        print(f"licence of the weights: {facts['licence']}; what is trained from them inherits it as lineage")
        print(f"wrote {out}")
    return 0
