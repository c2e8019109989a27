"""TinyNAS structure text, in and out.

Two dialects describe the same stages. TinyNAS (the searcher) writes ``SuperResK1KX`` and gives the
stem the 12 channels that follow a focus layer; DAMO-YOLO (the trainer) writes ``SuperResConvK1KX``,
gives the stem 3 channels and adds the focus itself. ``parse`` reads both, ``to_text`` writes either.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from typing import Any

from search_spaces.architecture import DETECTOR_STRIDES, MOST, Architecture, Stage, Stem
from search_spaces.blocks import BLOCK_KINDS
from search_spaces.blocks.base import ANY_STYLE, MIXED_STYLE
from search_spaces.rounding import divisible
from workbench.errors import BadInput, unknown_name
from workbench.printable import cut, one_line, shown

MOST_BYTES = 2**20
"""Largest text; Python's parser takes hundreds of bytes of memory for each of them."""
MOST_BLOCKS = 1000
SPELLINGS = ("tinynas", "damo")
STEM_CLASS = "ConvKXBNRELU"
DAMO_MOB_KERNEL = 5
"""Kernel of every depthwise conv in DAMO-YOLO's mobile backbone, whatever the text says."""

_FIELDS = {"class", "in", "out", "k", "s", "L", "btn", "inner_class"}
_IGNORED = {"nbitsA", "nbitsW", "force_resproj_skip"}
"""Quantisation settings of TinyNAS texts, ignored as DAMO-YOLO ignores them."""


def damo_mob_btn(out: int, position: int) -> int:
    """Expanded channels of DAMO-YOLO's mobile block: ratio 3.5 at stage 1, half more a stage."""
    return int(divisible(math.ceil(out * (3.5 + (position - 1) * 0.5))))


def parse(text: str, style: str | None = None, where: str = "TinyNAS text") -> Architecture:
    """Read structure text: a Python list of dicts, as both projects store it. Nothing is executed.

    ``style="mob"`` reads DAMO-YOLO's ``SuperResConvK1KX`` as its mobile backbone, which the text
    alone cannot tell from ``res``. The result is a bare backbone.
    """
    try:
        data = ast.literal_eval("".join(line.strip() for line in text.strip().splitlines()))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise BadInput(f"{where}: not a list of dicts: {cut(one_line(error), 200)}") from error
    if isinstance(data, Mapping) and "best_structures" in data:  # TinyNAS's own result file
        data = data["best_structures"]
        if not isinstance(data, Sequence) or not data:
            raise BadInput(f"{where}: best_structures is {shown(data)}; it must be a list with a structure")
        data = data[0]
    if isinstance(data, Mapping) and "space_arch" in data:
        if "structure_info" not in data:
            raise BadInput(f"{where}: a structure with space_arch lacks the field 'structure_info'")
        data = data["structure_info"]
    return parse_structure(data, style, where)


def parse_structure(data: Any, style: str | None = None, where: str = "TinyNAS structure") -> Architecture:
    """Read the list of dicts itself. Every unknown, missing or wrong field is named."""
    if not isinstance(data, Sequence) or isinstance(data, str) or len(data) < 2:
        raise BadInput(f"{where}: expected a list with a {STEM_CLASS} stem and at least one SuperRes stage")
    if len(data) > MOST_BLOCKS:
        raise BadInput(f"{where}: {len(data):,} blocks, and at most {MOST_BLOCKS:,} are read")
    blocks = [_check_fields(item, i, where) for i, item in enumerate(data)]
    if blocks[0]["class"] != STEM_CLASS:
        raise BadInput(f"{where}: block 0 is {blocks[0]['class']!r}; the first block must be {STEM_CLASS!r}")
    damo = any(b["class"].startswith("SuperResConv") for b in blocks[1:])
    mobile = damo and style == "mob"
    kind_of_class = {kind.tinynas: name for name, kind in BLOCK_KINDS.items() if kind.tinynas}
    stages = []
    previous = blocks[0]["out"]
    for i, block in enumerate(blocks[1:], start=1):
        name = block["class"].replace("SuperResConv", "SuperRes")
        if name not in kind_of_class:
            raise unknown_name(f"class in {where}, block {i}:", block["class"], [STEM_CLASS, *kind_of_class])
        if block["in"] != previous:
            raise BadInput(f"{where}: block {i} has in={block['in']}, but the block before it puts out {previous}")
        previous = block["out"]
        if mobile:
            btn = damo_mob_btn(block["out"], i)
            stages.append(Stage("k1dwk1", block["out"], btn, DAMO_MOB_KERNEL, block["s"], block["L"]))
        else:
            stages.append(Stage(kind_of_class[name], block["out"], block["btn"], block["k"], block["s"], block["L"]))
    kinds = {BLOCK_KINDS[stage.kind].style for stage in stages} - {ANY_STYLE} or {"res"}
    if len(kinds) > 1:
        raise BadInput(f"{where}: stages of several styles in one text: {', '.join(sorted(kinds))}")
    first = blocks[0]
    if first["in"] not in (3, 12):
        raise BadInput(f"{where}: block 0 has in={first['in']}; it must be 3 (image) or 12 (after focus)")
    focus = first["in"] == 12 or (damo and not mobile and first["s"] == 1)
    stride = 2 if focus or mobile else first["s"]
    act = "silu" if damo and kinds != {"res"} else "relu"
    return Architecture(kinds.pop(), Stem(first["out"], first["k"], focus, stride), tuple(stages), act, spp=damo)


def to_structure(arch: Architecture, spelling: str = "tinynas") -> list[dict[str, Any]]:
    """The list of dicts in one dialect; what the dialect cannot say raises ``BadInput``."""
    if spelling not in SPELLINGS:
        raise unknown_name("spelling", spelling, SPELLINGS)
    if arch.style == MIXED_STYLE:
        raise BadInput(f"TinyNAS's text has no backbone of style {MIXED_STYLE!r}: store the architecture as YAML")
    for position, stage in enumerate(arch.stages, start=1):
        if not BLOCK_KINDS[stage.kind].tinynas:
            rule = f"TinyNAS's text has no block kind {stage.kind!r}"
            raise BadInput(f"stage {position}: {rule}: store the architecture as YAML")
    damo = spelling == "damo"
    if damo and (arch.style == "bottleneck" or not all(BLOCK_KINDS[s.kind].in_damo_yolo for s in arch.stages)):
        style = f"style {arch.style!r}"
        raise BadInput(f"DAMO-YOLO has no backbone of {style} with these blocks: use the 'tinynas' spelling")
    if damo and arch.style in ("res", "csp") and not arch.stem.focus and arch.stem.stride == 1:
        raise BadInput("DAMO-YOLO's backbones begin at stride 2: this stem has stride 1 and no focus")
    if damo:
        _check_damo_detector(arch)
    stem_stride = 1 if arch.stem.focus or (damo and arch.style == "mob") else arch.stem.stride
    stem_in = 12 if arch.stem.focus and not damo else 3
    out: list[dict[str, Any]] = [
        {"class": STEM_CLASS, "in": stem_in, "out": arch.stem.out, "s": stem_stride, "k": arch.stem.k}
    ]
    previous = arch.stem.out
    for position, stage in enumerate(arch.stages, start=1):
        name = BLOCK_KINDS[stage.kind].tinynas
        if damo and arch.style == "mob":
            want = damo_mob_btn(stage.out, position)
            if (stage.k, stage.btn) != (DAMO_MOB_KERNEL, want):
                raise BadInput(
                    f"stage {position}: k={stage.k}, btn={stage.btn}, but DAMO-YOLO's mobile block always has "
                    f"k={DAMO_MOB_KERNEL}, btn={want} at out={stage.out}: "
                    "search with the default 'mob' space to stay trainable there"
                )
            name = "SuperResK1KX"
        block = {"class": name.replace("SuperRes", "SuperResConv") if damo else name, "in": previous, "out": stage.out}
        block |= {"s": stage.stride, "k": stage.k, "L": stage.depth, "btn": stage.btn}
        if BLOCK_KINDS[stage.kind].tinynas == STEM_CLASS:  # a plain conv has neither
            block = {key: value for key, value in block.items() if key not in ("L", "btn")}
        elif damo:
            block["inner_class"] = str(block["class"]).removeprefix("Super")
        out.append(block)
        previous = stage.out
    return out


def _check_damo_detector(arch: Architecture) -> None:
    """Raise ``BadInput`` for a neck or head that DAMO-YOLO's code cannot build; the text itself never says them."""
    neck, head = arch.neck, arch.head
    what = ""
    if neck is not None and (neck.kind != "repgfpn" or neck.strides != DETECTOR_STRIDES):
        what = f"neck of kind {neck.kind!r} over strides {', '.join(map(str, neck.strides))}"
    elif head is not None and (head.convs or not head.reg_max):
        what = f"head with convs {head.convs} and reg_max {head.reg_max}"
    if what:
        raise BadInput(
            f"DAMO-YOLO has no {what}, only RepGFPN over 8, 16, 32 and heads of one convolution with box bins: use the "
            "'tinynas' spelling, which is of the backbone alone"
        )


def to_text(arch: Architecture, spelling: str = "tinynas") -> str:
    """Structure text, one block a line, ready for a TinyNAS or DAMO-YOLO config."""
    return "[" + ",\n ".join(repr(block) for block in to_structure(arch, spelling)) + "]\n"


def _check_fields(block: Any, index: int, where: str) -> dict[str, Any]:
    if not isinstance(block, Mapping):
        raise BadInput(f"{where}: block {index} is {shown(block)}; every block must be a dict")
    for key in block:
        if key not in _FIELDS | _IGNORED:
            raise unknown_name(f"field in {where}, block {index}:", str(key), _FIELDS)
    wanted = ["class", "in", "out"] + ([] if block.get("class") == STEM_CLASS else ["k", "L", "btn"])
    for key in wanted:
        if key not in block:
            raise BadInput(f"{where}: block {index} lacks the field {key!r}")
    values: dict[str, Any] = {"s": 1, "k": 3, "L": 1, "btn": block["out"]}
    values |= {key: value for key, value in block.items() if key in _FIELDS}
    if not isinstance(values["class"], str):
        raise BadInput(f"{where}: block {index}: class={shown(values['class'])} must be a name")
    for key in ("in", "out", "k", "s", "L", "btn"):
        value = values.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST:
            rule = f"must be a whole number of at least 1 and at most {MOST}"
            raise BadInput(f"{where}: block {index}: {key}={shown(value)} {rule}")
    return values
