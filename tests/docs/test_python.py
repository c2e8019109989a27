"""Programs in Python that pages show run as they stand, each page's in one interpreter, in the furnished folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import blocks, named, pages

WITH_CODE = [page for page in pages() if blocks(page, "python")]


def test_some_are_found() -> None:
    assert {"docs/search.md", "docs/getting-started.md", "docs/zoo.md"} <= {named(page) for page in WITH_CODE}


@pytest.mark.parametrize("page", WITH_CODE, ids=named)
def test_programs_are_python(page: Path) -> None:
    for text in blocks(page, "python"):
        compile(text, named(page), "exec")


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_CODE, ids=named)
def test_programs_run(page: Path, here: Path) -> None:
    names: dict[str, object] = {}
    for text in blocks(page, "python"):
        exec(compile(text, named(page), "exec"), names)
