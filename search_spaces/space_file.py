"""Space files: find the shipped ones, and read YAML so that an error names its line and the rule."""

from __future__ import annotations

import dataclasses
import itertools
import math
import operator
import re
from collections.abc import Callable
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from search_spaces.architecture import (
    SEARCHED_ACTIVATIONS,
    STYLES,
    Head,
    Neck,
    check_head,
    check_neck,
    read_fields,
)
from search_spaces.blocks import BLOCK_KINDS
from search_spaces.blocks.base import fits_style
from search_spaces.neck import LEVEL_STRIDES
from search_spaces.space import Rules, Space, StageChoices
from search_spaces.tail_choices import NeckForm, TailChoices
from search_spaces.variants import VariantSpace
from workbench.doors.bytes import read_text
from workbench.doors.yaml import MOST_BYTES, compose_yaml, scalar_value
from workbench.errors import BadInput, unknown_name

_RANGE = re.compile(r"^\s*(\d+)\s*\.\.\s*(\d+)\s*(?:step\s+(\d+))?\s*$")
_NUMBER_RANGE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*\.\.\s*(\d+(?:\.\d+)?)\s*(?:step\s+(\d+(?:\.\d+)?))?\s*$")
_TOP = {
    "name", "doc", "style", "act", "spp", "channels", "stem", "stages", "rules", "neck", "head", "input", "levels"
}  # fmt: skip
_STAGE = {"kind", "stride", "out", "btn", "btn_ratio", "k", "depth"}
_KIND = {"kind", "btn", "btn_ratio", "k", "depth"}
_RULES = {"out_grows", "out_growth_max", "btn_to_out"}
_STEM = {"out", "k", "focus", "stride"}
MOST_CHOICES = 4096
"""More choices than this in one list is a typing mistake, not a space."""


class _Node:
    """A parsed value with the line it stands on (1-based)."""

    def __init__(self, value: Any, line: int) -> None:
        self.value, self.line = value, line

    def __repr__(self) -> str:
        return repr(self.value)


class _Reader:
    def __init__(self, where: str) -> None:
        self.where = where

    def fail(self, line: int, rule: str) -> BadInput:
        return BadInput(f"{self.where}, line {line}: {rule}")

    def tree(self, node: yaml.Node) -> _Node:
        line = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            out: dict[str, _Node] = {}
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise self.fail(key.start_mark.line + 1, "keys must be plain words")
                if key.value in out:
                    raise self.fail(key.start_mark.line + 1, f"field {key.value!r} stands twice")
                out[key.value] = self.tree(value)
                out[key.value].line = key.start_mark.line + 1
            return _Node(out, line)
        if isinstance(node, yaml.SequenceNode):
            return _Node([self.tree(item) for item in node.value], line)
        plain = isinstance(node, yaml.ScalarNode) and not node.style and node.value
        return _Node(scalar_value(node, self.where) if plain else node.value, line)

    def mapping(self, node: _Node, what: str, known: set[str]) -> dict[str, _Node]:
        if not isinstance(node.value, dict):
            raise self.fail(node.line, f"{what} must be a mapping with {', '.join(sorted(known))}")
        for key, value in node.value.items():
            if key not in known:
                raise self.fail(value.line, str(unknown_name(f"field of {what}", key, known)))
        return node.value

    def need(self, fields: dict[str, _Node], key: str, line: int, what: str) -> _Node:
        if key not in fields:
            raise self.fail(line, f"{what} lacks the field {key!r}")
        return fields[key]

    def whole(self, node: _Node, what: str, least: int = 1) -> int:
        if isinstance(node.value, bool) or not isinstance(node.value, int) or node.value < least:
            raise self.fail(node.line, f"{what} {node.value!r} must be a whole number of at least {least}")
        return node.value

    def number(self, node: _Node, what: str) -> float:
        is_number = isinstance(node.value, (int, float)) and not isinstance(node.value, bool)
        if not is_number or not node.value > 0 or math.isinf(node.value):
            raise self.fail(node.line, f"{what} {node.value!r} must be a positive number")
        return float(node.value)

    def flag(self, node: _Node, what: str) -> bool:
        if not isinstance(node.value, bool):
            raise self.fail(node.line, f"{what} {node.value!r} must be true or false")
        return node.value

    def number_range(self, node: _Node, what: str) -> _Node | None:
        """The list that ``0.5..1.0 step 0.25``, or ``0..3`` in ones, stands for; None of anything else."""
        match = _NUMBER_RANGE.match(node.value) if isinstance(node.value, str) else None
        if match is None:
            return None
        fractions = any(part is not None and "." in part for part in match.groups())
        if fractions and match[3] is None:
            raise self.fail(node.line, f"{what} {node.value!r} needs a step: write {node.value} step 0.25")
        low, high, step = (Decimal(part or "1") for part in match.groups())
        if not step or low > high or (high - low) / step >= MOST_CHOICES:
            raise self.fail(node.line, f"{what} {node.value!r} must hold 1 to {MOST_CHOICES} numbers")
        kind = float if fractions else int
        return _Node([_Node(kind(low + i * step), node.line) for i in range(int((high - low) / step) + 1)], node.line)

    def choices(self, node: _Node, what: str, step: int) -> tuple[int, ...]:
        """``64``, ``[64, 96]`` or ``64..128`` (in steps of ``step``, or ``64..128 step 16``)."""
        if isinstance(node.value, str):
            match = _RANGE.match(node.value)
            if match is None:
                ways = "64..128, 64..128 step 16 or [64, 96]"
                raise self.fail(node.line, f"{what} {node.value!r} is not a range: write {ways}")
            low, high = int(match[1]), int(match[2])
            by = int(match[3]) if match[3] else step
            if by < 1:
                raise self.fail(node.line, f"{what}: step {by} must be at least 1")
            values = list(itertools.islice(range(-(-low // by) * by, high + 1, by), MOST_CHOICES + 1))
            if not values or low > high:
                raise self.fail(node.line, f"{what} {node.value!r} holds no multiple of {by}")
        elif isinstance(node.value, list):
            values = [self.whole(item, what) for item in node.value]
            if not values:
                raise self.fail(node.line, f"{what} lists no choice")
        else:
            values = [self.whole(node, what)]
        if min(values) < 1:
            values = [v for v in values if v >= 1]
        if not values or len(values) > MOST_CHOICES:
            raise self.fail(node.line, f"{what} must list 1 to {MOST_CHOICES} positive choices")
        return tuple(sorted(set(values)))


def space_names() -> list[str]:
    """Spaces that ship."""
    files = resources.files("search_spaces.spaces").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def load_space(name_or_path: str) -> Space:
    """A shipped space by name, or a YAML file. A bad file names the line and the rule."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or "/" in name_or_path:
        return read_space(read_text(path, "space", MOST_BYTES), str(path))
    if name_or_path not in space_names():
        raise unknown_name("space", name_or_path, space_names())
    text = resources.files("search_spaces.spaces").joinpath(f"{name_or_path}.yaml").read_text(encoding="utf-8")
    return read_space(text, f"{name_or_path}.yaml")


def read_space(text: str, where: str = "space") -> Space:
    """The Space that YAML ``text`` describes; ``where`` stands in error texts before the line number."""
    reader = _Reader(where)
    root = compose_yaml(text, where)
    if root is None:
        raise BadInput(f"{where}, line 1: the file is empty; see `nas spaces show res` for an example")
    top = reader.mapping(reader.tree(root), "a space", _TOP)
    style_node = reader.need(top, "style", 1, "the space")
    style = str(style_node.value)
    if style not in STYLES:
        raise reader.fail(style_node.line, str(unknown_name("style", style, STYLES)))
    act = str(top["act"].value) if "act" in top else "relu"
    if act not in SEARCHED_ACTIVATIONS:
        raise reader.fail(top["act"].line, str(unknown_name("activation", act, SEARCHED_ACTIVATIONS)))
    step = reader.whole(top["channels"], "channels (the grid step)") if "channels" in top else 8
    stem_node = reader.need(top, "stem", 1, "the space")
    stem = reader.mapping(stem_node, "the stem", _STEM)
    focus = reader.flag(stem["focus"], "stem: focus") if "focus" in stem else True
    stages_node = reader.need(top, "stages", 1, "the space")
    if not isinstance(stages_node.value, list) or not stages_node.value:
        raise reader.fail(stages_node.line, "stages must be a non-empty list")
    stages = tuple(_stage(reader, node, i, step, style) for i, node in enumerate(stages_node.value, start=1))
    plain = Space(
        name=str(top["name"].value) if "name" in top else where.rsplit("/", 1)[-1].removesuffix(".yaml"),
        doc=str(top["doc"].value).strip() if "doc" in top else "",
        style=style,
        act=act,
        spp=reader.flag(top["spp"], "spp") if "spp" in top else True,
        stem_outs=reader.choices(reader.need(stem, "out", stem_node.line, "the stem"), "stem: out", step),
        stem_k=reader.whole(stem["k"], "stem: k") if "k" in stem else 3,
        focus=focus,
        stem_stride=reader.whole(stem["stride"], "stem: stride") if "stride" in stem else 2,
        stages=stages,
        rules=_rules(reader, top.get("rules")),
        neck=Neck(),
        head=Head(),
        channel_step=step,
    )
    spaces = [_with_tail(reader, plain, top, levels) for levels in _levels(reader, top.get("levels"))]
    inputs = reader.choices(top["input"], "input", 32) if "input" in top else ()
    if any(px % 32 or px < 64 for px in inputs):
        raise reader.fail(top["input"].line, "input: sides must be multiples of 32 of at least 64 pixels")
    space = VariantSpace.of(spaces, inputs) if len(spaces) > 1 or inputs else spaces[0]
    for empty in (part for part in spaces if part.size() == 0):
        where = f" with levels {', '.join(map(str, empty.neck.strides))}" if len(spaces) > 1 else " at all"
        raise reader.fail(stages_node.line, f"the rules leave no architecture{where}: widen a range or loosen a rule")
    try:
        for part in spaces:
            part.decode(_first_row(part))
    except BadInput as error:
        raise reader.fail(stages_node.line, f"not a detector: {error}") from error
    return space


def _stage(reader: _Reader, node: _Node, number: int, step: int, style: str) -> StageChoices:
    """The choices of one stage; a list of kinds gives several, each a name or a mapping with fields of its own."""
    what = f"stage {number}"
    fields = reader.mapping(node, what, _STAGE)
    kind_node = reader.need(fields, "kind", node.line, what)
    if not isinstance(kind_node.value, list):
        return _one_kind(reader, _Node(fields, node.line), number, step, style)
    if not kind_node.value:
        raise reader.fail(kind_node.line, f"{what}: kind lists no choice")
    found: list[StageChoices] = []
    for item in kind_node.value:
        own = reader.mapping(item, f"{what}: kind", _KIND) if isinstance(item.value, dict) else {"kind": item}
        inner = {"btn", "btn_ratio"}
        shared = {name: field for name, field in fields.items() if name not in inner or not inner & own.keys()}
        choices = _one_kind(reader, _Node({**shared, **own}, item.line), number, step, style)
        if choices.kind in {other.kind for other in found}:
            raise reader.fail(item.line, f"{what}: kind {choices.kind!r} stands twice")
        found.append(choices)
    return dataclasses.replace(found[0], others=tuple(found[1:]))


def _one_kind(reader: _Reader, node: _Node, number: int, step: int, style: str) -> StageChoices:
    what, fields = f"stage {number}", node.value
    kind_node = reader.need(fields, "kind", node.line, what)
    if not isinstance(kind_node.value, str):
        raise reader.fail(kind_node.line, f"{what}: kind {kind_node.value!r} must be the name of a block kind")
    kind = kind_node.value
    if kind not in BLOCK_KINDS:
        raise reader.fail(kind_node.line, str(unknown_name("block kind", kind, BLOCK_KINDS)))
    if not fits_style(BLOCK_KINDS[kind], style):
        own_style = BLOCK_KINDS[kind].style
        rule = f"belongs to style {own_style!r}, the space has {style!r}"
        raise reader.fail(kind_node.line, f"{what}: kind {kind!r} {rule}")
    stride_node = reader.need(fields, "stride", node.line, what)
    if stride_node.value not in (1, 2):
        raise reader.fail(stride_node.line, f"{what}: stride {stride_node.value!r} must be 1 or 2")
    if ("btn" in fields) == ("btn_ratio" in fields):
        ways = "either btn (channels) or btn_ratio (ratios of out)"
        raise reader.fail(node.line, f"{what}: give {ways}, not both or none")
    outs = reader.choices(reader.need(fields, "out", node.line, what), f"{what}: out", step)
    if BLOCK_KINDS[kind].even_out and any(o % 2 for o in outs):
        raise reader.fail(fields["out"].line, f"{what}: out must be even in style {style}, which halves it")
    btns: tuple[float, ...]
    if "btn" in fields:
        btns = reader.choices(fields["btn"], f"{what}: btn", step)
    else:
        ratio = fields["btn_ratio"]
        items = ratio.value if isinstance(ratio.value, list) else [ratio]
        btns = tuple(sorted({reader.number(item, f"{what}: btn_ratio") for item in items}))
        if not btns:
            raise reader.fail(ratio.line, f"{what}: btn_ratio lists no choice")
    ks = reader.choices(fields["k"], f"{what}: k", 1) if "k" in fields else (3,)
    for k in ks:
        if k % 2 == 0 or k > 31:
            raise reader.fail(fields["k"].line, f"{what}: kernel {k} must be odd and at most 31")
    depths = reader.choices(reader.need(fields, "depth", node.line, what), f"{what}: depth", 1)
    return StageChoices(kind, int(stride_node.value), outs, btns, ks, depths, "btn_ratio" in fields)


def _rules(reader: _Reader, node: _Node | None) -> Rules:
    if node is None:
        return Rules()
    fields = reader.mapping(node, "rules", _RULES)
    values: dict[str, Any] = {}
    if "out_grows" in fields:
        values["out_grows"] = reader.flag(fields["out_grows"], "rules: out_grows")
    if "out_growth_max" in fields:
        values["out_growth_max"] = reader.number(fields["out_growth_max"], "rules: out_growth_max")
    if "btn_to_out" in fields:
        pair = fields["btn_to_out"]
        if not isinstance(pair.value, list) or len(pair.value) != 2:
            raise reader.fail(pair.line, "rules: btn_to_out must be a pair such as [0.1, 1.0]")
        low, high = (reader.number(item, "rules: btn_to_out") for item in pair.value)
        if low > high:
            problem = f"btn_to_out [{low}, {high}] is empty"
            raise reader.fail(pair.line, f"rules: {problem}: the first must not exceed the second")
        values["btn_to_out"] = (low, high)
    return Rules(**values)


def _levels(reader: _Reader, node: _Node | None) -> list[tuple[int, ...]]:
    """The choices of levels: strides such as ``[8, 16, 32]``, or a list of such lists."""
    if node is None:
        return [Neck().strides]
    lists = node.value if isinstance(node.value, list) else []
    groups = lists if any(isinstance(item.value, list) for item in lists) else [node]
    found: list[tuple[int, ...]] = []
    for group in groups:
        if not isinstance(group.value, list) or not group.value:
            raise reader.fail(group.line, "levels must be strides such as [8, 16, 32], or a list of such lists")
        levels = tuple(reader.whole(item, "levels: stride") for item in group.value)
        if levels in found:
            raise reader.fail(group.line, f"levels: {list(levels)} stands twice")
        begin = LEVEL_STRIDES.index(levels[0]) if levels[0] in LEVEL_STRIDES else 0
        if len(levels) < 2 or levels != LEVEL_STRIDES[begin : begin + len(levels)]:
            known = ", ".join(map(str, LEVEL_STRIDES))
            raise reader.fail(group.line, f"levels {list(levels)} must be two to four neighbors of {known}, in order")
        found.append(levels)
    return found


def _with_tail(reader: _Reader, space: Space, top: dict[str, _Node], levels: tuple[int, ...]) -> Space:
    """The space with its neck and head at these levels, and without stages beyond the coarsest one."""
    begin = 2 if space.focus else space.stem_stride
    strides = list(itertools.accumulate((stage.stride for stage in space.stages), operator.mul, initial=begin))[1:]
    # Where the levels are said, stages beyond the coarsest go; else they are an error, told when a detector is built.
    last = max((i for i, at in enumerate(strides) if at <= levels[-1] or "levels" not in top), default=-1)
    space = dataclasses.replace(space, stages=space.stages[: last + 1])
    neck_node, head_node = top.get("neck"), top.get("head")
    outs = _neck_outs(reader, neck_node, levels, space.channel_step)
    fixed = {"out": tuple(choices[0] for choices in outs), "strides": levels}
    neck, neck_choices = _settings(reader, neck_node, "neck", Neck, fixed)
    head, head_choices = _settings(reader, head_node, "head", Head, {})
    open_fields = (*neck_choices, *head_choices)
    tail = TailChoices(neck, head, outs, open_fields)
    line = (neck_node or head_node or next(iter(top.values()))).line
    combinations = math.prod(len(choices) for _, choices in open_fields)
    if max(math.prod(map(len, outs)), combinations) > MOST_CHOICES:
        rule = f"at most {MOST_CHOICES:,} widths of the neck and {MOST_CHOICES:,} settings of neck and head"
        there = f"{math.prod(map(len, outs)):,} and {combinations:,}"
        raise reader.fail(line, f"{rule} can be searched, and there are {there}")
    if not len(tail.widths):
        raise reader.fail(line, "neck: out leaves no choice: a level is at least as wide as the next finer one")
    first = tuple(int(width) for width in tail.widths[0])
    for structure in tail.structures:
        _checked(reader, neck_node, line, check_neck, dataclasses.replace(structure.neck, out=first))
        _checked(reader, head_node, line, check_head, structure.head)
    if not open_fields and not tail.open_levels:
        return dataclasses.replace(space, neck=neck, head=head)
    neck = dataclasses.replace(neck, out=first)
    return dataclasses.replace(space, neck=neck, head=head, tail=dataclasses.replace(tail, neck=neck))


def _checked(reader: _Reader, node: _Node | None, line: int, check: Callable[[Any], None], part: Any) -> None:
    """Check a neck or a head; an error names the line of its ``node``, else ``line``."""
    try:
        check(part)
    except BadInput as error:
        raise reader.fail(line if node is None else node.line, str(error)) from error


def _neck_outs(
    reader: _Reader, node: _Node | None, levels: tuple[int, ...], step: int
) -> tuple[tuple[int, ...], ...]:
    """Choices of the neck's widths by level: ``out`` is a list with an item a level, or a mapping from strides."""
    fields = node.value if node is not None and isinstance(node.value, dict) else {}
    if "out" not in fields:
        return tuple((width,) for width in Neck().out)
    out = fields["out"]
    if isinstance(out.value, dict):
        for stride, item in out.value.items():
            if stride not in map(str, LEVEL_STRIDES):
                raise reader.fail(item.line, f"neck: out has stride {stride}; a level has one of {LEVEL_STRIDES}")
        items = [out.value.get(str(stride)) for stride in levels]
        if None in items:
            raise reader.fail(out.line, f"neck: out lacks the stride {levels[items.index(None)]}")
    elif isinstance(out.value, list):
        items = list(out.value)
    else:
        raise reader.fail(out.line, f"neck: out {out.value!r} must be a list with the channels of every level")
    if len(items) != len(levels):
        names = ", ".join(map(str, levels))
        raise reader.fail(out.line, f"neck: out has {len(items)} items, and there are {len(levels)} levels: {names}")
    return tuple(reader.choices(item, "neck: out", step) for item in items if item is not None)


def _settings(
    reader: _Reader, node: _Node | None, what: str, kind: type, fixed: dict[str, Any]
) -> tuple[Any, list[tuple[str, tuple[Any, ...]]]]:
    """Neck or head with the first choice of everything, and the fields that a list leaves open.

    Each is checked by building it through ``Architecture``'s own reader. ``fixed`` fields are those of the caller.
    """
    if node is None:
        return kind(**fixed), []
    if not isinstance(node.value, dict):
        raise reader.fail(node.line, f"{what} must be a mapping")
    plain: dict[str, Any] = {}
    choices: list[tuple[str, tuple[Any, ...]]] = []
    items: tuple[Any, ...]
    types = {field.name: str(field.type) for field in dataclasses.fields(kind)}
    for key, value in node.value.items():
        if key == "strides":
            raise reader.fail(value.line, f"{what}: strides are not said here: write levels: [8, 16, 32] beside it")
        if key not in types:
            raise reader.fail(value.line, str(unknown_name(f"field of {what}", key, set(types) - {"strides"})))
        if key in fixed:
            continue
        if what == "neck" and key == "kind" and isinstance(value.value, list):
            forms = tuple(dict.fromkeys(_neck_form(reader, item, node.value) for item in value.value))
            if len(forms) != len(value.value) or not forms:
                raise reader.fail(value.line, "neck: kind must list different kinds, names or mappings")
            plain |= dict(forms[0].fields)
            choices += [("neck.kind", forms)] if len(forms) > 1 else []
            continue
        items = _field_choices(reader, value, types[key], f"{what}: {key}")
        plain[key] = items[0]
        if len(items) > 1:
            choices.append((f"{what}.{key}", items))
    fixed = {name: list(value) for name, value in fixed.items()}
    for place, (name, items) in enumerate(choices):
        key = name.partition(".")[2]
        if key != "kind":
            try:  # A whole number becomes a float where the field is one.
                items = tuple(getattr(read_fields(kind, plain | fixed | {key: item}, what), key) for item in items)
            except BadInput as error:
                raise reader.fail(node.value[key].line, str(error)) from error
            choices[place] = (name, items)
    try:
        for form in next((items for name, items in choices if name == "neck.kind"), ()):
            read_fields(kind, plain | fixed | dict(form.fields), what)
        return read_fields(kind, plain | fixed, what), choices
    except BadInput as error:
        raise reader.fail(node.line, str(error)) from error


def _field_choices(reader: _Reader, node: _Node, of: str, what: str) -> tuple[Any, ...]:
    """The choices of one field of neck or head whose type is ``of``: one value, a list of values or a range."""
    listed = reader.number_range(node, what) if of in ("int", "float") else None
    value = node.value if listed is None else listed.value
    if not isinstance(value, list):
        return (value,)
    if of.startswith("tuple"):
        return ([item.value for item in value],)
    items = tuple(dict.fromkeys(item.value for item in value if isinstance(item.value, (int, float, str))))
    if len(items) != len(value) or not items:
        raise reader.fail(node.line, f"{what} must list different numbers, words or true and false")
    return items


def _neck_form(reader: _Reader, node: _Node, neck: dict[str, _Node]) -> NeckForm:
    """One of several kinds of neck: a name, or a mapping with fields that go with it and stand nowhere else."""
    if not isinstance(node.value, dict):
        return NeckForm((("kind", str(node.value)),))
    fields = reader.mapping(node, "neck: kind", {"kind", "blocks", "depth", "hidden_ratio", "depthwise"})
    reader.need(fields, "kind", node.line, "neck: kind")
    for key in fields.keys() & (neck.keys() - {"kind"}):
        raise reader.fail(fields[key].line, f"neck: {key} stands both in the neck and in one of its kinds: keep one")
    values: list[tuple[str, Any]] = []
    for key, value in fields.items():
        if key in ("depth", "hidden_ratio"):
            values.append((key, reader.number(value, f"neck: {key} of one of several kinds")))
        else:
            listed = tuple(item.value for item in value.value) if isinstance(value.value, list) else value.value
            values.append((key, listed))
    return NeckForm(tuple(values))


def _first_row(space: Space) -> list[int]:
    """Any row of the space, to check that it makes a whole detector."""
    import numpy as np

    return [int(v) for v in space.sample(1, np.random.default_rng(0))[0]]
