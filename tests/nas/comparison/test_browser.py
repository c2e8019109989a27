"""The page in a real browser: no console error, keyboard access to all points and controls, fronts as in Python.

Needs Chromium on the path. The check with axe-core runs where NAS_AXE names its axe.min.js (npm install axe-core).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nas.comparison.comparison import Comparison
from nas.comparison.gather import compare
from nas.comparison.page import page
from tests.nas.comparison.made import trained

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on the path")
DESKTOP, PHONE = "1280,900", "360,740"
RESULT = "window-result"


@pytest.fixture(scope="module")
def comparison(searched: Path, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    runs = tmp_path_factory.mktemp("runs")
    own = [
        str(trained(runs / name, ap, model=model))
        for name, ap, model in (("<b>mine</b>", 0.3, "damo-yolo-ns"), ("slow", 0.2, "damo-yolo-nm"))
    ]
    return compare([str(searched), *own], ["t4", "raspberry-pi-4"], only=["damo-yolo"])


def ask(html: str, script: str, folder: Path, window: str = DESKTOP, dark: bool = False) -> tuple[Any, str]:
    """The value of ``script`` (its last line an expression) inside the page, and the browser's log.

    The content policy of the copy on disk is opened for the script; nothing else changes.
    """
    html = re.sub(r"script-src '[^']*'", "script-src 'unsafe-inline'", html, count=1)
    body, _, last = script.strip().rpartition("\n")
    tail = f"""<script>addEventListener("load", async () => {{ {body}
    const node = document.createElement("pre");
    node.id = "{RESULT}"; node.textContent = JSON.stringify({last}); document.body.append(node); }});</script></body>"""
    file = folder / "page.html"
    file.write_text(html.replace("</body>", tail, 1), encoding="utf-8")
    assert BROWSER is not None
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
        "--virtual-time-budget=8000", f"--window-size={window}", f"--user-data-dir={folder / 'profile'}",
        *(["--blink-settings=preferredColorScheme=0"] if dark else []), "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    text = re.search(rf'<pre id="{RESULT}">(.*?)</pre>', done.stdout, re.S)
    assert text, done.stderr[-2000:]
    from html import unescape

    return json.loads(unescape(text[1])), done.stderr


def test_it_opens_from_a_file_with_a_quiet_console(comparison: Comparison, tmp_path: Path) -> None:
    html = page(comparison, "All")
    seen, log = ask(html, "document.querySelectorAll('#chart [role=option]').length", tmp_path)
    published = [row for row in comparison.rows if row.accuracy is None or row.accuracy.series == "published"]
    assert seen == len(published)
    assert "CONSOLE" not in log
    file = tmp_path / "as-written.html"
    file.write_text(html, encoding="utf-8")
    assert BROWSER is not None
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'other'}", "--virtual-time-budget=2000", "--dump-dom", file.as_uri(),
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr and 'role="option"' in done.stdout, (
        "the content policy must let our own script run"
    )


def test_fronts_in_the_page_are_those_of_python(comparison: Comparison, tmp_path: Path) -> None:
    script = """
    const all = {};
    const select = (id, value) => {
      const box = document.getElementById(id); box.value = value; box.dispatchEvent(new Event('change'));
    };
    const axes = document.querySelectorAll('#axis option'), every = document.querySelectorAll('#series option');
    for (const axis of axes) for (const series of every) {
      if (series.value === '*') continue;
      select('axis', axis.value); select('series', series.value);
      const labels = [...document.querySelectorAll('#chart [role=option]')].map((p) => p.getAttribute('aria-label'));
      const members = labels.filter((text) => / on the front/.test(text));
      all[axis.value + ' ' + series.value] = members.map((text) => text.split(', ')[0].split(': ')[0]);
    }
    all"""
    seen, _ = ask(page(comparison, "All"), script, tmp_path)
    wanted = {f"{front.axis} {front.series}": sorted(front.members) for front in comparison.fronts()}
    families = {row.name: row.family for row in comparison.rows}
    names = {key: sorted(name.rpartition(", ")[0] or name for name in value) for key, value in seen.items()}
    assert families and names == wanted


def test_the_keyboard_reaches_every_point_and_control(comparison: Comparison, tmp_path: Path) -> None:
    script = """
    const options = () => [...document.querySelectorAll('#chart [role=option]')];
    const event = (key) => new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true});
    const press = (key) => document.activeElement.dispatchEvent(event(key));
    const stops = options().filter((p) => p.getAttribute('tabindex') === '0').length;
    options().find((p) => p.getAttribute('tabindex') === '0').focus();
    const visited = new Set(), shown = new Set();
    for (let i = 0; i < options().length; i += 1) {
      visited.add(document.activeElement.getAttribute('aria-label'));
      shown.add(document.querySelector('#details h3').textContent); press('ArrowRight');
    }
    press('Home');
    const first = document.activeElement === options()[0]; press('End');
    const last = document.activeElement === options().at(-1);
    const selected = options().filter((p) => p.getAttribute('aria-selected') === 'true').length;
    const controls = [...document.querySelectorAll('select, input, button, summary, .scroll')];
    const unreachable = controls.filter((c) => { c.focus(); return document.activeElement !== c; }).length;
    const named = (c) => c.labels?.length || c.textContent.trim() || c.getAttribute('aria-label');
    const unnamed = controls.filter((c) => !named(c)).length, points = options().length;
    const counts = {stops, points, visited: visited.size, shown: shown.size, selected, unreachable, unnamed};
    ({...counts, first, last})"""
    seen, _ = ask(page(comparison, "All"), script, tmp_path)
    assert seen == {
        "stops": 1,
        "points": seen["points"],
        "visited": seen["points"],
        "shown": seen["points"],
        "first": True,
        "last": True,
        "selected": 1,
        "unreachable": 0,
        "unnamed": 0,
    }
    assert seen["points"] > 5


def test_toggles_take_families_away_and_say_when_series_do_not_compare(comparison: Comparison, tmp_path: Path) -> None:
    script = """
    const options = () => document.querySelectorAll('#chart [role=option]').length;
    const before = options(), quiet = document.getElementById('warning').hidden;
    const series = document.getElementById('series'); series.value = '*'; series.dispatchEvent(new Event('change'));
    const both = options(), warned = !document.getElementById('warning').hidden;
    const lines = document.querySelectorAll('#chart path.front').length;
    const box = document.querySelector('input[value=damo-yolo]');
    box.checked = false; box.dispatchEvent(new Event('change'));
    const log = document.getElementById('log'); log.checked = false; log.dispatchEvent(new Event('change'));
    const heads = [...document.querySelectorAll('#table th[scope=col] button')]; heads[5].click();
    const column = [...document.querySelectorAll('#table tbody tr')].map((row) => Number(row.cells[5].dataset.sort));
    const sorted = column.every((v, i) => !i || v >= column[i - 1]);
    const aria = heads[5].closest('th').getAttribute('aria-sort');
    const bold = document.querySelectorAll('#details b, tbody b').length;
    ({before, quiet, both, warned, lines, after: options(), sorted, aria, bold})"""
    seen, log = ask(page(comparison, "All"), script, tmp_path)
    assert seen == {
        "before": 8,
        "quiet": True,
        "both": 10,
        "warned": True,
        "lines": 2,
        "after": 1,
        "sorted": True,
        "aria": "ascending",
        "bold": 0,
    }
    assert "CONSOLE" not in log


@pytest.mark.parametrize("window", [DESKTOP, PHONE])
def test_no_sideways_scrolling_of_the_page(comparison: Comparison, window: str, tmp_path: Path) -> None:
    script = """
    const width = 360; const frame = document.createElement('div');
    ({over: document.documentElement.scrollWidth - document.documentElement.clientWidth, width: innerWidth})"""
    seen, _ = ask(page(comparison, "All"), script, tmp_path, window)
    assert seen["over"] <= 0


@pytest.mark.skipif("NAS_AXE" not in os.environ, reason="NAS_AXE does not name axe.min.js: npm install axe-core")
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("window", [DESKTOP, PHONE])
def test_axe_finds_nothing(comparison: Comparison, window: str, dark: bool, tmp_path: Path) -> None:
    axe = Path(os.environ["NAS_AXE"]).read_text(encoding="utf-8").replace("</script", "<\\/script")
    html = page(comparison, "All").replace("</head>", f"<script>{axe}</script></head>", 1)
    script = """
    document.querySelector('#chart [role=option]').focus();
    const result = await axe.run();
    result.violations.map((one) => [one.id, one.impact, one.nodes.length])"""
    seen, _ = ask(html, script, tmp_path, window, dark)
    assert seen == []
