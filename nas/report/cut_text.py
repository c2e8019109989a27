"""A cut network in the terminal: what stays of it, and the widths of its layers, at most 110 columns wide."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from nas.report.architecture_text import WIDTH
from workbench.console import table

if TYPE_CHECKING:
    from zoo.pruning.group_widths import GroupWidth
    from zoo.pruning.summary import CutSummary

BAR_COLUMNS = 16
BLOCKS = {False: ("█", "░"), True: ("#", ".")}
"""What stays and what is cut, in a bar; in ASCII by ``True``."""


def cut_text(summary: CutSummary, ascii: bool = False) -> str:
    """The summary in a line, and a row for each module: its channels that can be cut, and the widths that stay."""
    modules: dict[str, list[GroupWidth]] = {}
    for width in summary.widths:
        modules.setdefault(width.module, []).append(width)
    rows = []
    for module, widths in modules.items():
        channels, kept = sum(width.channels for width in widths), sum(width.kept for width in widths)
        rows.append([module, channels, kept, _bar(kept / channels, ascii), _widths(widths)])
    header = ["module", "channels", "kept", "", "widths of its channel groups (- skipped)"]
    lines = [line if len(line) <= WIDTH else line[: WIDTH - 3] + "..." for line in table(header, rows).splitlines()]
    return "\n".join([*textwrap.wrap(summary.text(), WIDTH), "", *lines])


def _bar(share: float, ascii: bool) -> str:
    full, empty = BLOCKS[ascii]
    filled = round(BAR_COLUMNS * share)
    return full * filled + empty * (BAR_COLUMNS - filled)


def _widths(widths: list[GroupWidth]) -> str:
    return " ".join("-" if width.removed else str(width.kept) for width in widths)
