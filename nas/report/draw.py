"""A detector drawn in the terminal: a table a stage and a tree of its blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nas.console import cell, table
from search_spaces.architecture import Architecture
from search_spaces.graph import Graph
from search_spaces.lowering import lower

if TYPE_CHECKING:
    from nas.latency.profile import DeviceProfile


def architecture_text(arch: Architecture, input_px: int = 640, profile: DeviceProfile | None = None, plain: bool = False) -> str:
    """Table and tree; ``plain`` draws with ASCII alone."""
    return architecture_table(arch, input_px, profile) + "\n\n" + architecture_tree(arch, plain)


def piece_costs(arch: Architecture, input_px: int, profile: DeviceProfile | None = None) -> dict[str, dict[str, float]]:
    """Parameters, FLOPs and (with a device) milliseconds of stem, every stage, neck and head."""
    graph = lower(arch, "backbone" if arch.neck is None else "detector")
    columns = graph.table(input_px)
    ms = np.zeros(len(graph)) if profile is None else profile.op_ticks(columns) * profile.tick_ms
    pieces: dict[str, dict[str, float]] = {}
    for i, name in enumerate(columns.names):
        piece = pieces.setdefault(name.split(".")[0], {"params": 0.0, "flops": 0.0, "ms": 0.0})
        piece["params"] += float(columns.params[i])
        piece["flops"] += 2 * float(columns.macs[i])
        piece["ms"] += float(ms[i])
    return pieces


def architecture_table(arch: Architecture, input_px: int = 640, profile: DeviceProfile | None = None) -> str:
    """One row a piece: shape, settings, parameters, GFLOPs and, with a device, milliseconds."""
    pieces = piece_costs(arch, input_px, profile)
    rows: list[list[Any]] = []
    side, cin = input_px // arch.stem.stride, 12 if arch.stem.focus else 3
    rows.append(["stem", "focus+conv" if arch.stem.focus else "conv", side, cin, None, arch.stem.out, arch.stem.k, 1])
    cin = arch.stem.out
    for stage, stride in zip(arch.stages, arch.strides, strict=True):
        rows.append([f"stage{len(rows)}", stage.kind, input_px // stride, cin, stage.btn, stage.out, stage.k, stage.depth])
        cin = stage.out
    if arch.neck is not None and arch.head is not None:
        rows.append(["neck", "RepGFPN", None, None, None, "/".join(map(str, arch.neck.out)), None, round(3 * arch.neck.depth)])
        rows.append(["head", "ZeroHead", None, None, None, f"{arch.head.classes} classes", arch.head.k, None])
    for row in rows:
        cost = pieces[row[0]]
        row += [cost["params"] / 1e6, cost["flops"] / 1e9, cost["ms"]]
    if profile is not None:
        rows.append(["fixed", profile.name, *[None] * 6, None, None, profile.fixed_ticks * profile.tick_ms])
    rows.append(["total", "", *[None] * 6, *(sum(float(r[i] or 0) for r in rows) for i in (8, 9, 10))])
    header = ["piece", "kind", "map", "in", "btn", "out", "k", "depth", "Mparams", "GFLOPs", "ms"]
    shown = [[cell(v) if v is not None else "" for v in row] for row in rows]
    if profile is None:
        header, shown = header[:-1], [row[:-1] for row in shown]
    return table(header, shown)


def architecture_tree(arch: Architecture, plain: bool = False) -> str:
    """Stem, stages with their blocks, and where the taps lead."""
    mid, end, bar, gap = ("|- ", "`- ", "|  ", "   ") if plain else ("├─ ", "└─ ", "│  ", "   ")
    top: list[tuple[str, list[str]]] = [(f"stem: {arch.stem.out} channels, k{arch.stem.k}" + (", after focus" if arch.stem.focus else ""), [])]
    taps = dict(zip(arch.taps, ("P3", "P4", "P5"), strict=True)) if arch.neck is not None else {}
    for i, (stage, stride) in enumerate(zip(arch.stages, arch.strides, strict=True)):
        blocks = [f"block {b}: {stage.btn} -> {stage.out}" + (", stride 2" if b == 0 and stage.stride == 2 else "") for b in range(stage.depth)]
        if arch.spp and i == len(arch.stages) - 1:
            blocks.insert(1 if arch.style != "csp" else 0, "SPP 5, 9, 13")
        label = f"stage {i + 1} (1/{stride}): {stage.depth} x {stage.kind}, k{stage.k}" + (f"  = {taps[i]}" if i in taps else "")
        top.append((label, blocks))
    if arch.neck is not None and arch.head is not None:
        n3, n4, n5 = arch.neck.out
        c3, c4, c5 = arch.tap_channels
        merges = [
            f"merge_3: P5, P4 down -> {c5}", f"merge_4: P4, P3 down, merge_3 up -> {c4}", f"merge_5: P3, merge_4 up -> {n3}",
            f"merge_7: merge_4, merge_5 down -> {n4}", f"merge_6: merge_3, merge_4 down, merge_7 down -> {n5}",
        ]  # fmt: skip
        top.append((f"neck: RepGFPN{', depth-wise' if arch.neck.depthwise else ''}, taps {c3}, {c4}, {c5}", merges))
        bins = arch.head.reg_max + 1
        top.append((f"head: ZeroHead, k{arch.head.k}", [f"{level}: {arch.head.classes} classes, 4 x {bins} bins" for level in ("P3", "P4", "P5")]))
    lines = [arch.name or arch.digest()]
    for i, (label, children) in enumerate(top):
        last = i == len(top) - 1
        lines.append((end if last else mid) + label)
        for j, child in enumerate(children):
            lines.append((gap if last else bar) + (end if j == len(children) - 1 else mid) + child)
    return "\n".join(lines)


def graph_text(graph: Graph, input_px: int = 640) -> str:
    """Totals by kind of op, for a network that is not one of our architectures."""
    columns = graph.table(None if graph.fixed_px else input_px)
    rows: list[list[Any]] = []
    for kind in sorted(set(columns.kinds)):
        mine = np.array([k == kind for k in columns.kinds])
        rows.append([kind, int(mine.sum()), float(columns.params[mine].sum()) / 1e6, 2 * float(columns.macs[mine].sum()) / 1e9, float(columns.out_elems[mine].sum()) / 1e6])
    rows.append(["total", len(graph), *(sum(r[i] for r in rows) for i in (2, 3, 4))])
    return f"{graph.name}\n" + table(["op", "count", "Mparams", "GFLOPs", "M outputs"], rows)
