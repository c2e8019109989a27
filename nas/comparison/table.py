"""A comparison as a Markdown page: the verdicts, the table, and where everything comes from."""

from __future__ import annotations

import re

from nas.comparison.fronts import Front, front_sentences, fronts
from nas.comparison.rows import COST, PUBLISHED, Axis, Comparison, ComparisonRow
from nas.comparison.text import number, span


def markdown(comparison: Comparison, title: str) -> str:
    """The whole page. Names cannot break out of a cell or bring HTML or links with them."""
    times = [axis for axis in comparison.axes if axis.kind != COST]
    found = fronts(comparison)
    header = ["network", "family", "px", "published AP", "own AP", *(f"{axis.kind} ms, {axis.label}" for axis in times), "GFLOPs", "Mparams", "NMS", "weights"]
    sides = ["---", "---", *["---:"] * (len(times) + 5), "---", "---"]
    lines = [f"# {escaped(title)}", "", *(f"- {escaped(sentence)}" for sentence in front_sentences(comparison))]
    lines += [f"- {escaped(note)}" for note in comparison.notes]
    lines += ["", _line([escaped(cell) for cell in header]), _line(sides)]
    lines += [_line(_cells(row, times, found)) for row in ordered(comparison)]
    lines += ["", "**Bold** milliseconds: on the front of its own series. AP: IoU 0.50:0.95, in percent. `–`: not known.", ""]
    lines += [f"- {escaped(axis.label)} ({axis.kind}): {escaped(axis.note)}" for axis in times]
    lines += [f"- {escaped(series.label)}: {escaped(series.note)}" for series in comparison.series]
    lines += ["", "## Sources and notes", ""]
    for row in ordered(comparison):
        facts = [*row.facts, *([("AP", row.accuracy.source)] if row.accuracy and row.accuracy.budget else [])]
        lines.append(f"- **{escaped(row.name)}** " + "; ".join(f"{escaped(what)}: {escaped(said)}" for what, said in facts))
    return "\n".join(lines) + "\n"


def ordered(comparison: Comparison) -> list[ComparisonRow]:
    """Found and trained rows first, in the order given, then the zoo family by family."""
    return sorted(comparison.rows, key=lambda row: row.kind == "zoo")


def on_front(row: ComparisonRow, axis: Axis, found: list[Front]) -> str:
    """``front``, ``maybe`` (within the intervals), or nothing."""
    for one in found:
        if row.accuracy and one.axis == axis.key and one.series == row.accuracy.series:
            return "front" if row.name in one.members else "maybe" if row.name in one.open else ""
    return ""


def _cells(row: ComparisonRow, times: list[Axis], found: list[Front]) -> list[str]:
    ap = None if row.accuracy is None else f"{row.accuracy.ap:.1f}"
    published = row.accuracy is not None and row.accuracy.series == PUBLISHED
    latencies = []
    for axis in times:
        reading = row.values.get(axis.key)
        shown = "–" if reading is None else number(reading.value)
        if on_front(row, axis, found) == "front":
            shown = f"**{shown}**"
        latencies.append(shown + (f" ({span(reading)})" if reading is not None and span(reading) else ""))
    return [
        escaped(row.name), escaped(row.family), str(row.input_px), (ap or "–") if published else "–", (ap or "–") if not published else "–", *latencies,
        number(row.flops / 1e9), number(row.params / 1e6), escaped(row.nms), escaped(row.licence),
    ]  # fmt: skip


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is: one line, no markup, no HTML."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", line)
