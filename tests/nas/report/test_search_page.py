"""The report of a search, written by the search and again by ``nas report``."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

import nas
from nas.cli import main
from nas.report.search_page import write_search_report

SEARCH = ["search", "--budget", "2ms", "--device", "t4", "--strategy", "random", "--steps", "200", "--input", "320"]


def test_a_search_leaves_a_page_that_stands_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*SEARCH, "--name", "a", "--quiet"]) == 0
    assert "report.html" in capsys.readouterr().out
    run = tmp_path / "runs" / "a"
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and not re.search(r'(src|href)="(?!data:)', page)
    text, best = html.unescape(page), json.loads((run / "result.json").read_text())["best"]
    assert f"{best['score']:.5g}" in text and f"{best['costs']['latency_ms']:.4g} ms" in text and "at 320 px" in text
    assert "nas train runs/a --data MY-DATA" in text and "Where the milliseconds go" in text
    (run / "report.html").unlink()
    assert main(["report", "runs/a"]) == 0
    assert (run / "report.html").read_text(encoding="utf-8") == page
    assert main(["report", "runs/a", "--data", "x"]) == 2
    assert "is a search" in capsys.readouterr().err


def test_without_pictures_there_is_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*SEARCH, "--name", "a", "--quiet", "--no-pictures"]) == 0
    assert not (tmp_path / "runs" / "a" / "report.html").exists()


def test_the_milliseconds_are_those_of_the_finds_own_side(tmp_path: Path) -> None:
    """A space with several input sides writes the side of the find into its file."""
    found = nas.search(
        "3ms", "t4", space="nano", strategy="evolution", steps=256, population=64, runs=tmp_path, pictures=False
    )
    side = found.best.architecture.input_px
    assert side not in (None, 640)
    page = write_search_report(found.folder).read_text(encoding="utf-8")
    assert f"at {side} px" in page
