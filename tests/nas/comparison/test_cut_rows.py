"""Cut networks in a comparison: their own costs, and lines to the parent that a file's hash tells."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from nas.comparison.comparison import Comparison, row_dict
from nas.comparison.gather import _unique_names, _with_parents, compare
from nas.comparison.markdown import markdown
from nas.comparison.page import page
from nas.comparison.plot import compare_png
from nas.comparison.rows import COST, PREDICTED, TRAINED, Accuracy, Axis, ComparisonRow, Origin, Reading, Series
from tests.nas.comparison.made import trained
from tests.nas.comparison.test_browser import BROWSER, PHONE, ask
from workbench.events import png_size


def row(name: str, ms: float, ap: float | None, sha256: str, origin: Origin | None = None) -> ComparisonRow:
    """A trained checkpoint of family yolo11."""
    values = {"t4": Reading(ms, 0.9 * ms, 1.1 * ms), "flops": Reading(10 * ms), "params": Reading(ms)}
    accuracy = None if ap is None else Accuracy(ap, "own", "made up")
    return ComparisonRow(
        name, TRAINED, "yolo11", 640, 10**6, 10**9, "needed", "yours", values, accuracy, sha256=sha256, origin=origin
    )


def made() -> Comparison:
    """A parent, a child of it, a child of this child, one without AP, and a child of another parent."""
    rows = [
        row("big", 3.0, 50.0, "aa"),
        row("half", 1.6, 47.0, "bb", Origin("yolo11s", ("aa",))),
        row("third", 1.1, 41.0, "cc", Origin("yolo11s", ("not here", "aa"))),
        row("bare", 1.3, None, "dd", Origin("yolo11s", ("bb", "aa"))),
        row("<i>lost</i>", 2.0, 44.0, "ee", Origin("yolo11m", ("ff",))),
    ]
    axes = (Axis("t4", PREDICTED, "t4", "ms"), Axis("flops", COST, "GFLOPs", "GFLOPs"))
    return Comparison(tuple(_with_parents(rows)), axes, (Series("own", "own AP on digits"),))


def test_the_parent_is_the_nearest_ancestor_among_the_rows() -> None:
    parents = {one.name: one.origin.parent for one in made().rows if one.origin}
    assert parents == {"half": "big", "third": "big", "bare": "half", "<i>lost</i>": ""}
    data = {one["name"]: (one["cut_from"], one["parent"]) for one in map(row_dict, made().rows)}
    assert data["big"] == (None, None) and data["half"] == ("big", "big") and data["<i>lost</i>"] == ("yolo11m", None)


def test_sentences_table_and_markdown_say_what_is_cut_from_what() -> None:
    sentences = made().sentences()
    assert "half and third are cut from big." in sentences and "bare is cut from half." in sentences
    assert "<i>lost</i> is cut from a detector yolo11m that is not among the rows." in sentences
    assert [cells[0] for cells in made().to_table().rows][:2] == ["big", "half, cut from big"]
    assert "half, cut from big" in markdown(made(), "All")


def test_a_child_of_its_parents_name_is_told_apart() -> None:
    rows = [row("best", 3.0, 50.0, "aa"), *(row("best", 1.0, 40.0, x, Origin("m", ("aa",))) for x in ("bb", "cc"))]
    assert [one.name for one in _with_parents(_unique_names(rows))] == ["best", "best (cut)", "best (3)"]


def test_the_plot_joins_parents_and_children_and_its_legend_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from nas.comparison import plot

    figures = []
    monkeypatch.setattr(plot, "to_png", lambda figure: figures.append(figure) or b"")
    compare_png(made(), "All")
    (panel,) = figures[0].axes
    lines = {tuple(line.get_xdata()): tuple(line.get_ydata()) for line in panel.lines}
    assert lines[(3.0, 1.6)] == (50.0, 47.0) and lines[(3.0, 1.1)] == (50.0, 41.0)
    assert "cut from its parent" in [text.get_text() for text in figures[0].legends[0].get_texts()]
    monkeypatch.undo()
    assert png_size(compare_png(made(), "All"))[0] > 500


def test_the_page_explains_the_lines_only_where_there_are_some() -> None:
    html = page(made(), "All")
    assert "joins a cut network with the parent" in html and ">trained, cut from big</span>" in html
    assert "<i>lost" not in re.sub(r"<script.*?</script>", "", html, flags=re.S)
    alone = Comparison((row("big", 3.0, 50.0, "aa"),), made().axes, made().series)
    assert "joins a cut network" not in page(alone, "All") and "cut from its parent" not in markdown(alone, "All")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on the path")
@pytest.mark.parametrize("window", ["1280,900", PHONE])
def test_the_page_draws_the_lines(window: str, tmp_path: Path) -> None:
    script = """
    const points = Object.fromEntries([...document.querySelectorAll('#chart [role=option]')].map((p) => {
      const at = p.querySelector('path').getAttribute('transform').match(/-?[0-9.]+/g);
      return [p.getAttribute('aria-label').split(', ')[0], at.map((v) => Math.round(v))]; }));
    const lines = [...document.querySelectorAll('#chart path.cut')].map((line) =>
      line.getAttribute('d').match(/-?[0-9.]+/g).map((v) => Math.round(v)));
    const spoken = document.querySelector('#chart [role=option][aria-label^="half"]').getAttribute('aria-label');
    document.querySelector('#chart [role=option][aria-label^="half"]').focus();
    const told = document.getElementById('details').textContent;
    const root = document.documentElement;
    ({points, lines, spoken, told, over: root.scrollWidth - root.clientWidth})"""
    seen, log = ask(page(made(), "All"), script, tmp_path, window)
    at = seen["points"]
    wanted = [[*at[parent], *at[child]] for parent, child in (("big", "half"), ("big", "third"), ("half", "bare"))]
    assert sorted(seen["lines"]) == sorted(wanted)
    assert "cut from big" in seen["spoken"] and "cut frombig" in seen["told"] and seen["over"] <= 0
    assert "CONSOLE" not in log


def test_a_cut_checkpoint_is_costed_as_it_is_and_finds_its_parent(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from tests.zoo.pruning.children import cut_file
    from zoo.weights.checkpoint import load

    parent = trained(tmp_path / "parent", 0.4, model="damo-yolo-ns")
    child = cut_file(parent / "best.safetensors", tmp_path / "child.safetensors")
    rows = compare([str(parent), str(child)], ["t4"], only=[]).rows
    assert [(one.name, one.family) for one in rows] == [("parent", "damo-yolo"), ("child", "damo-yolo")]
    assert rows[1].origin is not None and rows[1].origin.parent == "parent" and rows[1].accuracy is None
    table = load(child).graph(96).table(96)
    assert rows[1].params == table.total(table.params) < 0.6 * rows[0].params
    assert rows[1].values["t4"].value < rows[0].values["t4"].value
    assert rows[1].digest == "" and "sha256" not in json.dumps(row_dict(rows[1]))
