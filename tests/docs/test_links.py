"""Every link and picture of the pages leads to a file of the repository, and every anchor to a heading."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, named, pages

LINK = re.compile(r"\]\(([^)\s]+)\)")
SCHEME = re.compile(r"^[a-z]+:")
READ = [*pages(), ROOT / "CHANGELOG.md"]


def anchors(page: Path) -> set[str]:
    """What headings are called in addresses: lower case, a dash for spaces, other signs dropped; objects documented
    from the code by their names."""
    text = without_code(page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.*)$", text, re.MULTILINE)
    return set(re.findall(r"^::: (\S+)$", text, re.MULTILINE)) | {
        re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading.replace("`", "")).strip().lower())
        for heading in headings
    }


def without_code(text: str) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", READ, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(re.sub(r"`[^`\n]*`", "", without_code(page.read_text(encoding="utf-8")))):
        if SCHEME.match(link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.is_relative_to(ROOT), f"{link} leaves the repository"
        assert target.exists(), f"{link}: there is no {named(target)}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{link}: {named(target)} has no such heading"


def test_many_are_found() -> None:
    assert len(READ) > 30
    links = [link for page in READ for link in LINK.findall(page.read_text(encoding="utf-8"))]
    assert len(links) > 100 and any(link.endswith(".png") for link in links)
