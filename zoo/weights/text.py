"""Text from files, made fit for messages of one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MAX_NAMES_SHOWN = 6
"""Names of each kind that an error message lists."""
MAX_VALUE_LENGTH = 120


def printable(text: str) -> str:
    """``text`` with control characters and the like escaped, so that it prints as one harmless line."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def one_line(text: object) -> str:
    """``text`` without line breaks and repeated spaces."""
    return " ".join(str(text).split())


def shorten(text: str) -> str:
    """``text``, cut to ``MAX_VALUE_LENGTH`` characters."""
    return text if len(text) <= MAX_VALUE_LENGTH else text[: MAX_VALUE_LENGTH - 3] + "..."


def summarize(names: Sequence[str]) -> str:
    """The first of ``names``, and the number of further ones."""
    more = len(names) - MAX_NAMES_SHOWN
    return ", ".join(names[:MAX_NAMES_SHOWN]) + (f", and {more} more" if more > 0 else "")


def describe_differences(faults: Mapping[str, Sequence[str]]) -> str:
    """Each kind of fault with its number of tensors and the first of their names; empty without any fault."""
    return "; ".join(f"{len(names)} {what} ({summarize(names)})" for what, names in faults.items() if names)
