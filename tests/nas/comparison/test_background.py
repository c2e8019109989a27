"""The atlas behind a comparison: COCO AP alone, no rows, limits of what is compared, names under the pointer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas.comparison.background import read_background
from nas.comparison.comparison import Comparison
from nas.comparison.gather import compare
from nas.comparison.markdown import markdown
from nas.comparison.page import page
from nas.comparison.plot import compare_png
from nas.devices.profile import load_device
from tests.nas.comparison.test_browser import BROWSER, ask
from tests.nas.detectors.made import folder
from tests.nas.evidence.trained import network
from workbench.errors import BadInput

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(folder(tmp_path_factory.mktemp("data") / "mine"))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("file") / "net.json"
    path.write_text(json.dumps(network("net", 8, 1).to_json()))
    return str(path)


@pytest.fixture(scope="module")
def comparison(atlas: str, file: str) -> Comparison:
    return compare([file], ["t4"], only=[], atlas=[atlas])


def test_every_entry_is_costed_along_the_axes_and_none_is_a_row(comparison: Comparison, file: str) -> None:
    points = comparison.background.points
    assert [point.name for point in points] == ["alpha-s", "alpha-s", "alpha-l", "beta-s"]
    assert points[0].ap == 32.0 and points[0].recipe == "scratch 300e, distilled"
    assert all(point.values.keys() == {"t4", "flops", "params"} for point in points)
    assert [row.name for row in comparison.rows] == ["net"]
    assert comparison.fronts() == compare([file], ["t4"], only=[]).fronts()
    assert comparison.series[0].key == "published"
    assert comparison.notes[-1] == (
        "behind the plot, in gray: 4 entries of 2 families with published COCO AP, from mine"
    )
    line = next(line for line in comparison.background.lines("t4") if line[0].family == "Alpha")
    assert [point.ap for point in line] == [32.0, 40.0], "the best entry of each network"


def test_other_accuracies_are_not_mixed_in(tmp_path: Path) -> None:
    mine = folder(tmp_path / "a")
    for name in ("accuracy.csv", "trainings.csv"):
        (mine / name).write_text((mine / name).read_text().replace("coco_val_map50_95", "voc_map50_95"))
    with pytest.raises(BadInput, match=r"no entry of .* has coco_val_map50_95"):
        read_background([str(mine)], [load_device("t4")])


def test_the_files_have_it_and_stay_as_they_were_without(comparison: Comparison, file: str) -> None:
    plain = compare([file], ["t4"], only=[])
    assert plain.background.points == () and 'id="atlas"' not in page(plain, "x")
    assert compare_png(comparison, "x") != compare_png(plain, "x")
    html = page(comparison, "x")
    assert 'id="atlas" checked' in html and 'id="wide">' in html
    assert html.count("<tr") == page(plain, "x").count("<tr"), "no row of the table"
    assert "behind the plot, in gray" in markdown(comparison, "x")


def test_the_picture_keeps_the_limits_of_what_is_compared(comparison: Comparison) -> None:
    from nas.comparison.plot import _background
    from nas.report.canvas import new_figure

    panel = new_figure(4, 3).add_subplot()
    axis = comparison.times[0]
    panel.plot([0.5, 0.6], [30, 31])
    before = panel.get_xlim(), panel.get_ylim()
    _background(panel, comparison, axis)
    assert (panel.get_xlim(), panel.get_ylim()) == before
    assert sum(len(line.get_xdata()) for line in panel.lines[1:]) == 3 + 4, "two lines and four points"


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on the path")
def test_the_page_names_entries_and_has_all_in_view_where_no_row_has_ap(comparison: Comparison, tmp_path: Path) -> None:
    script = """
    const set = (id, on) => {
      const box = document.getElementById(id); box.checked = on; box.dispatchEvent(new Event('change'));
    };
    const circles = () => [...document.querySelectorAll('#chart .atlas circle')];
    const first = circles().map((one) => one.querySelector('title').textContent);
    circles()[0].dispatchEvent(new PointerEvent('pointerenter'));
    const told = document.getElementById('details').textContent;
    const view = document.querySelector('#chart .atlas').viewBox.baseVal;
    const within = (one) => one.cx.baseVal.value >= view.x && one.cx.baseVal.value <= view.x + view.width
      && one.cy.baseVal.value >= view.y && one.cy.baseVal.value <= view.y + view.height;
    const inside = circles().every(within);
    set('atlas', false);
    const gone = circles().length;
    [first, told, inside, gone]"""
    (first, told, inside, gone), log = ask(page(comparison, "x"), script, tmp_path)
    assert "CONSOLE" not in log
    assert first[0] == "alpha-s, Alpha: AP 32; scratch 300e, distilled" and len(first) == 4
    assert "alpha-s (atlas)" in told and "someone/alpha@1:README.md" in told
    assert inside and gone == 0
