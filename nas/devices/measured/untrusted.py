"""Checks of data that strangers sent: how deep, how long, printable texts, finite numbers."""

from __future__ import annotations

from typing import Any

from workbench.doors.json import parse_json
from workbench.errors import BadInput
from workbench.printable import cut, one_line

MOST_DEPTH = 8
"""Deepest nesting of lists and objects."""
MOST_TEXT = 300
"""Longest text, in characters."""
MOST_NUMBER = 1e10
"""Largest number, positive or negative."""
SHOWN = 240
"""Longest part of an error that quotes what a file holds."""


def parse_line(line: str, where: str) -> dict[str, Any]:
    """One JSON object from one line, with every value in it checked. ``where`` begins the error."""
    data = parse_json(line, where, object_pairs_hook=_unique)
    if not isinstance(data, dict):
        raise BadInput(f"{where} must be one JSON object, not {type(data).__name__}")
    check_plain(data, where)
    return data


def check_plain(value: Any, where: str, depth: int = 0) -> None:
    """Refuse what is nested too deep, texts that are long or not printable, and numbers that are not finite."""
    if depth > MOST_DEPTH:
        raise BadInput(f"{where} is nested more than {MOST_DEPTH} deep")
    if isinstance(value, str):
        check_text(value, where)
    elif isinstance(value, (int, float)):
        if not abs(value) <= MOST_NUMBER:  # NaN compares as false
            raise BadInput(f"{where} holds a number that is not finite, or beyond {MOST_NUMBER:g}")
    elif isinstance(value, dict):
        for key, inner in value.items():
            check_text(key, where)
            check_plain(inner, where, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            check_plain(inner, where, depth + 1)


def check_text(text: str, where: str) -> str:
    """``text`` if it is short and printable on one line."""
    if len(text) > MOST_TEXT:
        raise BadInput(f"{where} holds a text of {len(text)} characters: {MOST_TEXT} at most")
    if not text.isprintable():
        raise BadInput(f"{where} holds a text that cannot be printed on one line: {quoted(text)}")
    return text


def quoted(text: str) -> str:
    """Foreign text for an error: one printable line, cut where it is long."""
    return cut(one_line(text), SHOWN)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise BadInput("a key stands twice in one object")
    return data
