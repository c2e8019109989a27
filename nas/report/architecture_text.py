"""An architecture or graph in the terminal: a table of stages and a tree of blocks, at most 110 columns wide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nas.report.neck_words import head_facts, head_lines, head_title, neck_facts, node_lines
from search_spaces.architecture import Architecture, Stage
from search_spaces.blocks import BLOCK_KINDS
from search_spaces.blocks.base import WholeStageKind
from search_spaces.graph import Graph
from search_spaces.lowering import lower, stage_flags
from search_spaces.neck import level_name
from search_spaces.necks import NECK_KINDS
from workbench.errors import BadInput

if TYPE_CHECKING:
    from nas.devices.profile import DeviceProfile

WIDTH = 110
"""Maximum width of every drawing in columns."""

_BOXES = {False: ("├─ ", "└─ ", "│  ", "─", "→", "×"), True: ("|- ", "`- ", "|  ", "-", "->", "x")}


def architecture_text(
    arch: Architecture, input_px: int = 640, profile: DeviceProfile | None = None, ascii: bool = False
) -> str:
    """Table and tree of one architecture at an input side in pixels; ``ascii`` draws without Unicode."""
    return architecture_table(arch, input_px, profile, ascii) + "\n\n" + architecture_tree(arch, ascii)


def piece_costs(arch: Architecture, input_px: int, profile: DeviceProfile | None = None) -> dict[str, dict[str, float]]:
    """``params``, ``flops`` and, with a device, ``ms`` of stem, every stage, neck and head, in that order."""
    step = arch.level_strides[-1]
    if input_px % step or input_px < 64:
        raise BadInput(
            f"input {input_px} must be a multiple of {step} of at least 64 pixels: the coarsest stride is {step}"
        )
    graph = lower(arch, "backbone" if arch.neck is None else "detector")
    columns = graph.table(input_px)
    ticks = None if profile is None else profile.op_ticks(columns)
    names = np.array([name.split(".")[0] for name in columns.names])
    pieces: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(names.tolist()):
        ops = names == name
        piece = {"params": float(columns.params[ops].sum()), "flops": 2 * float(columns.macs[ops].sum())}
        if profile is not None and ticks is not None:
            piece["ms"] = int(ticks[ops].sum()) * profile.tick_ms
        pieces[name] = piece
    return pieces


def architecture_table(
    arch: Architecture, input_px: int = 640, profile: DeviceProfile | None = None, ascii: bool = False
) -> str:
    """One row per stage: shape, settings, parameters, GFLOPs and, with a device, milliseconds; then the totals."""
    pieces = piece_costs(arch, input_px, profile)
    stem, blank = arch.stem, [""] * 8
    cin = 12 if stem.focus else 3
    kind = "focus conv" if stem.focus else "conv"
    rows = [["stem", kind, stem.stride, input_px // stem.stride, cin, "", stem.out, stem.k, 1]]
    cin = stem.out
    for number, (stage, stride) in enumerate(zip(arch.stages, arch.strides, strict=True), start=1):
        btn = "" if stage.kind == "conv" else stage.btn
        map_px = -(-input_px // stride)
        rows.append([f"stage{number}", stage.kind, stride, map_px, cin, btn, stage.out, stage.k, stage.depth])
        cin = stage.out
    if arch.neck is not None and arch.head is not None:
        neck, head = arch.neck, arch.head
        taps, widths = ("/".join(map(str, channels)) for channels in (arch.tap_channels, neck.out))
        neck_kind, strides = NECK_KINDS[neck.kind], f"{neck.strides[0]}-{neck.strides[-1]}"
        rows.append(["neck", neck_kind.title, strides, "", taps, "", widths, 3, neck_kind.blocks(neck)])
        name = "conv head" if head.convs else head_title(head)
        inner = head.width or ""
        rows.append(["head", name, strides, "", widths, inner, f"{head.classes} classes", head.k, head.convs + 1])
    cells = [[str(value) for value in row] + _costs(pieces[str(row[0])], profile is not None) for row in rows]
    total = {key: sum(piece[key] for piece in pieces.values()) for key in pieces["stem"]}
    if profile is not None:
        fixed_ms = profile.fixed_ticks * profile.tick_ms
        cells.append(["fixed", f"on {profile.name}"[:20], *blank[1:], "", "", f"{fixed_ms:.3f}"])
        total["ms"] += fixed_ms
    footer = ["total", "", *blank[1:], *_costs(total, profile is not None)]
    header = ["stage", "kind", "stride", "map", "in", "btn", "out", "k", "depth", "params", "GFLOPs"]
    return _table(header + (["ms"] if profile is not None else []), cells, footer, ascii)


def architecture_tree(arch: Architecture, ascii: bool = False) -> str:
    """Stem, stages with their blocks, merge nodes of the neck and levels of the head."""
    to, times = _BOXES[ascii][4:]
    after = f", k{arch.stem.k}, after focus" if arch.stem.focus else f", k{arch.stem.k}, stride {arch.stem.stride}"
    top: list[tuple[str, list[str]]] = [(f"stem: {arch.stem.out} channels{after}", [])]
    names = [level_name(stride).upper() for stride in arch.level_strides]
    taps = dict(zip(arch.taps, names, strict=True)) if arch.neck is not None else {}
    cin = arch.stem.out
    for i, (stage, stride) in enumerate(zip(arch.stages, arch.strides, strict=True)):
        blocks = _blocks(arch, i, cin, ascii)
        label = f"stage{i + 1} (1/{stride}): {stage.depth} {times} {stage.kind}, k{stage.k}"
        top.append((label + (f", gives {taps[i]}" if i in taps else ""), blocks))
        cin = stage.out
    if arch.neck is not None and arch.head is not None:
        title = NECK_KINDS[arch.neck.kind].title
        top.append((f"neck: {title}, {neck_facts(arch.neck, times)}", node_lines(arch, to)))
        top.append((f"head: {head_title(arch.head)}, {head_facts(arch.head)}", head_lines(arch, to, times)))
    return "\n".join([_clip(f"{arch.name or arch.digest()} ({arch.style}, {arch.act})"), *_branches(top, ascii)])


def _blocks(arch: Architecture, index: int, cin: int, ascii: bool) -> list[str]:
    """The blocks of one stage from input to output; equal neighbours share a line."""
    to, times = _BOXES[ascii][4:]
    stage, flags = arch.stages[index], stage_flags(arch.style, arch.stages, index, arch.spp)
    pyramid = ["SPP: max-pools of 5, 9 and 13"] if flags["spp"] else []
    if stage.kind == "kxkx":
        return _csp_blocks(stage, cin, flags["closes"], pyramid, to, times)
    if isinstance(BLOCK_KINDS[stage.kind], WholeStageKind):
        down = ", stride 2" if stage.stride == 2 else ""
        return [f"{cin} {to} {stage.depth} {times} {stage.btn} {to} {stage.out}{down}", *pyramid]
    inner = "" if stage.kind in ("conv", "repvgg") else f" {to} {stage.btn}"
    blocks = [f"block 1: {cin}{inner} {to} {stage.out}" + (", stride 2" if stage.stride == 2 else ""), *pyramid]
    if stage.depth > 1:
        which = "block 2" if stage.depth == 2 else f"blocks 2-{stage.depth}"
        blocks.append(f"{which}: {stage.out}{inner} {to} {stage.out}")
    return blocks


def _csp_blocks(stage: Stage, cin: int, closes: bool, pyramid: list[str], to: str, times: str) -> list[str]:
    """DAMO-YOLO's csp wrapping: blocks of half width between a 1x1 start and a 1x1 fuse with the shortcut."""
    half, lines = stage.out // 2, []
    width, count = cin // 2, stage.depth
    if stage.stride == 2:
        lines = [f"down 3{times}3: {cin} {to} {stage.out}, stride 2", *pyramid]
        if closes and stage.depth == 1:
            return lines
        lines.append(f"start 1{times}1: {stage.out} {to} {half}")
        width, count = half, stage.depth - 1
    if count and width != half:
        lines.append(f"1 block: {width} {to} {stage.btn} {to} {half}")
        count -= 1
    if count:
        lines.append(f"{count} block{'s' if count > 1 else ''}: {half} {to} {stage.btn} {to} {half}")
    return [*lines, f"fuse 1{times}1 with the shortcut {to} {stage.out}"] if closes else lines


def graph_text(graph: Graph, input_px: int = 640) -> str:
    """Totals by kind of op, for a network that is not an ``Architecture``."""
    size = graph.fixed_px
    columns = graph.table(None if size else input_px)
    height, width = size or (input_px, input_px)
    kinds = np.array(columns.kinds)
    cells, total = [], np.zeros(4)
    for kind in sorted(set(columns.kinds)):
        ops = kinds == kind
        macs, outputs = columns.macs[ops].sum(), columns.out_elems[ops].sum()
        row = np.array([ops.sum(), columns.params[ops].sum(), 2 * macs, outputs])
        total += row
        cells.append([kind, *_graph_numbers(row)])
    header = ["op", "count", "params", "GFLOPs", "M outputs"]
    title = _clip(f"{graph.name or graph.digest()} at {width} x {height} pixels")
    footer = ["total", *_graph_numbers(total)]
    return title + "\n" + _table(header, cells, footer, ascii=True, text_columns=1)


def _graph_numbers(row: np.ndarray) -> list[str]:
    return [f"{int(row[0]):,}", f"{round(row[1]):,}", f"{row[2] / 1e9:,.3f}", f"{row[3] / 1e6:,.3f}"]


def _costs(piece: dict[str, float], with_ms: bool) -> list[str]:
    """Cells with parameters, GFLOPs and milliseconds; huge numbers abbreviated."""
    params, gflops = piece["params"], piece["flops"] / 1e9
    numbers = [f"{round(params):,}" if params < 1e9 else f"{params / 1e9:,.2f}G"]
    numbers.append(f"{gflops:,.{2 if gflops < 1e4 else 0}f}")
    return [*numbers, f"{piece['ms']:,.{3 if piece['ms'] < 1e4 else 0}f}"] if with_ms else numbers


def _table(
    header: Sequence[str], rows: Sequence[Sequence[str]], footer: Sequence[str], ascii: bool, text_columns: int = 2
) -> str:
    """Header, rows and a footer between rules; text left-aligned, numbers right-aligned."""
    widths = [max(len(row[i]) for row in (header, *rows, footer)) for i in range(len(header))]
    gap = "  " if sum(widths) + 2 * (len(widths) - 1) <= WIDTH else " "

    def line(values: Sequence[str]) -> str:
        pairs = enumerate(zip(values, widths, strict=True))
        cells = [v.ljust(w) if i < text_columns else v.rjust(w) for i, (v, w) in pairs]
        return gap.join(cells).rstrip()

    rule = gap.join(_BOXES[ascii][3] * width for width in widths)
    return "\n".join([line(header), rule, *(line(row) for row in rows), rule, line(footer)])


def _branches(top: Sequence[tuple[str, Sequence[str]]], ascii: bool) -> list[str]:
    mid, end, bar = _BOXES[ascii][:3]
    lines = []
    for i, (label, children) in enumerate(top):
        last = i == len(top) - 1
        lines.append(_clip((end if last else mid) + label))
        for j, child in enumerate(children):
            lines.append(_clip(("   " if last else bar) + (end if j == len(children) - 1 else mid) + child))
    return lines


def _clip(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."
