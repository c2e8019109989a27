"""A comparison as a Markdown page: the sentences, the table, and the sources."""

from __future__ import annotations

import re

from nas.comparison.comparison import Comparison, row_cells

FOREIGN = (0, 1, -2, -1)
"""Cells with foreign text: name, family, NMS and licence."""


def markdown(comparison: Comparison, title: str) -> str:
    """The whole page. Foreign text cannot leave its cell, nor add HTML or links."""
    times, fronts = comparison.times, comparison.fronts()
    header, _ = comparison.to_table()
    align = ["---", "---", *["---:"] * (len(times) + 5), "---", "---"]
    lines = [f"# {escaped(title)}", "", *(f"- {escaped(sentence)}" for sentence in comparison.sentences())]
    lines += [f"- {escaped(note)}" for note in comparison.notes]
    lines += ["", _line([escaped(cell) for cell in header]), _line(align)]
    for row in comparison.ordered():
        cells = row_cells(row, times, fronts, "**{}**")
        for place in FOREIGN:
            cells[place] = escaped(cells[place])
        lines.append(_line(cells))
    legend = "**Bold** milliseconds: on the front of its own series. AP: IoU 0.50:0.95, in percent. `–`: not known."
    lines += ["", legend, ""]
    lines += [f"- {escaped(axis.label)} ({axis.kind}): {escaped(axis.note)}" for axis in times]
    lines += [f"- {escaped(series.label)}: {escaped(series.note)}" for series in comparison.series]
    lines += ["", "## Sources and notes", ""]
    for row in comparison.ordered():
        facts = [*row.facts, *([("AP", row.accuracy.source)] if row.accuracy and row.accuracy.budget else [])]
        text = "; ".join(f"{escaped(name)}: {escaped(value)}" for name, value in facts)
        lines.append(f"- **{escaped(row.name)}** {text}")
    return "\n".join(lines) + "\n"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def escaped(text: str) -> str:
    """Text that Markdown shows literally: one line, no markup, no HTML."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", line)
