"""List search spaces, show one, check your own file.

examples:
  nas spaces
  nas spaces show res
  nas spaces check my-space.yaml
"""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search_spaces.space import Space

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
        print_json([_to_dict(space) for space in spaces])
        return 0
    if args.action == "list":
        rows = [
            [s.name, s.style, s.channel_step, f"{s.size():.3g}", s.doc.splitlines()[0] if s.doc else ""] for s in spaces
        ]
        print(table(["space", "style", "grid", "architectures", "what"], rows))
        return 0
    print(_text(spaces[0]))
    return 0


def _to_dict(space: Space) -> dict[str, Any]:
    """JSON-ready facts of a space."""
    return {
        "name": space.name, "style": space.style, "stages": len(space.stages), "size": space.size(),
        "channel_step": space.channel_step, "doc": space.doc,
    }  # fmt: skip


def _text(space: Space) -> str:
    """Choices and rules of a space."""
    from workbench.console import table

    size = f"{space.size():,} architectures (style {space.style}, grid {space.channel_step})"
    rows = [["stem.out", _span(space.stem_outs)]]
    rows += [[gene, _span(values)] for gene, values in space.gene_choices()[1:]]
    low, high = space.rules.btn_to_out
    grows = "a stage is at least as wide as the one before it" if space.rules.out_grows else "widths may shrink"
    most = f"; at most {space.rules.out_growth_max:g} times as wide" if space.rules.out_growth_max < math.inf else ""
    lines = [f"{space.name}: {size}\n{space.doc}\n", table(["gene", "choices"], rows)]
    lines.append(f"\nrules: {grows}{most}; btn between {low:g} and {high:g} times out")
    return "\n".join([*lines, f"neck: {space.neck}\nhead: {space.head}"])


def _span(values: tuple[float, ...]) -> str:
    if len(values) < 5:
        return ", ".join(f"{v:g}" for v in values)
    return f"{values[0]:g}..{values[-1]:g} ({len(values)} choices)"
