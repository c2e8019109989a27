"""The one exception that every room raises for a mistake a person can mend.

The command line turns it into one line on stderr and exit code 2; a notebook sees
an ordinary ``ValueError`` whose text names the value, the rule and the way out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BadInput(ValueError):
    """A value that came from outside breaks a rule. The message says which, and what to do."""


def missing_package(what: str, package: str | None, extra: str) -> BadInput:
    """The error for a guest package that is not installed; ``extra`` is the extra that brings it."""
    return BadInput(f"{what} needs the package {package!r}: in the project's folder, pip install -c constraints.txt -e '.[{extra}]'")


def unknown_name(what: str, name: str, known: Iterable[str]) -> BadInput:
    """The error for a name that is in no dict: lists the nearest names, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
    return BadInput(f"unknown {what} {name!r}: {hint}")
