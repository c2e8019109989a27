"""A comparison as one HTML file that opens anywhere: style, script and data inside, nothing fetched.

The table is written here and is whole without any script; the script adds the plot, sorting and the toggles. Every
foreign text is escaped, the data stand in a block that is no script, and a content policy lets only our own style and
script run, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from importlib import resources

import workbench
from nas.comparison.fronts import Front, front_sentences, fronts
from nas.comparison.json_form import to_dict
from nas.comparison.rows import COST, PUBLISHED, ZOO, Axis, Comparison, ComparisonRow
from nas.comparison.table import on_front, ordered
from nas.comparison.text import number, span

COLOURS = 8
"""So many colours and shapes the style and the script know for families; the first is for what is yours."""
TAGS = {"front": ("on", "front"), "maybe": ("may", "maybe")}


def page(comparison: Comparison, title: str) -> str:
    """The whole file."""
    style, script = _asset("page.css"), _asset("page.js")
    policy = f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
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
<footer><p>Made by nas compare {escape(workbench.__version__)}. This file fetches nothing and can be kept and passed on.</p></footer>
<script type="application/json" id="data">{_data(comparison)}</script>
<script>{script}</script>
</body>
</html>
"""


def _asset(name: str) -> str:
    return resources.files("nas.comparison").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _data(comparison: Comparison) -> str:
    """JSON in which no character can end the block it stands in."""
    data = to_dict(comparison) | {"colours": colours(comparison)}
    text = json.dumps(data, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def colours(comparison: Comparison) -> dict[str, int]:
    """Family to the number of its colour and shape: 0 for what is no rival, the zoo's from 1 on in a fixed order."""
    rivals = sorted({row.family for row in comparison.rows if row.kind == ZOO})
    return {family: 1 + rivals.index(family) % (COLOURS - 1) if family in rivals else 0 for family in comparison.families}


def _answer(comparison: Comparison) -> str:
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in front_sentences(comparison))
    notes = "".join(f"<li>Note: {escape(note)}</li>" for note in comparison.notes)
    return f'<section aria-labelledby="answer"><h2 id="answer">Who is on the front</h2><ul class="answer">{said}{notes}</ul></section>'


def _plot(comparison: Comparison) -> str:
    """Controls and the empty figure; the script fills it. Hidden without a script."""
    kinds = {"predicted": "latency, predicted", "measured": "latency, measured", "cost": "cost"}
    groups = "".join(
        f'<optgroup label="{words}">' + "".join(f'<option value="{escape(a.key)}">{escape(a.label)} ({a.unit})</option>' for a in comparison.axes if a.kind == kind) + "</optgroup>"
        for kind, words in kinds.items()
        if any(axis.kind == kind for axis in comparison.axes)
    )
    series = "".join(f'<option value="{escape(s.key)}">{escape(s.label)}</option>' for s in comparison.series)
    both = '<option value="*">all, each with its own front</option>' if len(comparison.series) > 1 else ""
    number_of = colours(comparison)
    families = "".join(
        f'<label class="chip"><input type="checkbox" name="family" value="{escape(family)}" checked>'
        f'<svg class="f{number_of[family]}" width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true"><path class="shape" data-shape="{number_of[family]}"/></svg>'
        f"{escape(family)}</label>"
        for family in comparison.families
    )
    return f"""<section id="plot" aria-labelledby="plot-title" hidden>
<h2 id="plot-title">Accuracy over latency</h2>
<div class="controls">
<label class="pick">Against <select id="axis">{groups}</select></label>
<label class="pick">Accuracy <select id="series">{series}{both}</select></label>
<label class="chip"><input type="checkbox" id="log" checked>log axis</label>
<fieldset><legend>Families</legend>{families}</fieldset>
</div>
<p id="warning" class="warning" role="note" hidden>These APs were taken on different pictures: compare only points that share a front.</p>
<div class="figure">
<div id="chart"></div>
<div id="details" class="details"></div>
</div>
<p id="caption" class="caption" aria-live="polite"></p>
</section>
<noscript><p class="warning">The plot and sorting need scripts; every number stands in the table.</p></noscript>"""


def _table(comparison: Comparison) -> str:
    """Every number, one row a network."""
    times = [axis for axis in comparison.axes if axis.kind != COST]
    found = fronts(comparison)
    heads = [("network", "text"), ("family", "text"), ("input px", "number"), ("published AP", "number"), ("own AP", "number")]
    heads += [(f"{axis.kind} ms, {axis.label}", "number") for axis in times]
    heads += [("GFLOPs", "number"), ("params, M", "number"), ("NMS", "text"), ("licence of weights", "text")]
    head = "".join(f'<th scope="col" class="{kind}"><button type="button" data-kind="{kind}">{escape(text)}</button></th>' for text, kind in heads)
    body = "\n".join(_row(row, times, found) for row in ordered(comparison))
    return f"""<section aria-labelledby="numbers"><h2 id="numbers">All numbers</h2>
<p class="legend" id="legend">AP is IoU 0.50:0.95 in percent; latency is of one image, the bare network; in brackets its interval.
<span class="tag on">front</span> no other network of the same AP series is as fast and as accurate.
<span class="tag may">maybe</span> within the intervals it might be on the front. † has a note below.</p>
<div class="scroll" role="group" aria-label="Table; scrolls sideways where it is wider than the window" tabindex="0">
<table id="table" aria-labelledby="numbers" aria-describedby="legend">
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody></table></div></section>"""


def _row(row: ComparisonRow, times: list[Axis], found: list[Front]) -> str:
    accuracy = row.accuracy
    published = accuracy is not None and accuracy.series == PUBLISHED
    ap = None if accuracy is None else accuracy.ap
    mark = "†" if accuracy is not None and accuracy.note else ""
    cells = [_cell(row.family), _cell(str(row.input_px), row.input_px)]
    waits = accuracy is None and row.kind != ZOO
    cells += [_ap(ap if published else None, mark, "–"), _ap(None if published else ap, mark, "none yet" if waits else "–")]
    for axis in times:
        reading = row.values.get(axis.key)
        if reading is None:
            cells.append('<td class="time" data-sort=""><span class="value">–</span></td>')
            continue
        tag = TAGS.get(on_front(row, axis, found))
        shown = number(reading.value)
        bounds = f' <span class="span">({span(reading)})</span>' if span(reading) else ""
        badge = f' <span class="tag {tag[0]}">{tag[1]}</span>' if tag else ""
        cells.append(f'<td class="time" data-sort="{reading.value!r}"><span class="value">{shown}</span>{bounds}{badge}</td>')
    cells += [_cell(number(row.flops / 1e9), row.flops), _cell(number(row.params / 1e6), row.params), _cell(row.nms), f'<td class="wide">{escape(row.licence)}</td>']
    kind = "" if row.kind == ZOO else f' <span class="kind">{escape(row.kind)}</span>'
    return f'<tr class="{"rival" if row.kind == ZOO else "mine"}"><th scope="row">{escape(row.name)}{kind}</th>{"".join(cells)}</tr>'


def _ap(ap: float | None, mark: str, missing: str) -> str:
    if ap is None:
        return f'<td class="number" data-sort="">{missing}</td>'
    return f'<td class="number" data-sort="{ap!r}">{ap:.1f}{mark}</td>'


def _cell(text: str, sort: float | str | None = None) -> str:
    if sort is None:
        return f"<td>{escape(text)}</td>"
    return f'<td class="number" data-sort="{sort}">{escape(text)}</td>'


def _reading(comparison: Comparison) -> str:
    """What axes and series mean."""
    axes = "".join(f"<dt>{escape(axis.kind)}: {escape(axis.label)}</dt><dd>{escape(axis.note)}</dd>" for axis in comparison.axes if axis.note)
    series = "".join(f"<dt>{escape(series.label)}</dt><dd>{escape(series.note)}</dd>" for series in comparison.series)
    return f'<section aria-labelledby="reading"><h2 id="reading">How to read it</h2><dl class="notes">{axes}{series}</dl></section>'


def _sources(comparison: Comparison) -> str:
    """Where every row comes from, folded away."""
    items = []
    for row in ordered(comparison):
        facts = [*row.facts, *([("AP", row.accuracy.source)] if row.accuracy and row.accuracy.budget else [])]
        lines = "".join(f"<dt>{escape(what)}</dt><dd>{escape(said)}</dd>" for what, said in facts)
        items.append(f"<details><summary>{escape(row.name)}</summary><dl>{lines}</dl></details>")
    return f'<section aria-labelledby="sources"><h2 id="sources">Sources and notes</h2><div class="sources">{"".join(items)}</div></section>'
