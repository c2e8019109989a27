"""Every command that a page shows is one that the program takes."""

from __future__ import annotations

import pytest

from nas.cli import build_parser
from tests.docs.pages import Shown, shown


@pytest.mark.parametrize("command", shown(), ids=str)
def test_is_understood(command: Shown) -> None:
    args = build_parser().parse_args(command.words)
    assert callable(args.run)


def test_many_are_found() -> None:
    pages = {one.page for one in shown()}
    assert {"README.md", "docs/cli.md", "docs/training.md", "docs/tutorial/index.md", "nas search --help"} <= pages
