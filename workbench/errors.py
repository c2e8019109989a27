"""The exception for mistakes that the user can correct, and its usual texts.

The command line turns it into one line on stderr and exit code 2; a notebook sees
an ordinary ``ValueError`` whose text names the value, the rule and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from workbench.printable import cut, printable, shown

MOST_LETTERS = 1500
"""Longest message; of a longer one the beginning and the end are kept, which name the value and the way out."""


class BadInput(ValueError):
    """A value that came from outside breaks a rule. The message says which, and what to do.

    Foreign text in it is made printable, and what is too long loses its middle.
    """

    def __init__(self, message: str) -> None:
        super().__init__(cut(printable(message), MOST_LETTERS))


def missing_package(what: str, package: str | None, extra: str) -> BadInput:
    """The error for an optional package that is not installed; ``extra`` is the extra that installs it."""
    install = f"pip install -c constraints.txt -e '.[{extra}]'"
    return BadInput(f"{what} needs the package {package!r}: in the project's folder, {install}")


def unknown_name(what: str, name: str, known: Iterable[str]) -> BadInput:
    """The error for an unknown name: lists the nearest known names, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name)[:100], names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
    return BadInput(f"unknown {what} {shown(name)}: {hint}")
