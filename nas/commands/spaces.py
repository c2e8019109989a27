"""The search spaces: list them, show one, check your own file.

examples:
  nas spaces
  nas spaces show res
  nas spaces check my-space.yaml
"""

from __future__ import annotations

import argparse
import math

HELP = "list, show and check search spaces"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas spaces``."""
    parser.add_argument("action", nargs="?", default="list", choices=("list", "show", "check"), help="default list")
    parser.add_argument("space", nargs="?", help="name or YAML file")
    parser.add_argument("--grid", type=int, metavar="N", help="count on this channel grid")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """List, show or check."""
    from search_spaces.space import with_grid
    from search_spaces.space_file import load_space, space_names
    from workbench.console import print_json, table
    from workbench.errors import BadInput

    if args.action != "list" and not args.space:
        raise BadInput(f"nas spaces {args.action} needs a space: a name ({', '.join(space_names())}) or a YAML file")
    names = space_names() if args.action == "list" else [args.space]
    spaces = [load_space(n) for n in names]
    if args.grid is not None:
        spaces = [with_grid(s, args.grid) for s in spaces]
    if args.json:
        print_json([{"name": s.name, "style": s.style, "stages": len(s.stages), "size": s.size(), "channel_step": s.channel_step, "doc": s.doc} for s in spaces])
        return 0
    if args.action == "list":
        print(table(["space", "style", "grid", "architectures", "what"], [[s.name, s.style, s.channel_step, f"{s.size():.3g}", s.doc.splitlines()[0] if s.doc else ""] for s in spaces]))
        return 0
    space = spaces[0]
    print(f"{space.name}: {space.size():,} architectures (style {space.style}, grid {space.channel_step})\n{space.doc}\n")
    rows = [["stem.out", _span(space.stem_outs)]]
    rows += [[gene, _span(values)] for gene, values in space.gene_choices()[1:]]
    print(table(["gene", "choices"], rows))
    low, high = space.rules.btn_to_out
    grows = "a stage is at least as wide as the one before it" if space.rules.out_grows else "widths may shrink"
    most = f"; at most {space.rules.out_growth_max:g} times as wide" if space.rules.out_growth_max < math.inf else ""
    print(f"\nrules: {grows}{most}; btn between {low:g} and {high:g} times out")
    print(f"neck: {space.neck}\nhead: {space.head}")
    return 0


def _span(values: tuple[float, ...]) -> str:
    if len(values) < 5:
        return ", ".join(f"{v:g}" for v in values)
    return f"{values[0]:g}..{values[-1]:g} ({len(values)} choices)"
