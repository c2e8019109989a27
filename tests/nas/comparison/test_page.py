"""The page as a file: complete without scripts, closed to foreign text, readable in both colour schemes."""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nas.commands import compare as command
from nas.comparison.comparison import Comparison
from nas.comparison.gather import compare
from nas.comparison.markdown import escaped, markdown
from nas.comparison.page import page
from nas.comparison.plot import compare_png
from tests.nas.comparison.made import trained
from workbench.errors import BadInput
from workbench.events import PNG_SIGNATURE, png_size

STYLE = (Path(__file__).parents[3] / "nas" / "comparison" / "page.css").read_text()


class Reader(HTMLParser):
    """Tags with their attributes, and the cells of the table."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.cell = False

    def handle_data(self, data: str) -> None:
        if self.cell:
            self.rows[-1][-1] += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader


@pytest.fixture(scope="module")
def comparison(searched: Path) -> Comparison:
    return compare([str(searched)], ["t4", "raspberry-pi-4"], only=["damo-yolo"])


def test_the_table_holds_every_number_without_a_script(comparison: Comparison) -> None:
    rows = {row[0]: row for row in read(page(comparison, "All")).rows}
    assert rows["damo-yolo-s"] == [
        "damo-yolo-s", "damo-yolo", "640", "46.0†", "–", "3.44 (2.84–4.16) front", "1,600 (1,484–1,724) front",
        "37.6", "16.2", "needed", "Apache-2.0",
    ]  # fmt: skip
    mine = rows["found searched"]
    assert mine[3:5] == ["–", "none yet"] and mine[10] == "yours"
    assert len(rows) == len(comparison.rows) + 1


def test_nothing_is_fetched_and_only_our_own_script_may_run(comparison: Comparison) -> None:
    html = page(comparison, "All")
    tags = read(html).tags
    for _, attributes in tags:
        assert not {"src", "srcset", "data", "action", "style", "onclick", "onload"} & attributes.keys()
        assert (attributes.get("href") or "data:,") == "data:,"
    assert "@import" not in html and "url(" not in html
    policy = (
        next(a["content"] for tag, a in tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy")
        or ""
    )
    for tag in ("style", "script"):
        inside = html.rpartition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy


EVIL = '</script><img src=x onerror=alert(1)>"\'`|[a](javascript:1)&\u2028<!--'


def test_foreign_text_stays_text(tmp_path: Path) -> None:
    run = trained(
        tmp_path / "x<script>alert(1)<",
        0.4,
        data=EVIL,
        started_from=EVIL,
        lineage=({"model": EVIL, "licence": EVIL, "sha256": "0"},),
    )
    html = page(compare([str(run)], ["t4"], only=["damo-yolo-ns"]), EVIL)
    plain = page(compare([], ["t4"], only=["damo-yolo-ns"]), "All")
    kinds = [tag for tag, _ in read(html).tags]
    assert "img" not in kinds and kinds.count("script") == [tag for tag, _ in read(plain).tags].count("script") == 2
    data = json.loads(html.partition('id="data">')[2].partition("</script>")[0])
    assert data["rows"][0]["name"] == "x<script>alert(1)<"
    assert "onerror=alert" in data["rows"][0]["licence"]
    text = markdown(compare([str(run)], ["t4"], only=["damo-yolo-ns"]), EVIL)
    assert "<" not in text and not re.search(r"(?<!\\)\]\(", text)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1


def test_markdown_is_one_table_with_the_front_in_bold(comparison: Comparison) -> None:
    text = markdown(comparison, "All")
    assert text.startswith("# All\n")
    line = next(line for line in text.splitlines() if line.startswith("| damo-yolo-t "))
    assert "**2.31** (1.90–2.79)" in line and "| 42.0 | – |" in line
    assert "cannot be placed" in text and "Sources and notes" in text
    assert escaped("a|b*c\nd") == "a\\|b\\*c d"


def luminance(colour: str) -> float:
    """Relative luminance of ``#rgb`` or ``#rrggbb`` as WCAG defines it."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_every_text_colour_has_contrast_in_both_schemes() -> None:
    palettes = [dict(re.findall(r"--(\w+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.S)]
    assert len(palettes) == 3  # light, dark, print
    for colours in palettes:
        for text in ("ink", "soft", "f0"):
            for ground in ("paper", "faint"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        assert contrast(colours["paper"], colours["ink"]) >= 4.5
        for mark in ("edge", *(f"f{i}" for i in range(8))):
            assert contrast(colours[mark], colours["paper"]) >= 3.0, mark


def test_the_picture_holds_whatever_is_there(comparison: Comparison) -> None:
    assert compare_png(comparison, "All").startswith(PNG_SIGNATURE)
    bare = Comparison(tuple(comparison.without_ap()), comparison.axes, ())
    wide, narrow = png_size(compare_png(comparison, "$x^2$ <b>")), png_size(compare_png(bare, ""))
    assert wide[0] == narrow[0] > 800


def nas_compare(*words: str) -> int:
    """The command without the program around it."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(words))


def test_the_command_writes_three_files_and_says_who_is_on_the_front(
    searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [str(searched), "--device", "t4", "--only", "damo-yolo", "--quiet"]
    assert nas_compare(*words) == 0
    out = capsys.readouterr()
    assert (
        "found has no AP yet and cannot be placed" in out.out
        and "are on the front of 7 networks" in out.out
        and not out.err
    )
    assert sorted(file.name for file in Path("compare").iterdir()) == ["compare.html", "compare.md", "compare.png"]
    assert nas_compare(*words, "--json", "--out", "again") == 0
    data = json.loads(capsys.readouterr().out)
    assert (
        data["format"] == "nas-compare-1"
        and len(data["rows"]) == 8
        and data["files"][2] == str(Path("again/compare.html"))
    )
    assert Path("compare/compare.html").read_bytes() == Path("again/compare.html").read_bytes()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nope.yaml"], "no such file"), (["yolo11q"], "did you mean"), (["--device", "t4,,a40"], "empty name"),
        (["--top", "0"], "at least 1"), (["--no-zoo"], "nothing to compare"),
        (["--no-zoo", "--only", "yolox"], "contradict"), (["--bench", "nope.json"], "cannot read"),
        (["--out", "taken"], "is a file"), (["weights.pth"], "nas zoo import"), (["."], "holds neither"),
    ],
)  # fmt: skip
def test_bad_input_is_named_and_nothing_is_written(
    words: list[str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("")
    Path("weights.pth").write_bytes(b"")
    with pytest.raises(BadInput, match=re.escape(reason)):
        nas_compare("--quiet", *words, *(["--only", "damo-yolo-t"] if "--no-zoo" not in words else []))
    assert not Path("compare").exists()
