"""Necks and heads in words, for the text and the drawing of an architecture."""

from __future__ import annotations

from search_spaces.architecture import Architecture
from search_spaces.head import Head
from search_spaces.neck import Neck, level_name
from search_spaces.necks import NECK_KINDS
from search_spaces.necks.base import SAME, map_name, node_block


def neck_facts(neck: Neck, times: str) -> str:
    """What all nodes have in common: ``3 fusion layers a node, hidden x 0.75, relu``."""
    blocks = NECK_KINDS[neck.kind].blocks(neck)
    layers = f"{blocks} {'block' if neck.blocks else 'fusion layer'}{'' if blocks == 1 and neck.blocks else 's'} a node"
    return f"{layers}, hidden {times} {neck.hidden_ratio:g}, {neck.act}{', depth-wise' if neck.depthwise else ''}"


def node_kind(neck: Neck, index: int) -> str:
    """Block kind of a node, empty where the neck has its own blocks."""
    return node_block(neck, index) if neck.blocks else ""


def node_lines(arch: Architecture, to: str) -> list[str]:
    """Every node in a line: its stride, its inputs, its output channels."""
    neck = arch.neck
    assert neck is not None
    kind = NECK_KINDS[neck.kind]
    nodes, widths = kind.nodes(neck.strides), kind.widths(neck, arch.tap_channels)
    maps = {map_name(stride): level_name(stride).upper() for stride in neck.strides}
    heads = [f"{node.name} (1/{neck.strides[node.level]}):" for node in nodes]
    lines = []
    for index, (node, head) in enumerate(zip(nodes, heads, strict=True)):
        inputs = ", ".join(
            maps.get(link.source, link.source) + ("" if link.move == SAME else f" {link.move}") for link in node.links
        )
        block = node_kind(neck, index)
        lines.append(
            f"{head.ljust(max(map(len, heads)))} {inputs} {to} {widths[node.name]}{f', {block}' if block else ''}"
        )
    return lines


def head_title(head: Head) -> str:
    """``ZeroHead``, or ``head with 2 convs``."""
    return f"head with {head.convs} conv{'s' if head.convs > 1 else ''}" if head.convs else "ZeroHead"


def head_facts(head: Head) -> str:
    """The convolutions before the predictions, and the kernel of these."""
    if not head.convs:
        return f"k{head.k}"
    width = f" of {head.width} channels" if head.width else ""
    return f"3x3{' depth-wise' if head.depthwise else ''}{width}, predictions k{head.k}"


def box_words(head: Head, times: str) -> str:
    """What a cell predicts of its box."""
    return f"4 {times} {head.reg_max + 1} box bins" if head.reg_max else "4 distances"


def whole_lines(arch: Architecture) -> list[str]:
    """Neck, head and input side in a line each, as far as the architecture has them."""
    lines = []
    if arch.neck is not None and arch.head is not None:
        neck, head = arch.neck, arch.head
        widths, strides = ("/".join(map(str, values)) for values in (neck.out, neck.strides))
        blocks = f" of {', '.join(neck.blocks)}" if neck.blocks else ""
        title = f"{NECK_KINDS[neck.kind].title}{blocks}"
        lines.append(f"neck: {title}, {widths} channels at strides {strides}, {neck_facts(neck, 'x')}")
        lines.append(f"head: {head_title(head)}, {head_facts(head)}, {head.classes} classes, {box_words(head, 'x')}")
    return lines if arch.input_px is None else [*lines, f"input: {arch.input_px} x {arch.input_px} pixels"]


def head_lines(arch: Architecture, to: str, times: str) -> list[str]:
    """Every level of the head in a line."""
    neck, head = arch.neck, arch.head
    assert neck is not None and head is not None
    ends = NECK_KINDS[neck.kind].outputs(neck.strides)
    return [
        f"{level_name(stride).upper()}: {end}, {width} {to} {head.classes} classes, {box_words(head, times)}"
        for stride, end, width in zip(neck.strides, ends, neck.out, strict=True)
    ]
