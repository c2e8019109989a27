"""A comparison as one HTML file that opens anywhere: style, script and data inside, nothing fetched.

The table is written here and is complete without scripts; the script adds the plot, sorting and the toggles. All
foreign text is escaped, the data are in a block that is not a script, and a content policy allows only our own style
and script, by their hashes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib import resources

import workbench
from nas.comparison.comparison import Comparison, front_tag
from nas.comparison.formatting import NOT_KNOWN, number, span
from nas.comparison.fronts import Front
from nas.comparison.rows import PUBLISHED, ZOO, Axis, ComparisonRow
from workbench.html import page_head

COLOURS = 8
"""Number of colours and shapes of families in style and script; the first is for your own networks."""
TAGS = {"front": ("on", "front"), "maybe": ("may", "maybe")}
"""CSS class and text of a tag."""


def page(comparison: Comparison, title: str) -> str:
    """The whole file."""
    style, script = _asset("page.css"), _asset("page.js")
    return f"""{page_head(title, style, script)}
<body>
<header>
<h1>{escape(title)}</h1>
</header>
<main>
{_answer(comparison)}
{_plot(comparison)}
{_table(comparison)}
{_reading(comparison)}
{_sources(comparison)}
</main>
<footer><p>{_made_by()}</p></footer>
<script type="application/json" id="data">{_data(comparison)}</script>
<script>{script}</script>
</body>
</html>
"""


def _made_by() -> str:
    version = escape(workbench.__version__)
    return f"Made by nas compare {version}. This file fetches nothing and can be kept and passed on."


def _asset(name: str) -> str:
    return resources.files("nas.comparison").joinpath(name).read_text(encoding="utf-8")


def _data(comparison: Comparison) -> str:
    """JSON in which no character can end its block."""
    data = comparison.to_dict() | {"colours": colours(comparison)}
    text = json.dumps(data, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def colours(comparison: Comparison) -> dict[str, int]:
    """Family to the number of its colour and shape: from 1 for the zoo's in a fixed order, 0 for the others."""
    rivals = sorted({row.family for row in comparison.rows if row.kind == ZOO})
    numbers = {family: 1 + place % (COLOURS - 1) for place, family in enumerate(rivals)}
    return {family: numbers.get(family, 0) for family in comparison.families}


def _answer(comparison: Comparison) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in comparison.sentences())
    items += "".join(f"<li>Note: {escape(note)}</li>" for note in comparison.notes)
    heading = '<h2 id="answer">Which networks are on the front</h2>'
    return f'<section aria-labelledby="answer">{heading}<ul class="answer">{items}</ul></section>'


def _plot(comparison: Comparison) -> str:
    """Controls and the empty figure, which the script fills. Hidden without scripts."""
    kinds = {"predicted": "latency, predicted", "measured": "latency, measured", "cost": "cost"}
    groups = "".join(
        f'<optgroup label="{label}">{_axis_options(comparison, kind)}</optgroup>'
        for kind, label in kinds.items()
        if any(axis.kind == kind for axis in comparison.axes)
    )
    series = "".join(f'<option value="{escape(s.key)}">{escape(s.label)}</option>' for s in comparison.series)
    both = '<option value="*">all, each with its own front</option>' if len(comparison.series) > 1 else ""
    families = "".join(_family_box(family, colour) for family, colour in colours(comparison).items())
    return f"""<section id="plot" aria-labelledby="plot-title" hidden>
<h2 id="plot-title">Accuracy over latency</h2>
<div class="controls">
<label class="pick">Against <select id="axis">{groups}</select></label>
<label class="pick">Accuracy <select id="series">{series}{both}</select></label>
<label class="chip"><input type="checkbox" id="log" checked>log axis</label>
{_atlas_boxes(comparison)}<fieldset><legend>Families</legend>{families}</fieldset>
</div>
<p id="warning" class="warning" role="note" hidden>
These APs were evaluated on different images: compare only points of one front.</p>
<div class="figure">
<div id="chart"></div>
<div id="details" class="details"></div>
</div>
<p id="caption" class="caption" aria-live="polite"></p>
{_lines(comparison)}</section>
<noscript><p class="warning">The plot and sorting need scripts; every number is in the table.</p></noscript>"""


def _atlas_boxes(comparison: Comparison) -> str:
    """Whether the atlas is drawn, and whether all of it is in view; nothing without a background."""
    if not comparison.background.points:
        return ""
    boxes = (("atlas", " checked", "atlas behind"), ("wide", "", "whole atlas in view"))
    return "".join(
        f'<label class="chip"><input type="checkbox" id="{name}"{checked}>{text}</label>\n'
        for name, checked, text in boxes
    )


def _lines(comparison: Comparison) -> str:
    """The legend of the lines between parents and children; nothing where there are none."""
    if not any(row.origin is not None and row.origin.parent for row in comparison.rows):
        return ""
    line = '<svg class="f0" width="26" height="8" viewBox="0 0 26 8" aria-hidden="true">'
    line += '<path class="cut" d="M0 4H26"/></svg>'
    return f'<p class="caption">{line} joins a cut network with the parent that it is cut from.</p>\n'


def _axis_options(comparison: Comparison, kind: str) -> str:
    axes = (axis for axis in comparison.axes if axis.kind == kind)
    return "".join(f'<option value="{escape(axis.key)}">{escape(axis.label)} ({axis.unit})</option>' for axis in axes)


def _family_box(family: str, colour: int) -> str:
    """A checkbox with the family's colour, shape and name."""
    return (
        f'<label class="chip"><input type="checkbox" name="family" value="{escape(family)}" checked>'
        f'<svg class="f{colour}" width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true">'
        f'<path class="shape" data-shape="{colour}"/></svg>{escape(family)}</label>'
    )


def _table(comparison: Comparison) -> str:
    """Every number, one row per network."""
    times, fronts = comparison.times, comparison.fronts()
    heads = [("network", "text"), ("family", "text"), ("input px", "number")]
    heads += [("published AP", "number"), ("own AP", "number")]
    heads += [(f"{axis.kind} ms, {axis.label}", "number") for axis in times]
    heads += [("GFLOPs", "number"), ("params, M", "number"), ("NMS", "text"), ("licence of weights", "text")]
    head = "".join(
        f'<th scope="col" class="{kind}"><button type="button" data-kind="{kind}">{escape(text)}</button></th>'
        for text, kind in heads
    )
    body = "\n".join(_row(row, times, fronts) for row in comparison.ordered())
    return f"""<section aria-labelledby="numbers"><h2 id="numbers">All numbers</h2>
<p class="legend" id="legend">
AP is IoU 0.50:0.95 in percent; latency is of one image and the network alone, its interval in brackets.
<span class="tag on">front</span> no other network of the same AP series is as fast and as accurate.
<span class="tag may">maybe</span> within the intervals it might be on the front. † has a note below.</p>
<div class="scroll" role="group" aria-label="Table; scrolls sideways if it is wider than the window" tabindex="0">
<table id="table" aria-labelledby="numbers" aria-describedby="legend">
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody></table></div></section>"""


def _row(row: ComparisonRow, times: list[Axis], fronts: list[Front]) -> str:
    accuracy = row.accuracy
    published = accuracy is not None and accuracy.series == PUBLISHED
    ap = None if accuracy is None else accuracy.ap
    mark = "†" if accuracy is not None and accuracy.note else ""
    missing = "none yet" if accuracy is None and row.kind != ZOO else NOT_KNOWN
    cells = [_cell(row.family), _cell(str(row.input_px), row.input_px)]
    cells += [_ap(ap if published else None, mark, NOT_KNOWN), _ap(None if published else ap, mark, missing)]
    cells += [_time(row, axis, fronts) for axis in times]
    cells += [_cell(number(row.flops / 1e9), row.flops), _cell(number(row.params / 1e6), row.params)]
    cells += [_cell(row.nms), f'<td class="wide">{escape(row.licence)}</td>']
    origin = "" if row.origin is None else f", {row.origin}"
    kind = "" if row.kind == ZOO else f' <span class="kind">{escape(row.kind + origin)}</span>'
    head = f'<th scope="row">{escape(row.name)}{kind}</th>'
    return f'<tr class="{"rival" if row.kind == ZOO else "mine"}">{head}{"".join(cells)}</tr>'


def _time(row: ComparisonRow, axis: Axis, fronts: list[Front]) -> str:
    """A cell of latency with its interval and its tag."""
    reading = row.values.get(axis.key)
    if reading is None:
        return f'<td class="time" data-sort=""><span class="value">{NOT_KNOWN}</span></td>'
    tag = TAGS.get(front_tag(row, axis, fronts))
    content = f'<span class="value">{number(reading.value)}</span>'
    content += f' <span class="span">({span(reading)})</span>' if span(reading) else ""
    content += f' <span class="tag {tag[0]}">{tag[1]}</span>' if tag else ""
    return f'<td class="time" data-sort="{reading.value!r}">{content}</td>'


def _ap(ap: float | None, mark: str, missing: str) -> str:
    if ap is None:
        return f'<td class="number" data-sort="">{missing}</td>'
    return f'<td class="number" data-sort="{ap!r}">{ap:.1f}{mark}</td>'


def _cell(text: str, sort: float | str | None = None) -> str:
    if sort is None:
        return f"<td>{escape(text)}</td>"
    return f'<td class="number" data-sort="{sort}">{escape(text)}</td>'


def _reading(comparison: Comparison) -> str:
    """The meaning of axes and series."""
    items = [(f"{axis.kind}: {axis.label}", axis.note) for axis in comparison.axes if axis.note]
    items += [(series.label, series.note) for series in comparison.series]
    notes = _definitions(items)
    heading = '<h2 id="reading">How to read it</h2>'
    return f'<section aria-labelledby="reading">{heading}<dl class="notes">{notes}</dl></section>'


def _sources(comparison: Comparison) -> str:
    """The sources of every row, collapsed."""
    items = []
    for row in comparison.ordered():
        facts = [*row.facts, *([("AP", row.accuracy.source)] if row.accuracy and row.accuracy.budget else [])]
        items.append(f"<details><summary>{escape(row.name)}</summary><dl>{_definitions(facts)}</dl></details>")
    heading = '<h2 id="sources">Sources and notes</h2>'
    return f'<section aria-labelledby="sources">{heading}<div class="sources">{"".join(items)}</div></section>'


def _definitions(items: Sequence[tuple[str, str]]) -> str:
    return "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in items)
