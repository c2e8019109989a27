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
        "choices": {gene: text for gene, text in _rows(space)},
    }  # fmt: skip


def _text(space: Space) -> str:
    """Choices and rules of a space."""
    from workbench.console import table

    size = f"{space.size():,} architectures (style {space.style}, grid {space.channel_step})"
    low, high = space.rules.btn_to_out
    rules = ["a stage is at least as wide as the one before it" if space.rules.out_grows else "widths may shrink"]
    if space.rules.out_growth_max < math.inf:
        rules.append(f"at most {space.rules.out_growth_max:g} times as wide")
    if (low, high) != (0, math.inf):
        rules.append(f"btn between {low:g} and {high:g} times out")
    lines = [f"{space.name}: {size}\n{space.doc}\n", table(["gene", "choices"], [list(row) for row in _rows(space)])]
    lines.append(f"\nrules: {'; '.join(rules)}")
    return "\n".join([*lines, *(f"{part}: {_fixed(space, part)}" for part in ("neck", "head"))])


def _rows(space: Space) -> list[tuple[str, str]]:
    """Every gene with its choices; of a stage with several kinds, what each kind chooses from."""
    rows = [("stem.out", _span(space.stem_outs))]
    for number, stage in enumerate(space.stages, start=1):
        rows.append((f"stage{number}.out", _span(stage.outs)))
        if stage.others:
            rows.append((f"stage{number}.kind", ", ".join(of.kind for of in stage.alternatives)))
        for of in stage.alternatives:
            btn = f"{_span(of.btns)} x out" if of.by_ratio else _span(of.btns)
            fields = {"btn": btn, "k": _span(of.ks), "depth": _span(of.depths)}
            if stage.others:
                rows.append((f"stage{number} {of.kind}", "; ".join(f"{name} {text}" for name, text in fields.items())))
            else:
                rows += [(f"stage{number}.{name}", text) for name, text in fields.items()]
    return rows + _whole_rows(space)


def _whole_rows(space: Space) -> list[tuple[str, str]]:
    """The open widths and fields of neck and head, levels and input sides."""
    from search_spaces.neck import strides_text
    from search_spaces.variants import VariantSpace

    spaces = space.by_levels if isinstance(space, VariantSpace) else (space,)
    found: dict[str, str] = {}
    for tail in (part.tail for part in spaces if part.tail is not None):
        fields = dict(tail.fields)
        for name, values in tail.genes:
            found[name] = ", ".join(map(_word, fields[name])) if name in fields else _span(values)
    if isinstance(space, VariantSpace):
        if len(spaces) > 1:
            found["levels"] = "; ".join(strides_text(part.neck.strides) for part in spaces)
        if space.inputs:
            found["input"] = ", ".join(map(str, space.inputs))
    return list(found.items())


def _word(choice: object) -> str:
    """One choice of a field of neck or head; of a kind of neck, also the fields that go with it."""
    from search_spaces.tail_choices import NeckForm

    if not isinstance(choice, NeckForm):
        return f"{choice:g}" if isinstance(choice, float) else str(choice).lower()
    others = [f"{name} {value:g}" for name, value in choice.fields if isinstance(value, float)]
    return f"{choice} ({', '.join(others)})" if others else str(choice)


def _fixed(space: Space, part: str) -> str:
    """The fields of neck or head that are the same in all architectures."""
    values = (space.neck if part == "neck" else space.head).to_dict()
    opened = set() if space.tail is None else {name for name, _ in space.tail.fields}
    if part == "neck":
        values = {"kind": space.neck.kind, **values, "strides": list(space.neck.strides)}
        if space.tail is not None and space.tail.open_levels:
            del values["out"]
        if f"{part}.kind" in opened and space.tail is not None:
            forms = dict(space.tail.fields)["neck.kind"]
            opened |= {f"neck.{name}" for form in forms for name, _ in form.fields}
    if len(getattr(space, "by_levels", ())) > 1:
        values.pop("strides", None)
    shown = {name: value for name, value in values.items() if f"{part}.{name}" not in opened}
    return ", ".join(f"{name} {_value(value)}" for name, value in shown.items())


def _value(value: object) -> str:
    if isinstance(value, list):
        return "/".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


def _span(values: tuple[float, ...]) -> str:
    if len(values) < 8 and (len(values) < 5 or not all(float(v).is_integer() for v in values)):
        return ", ".join(f"{v:g}" for v in values)
    return f"{values[0]:g}..{values[-1]:g} ({len(values)} choices)"
