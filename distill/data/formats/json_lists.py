"""Reading the large lists of a JSON object entry by entry: a file of half a gigabyte takes little more memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from json.decoder import JSONDecodeError, JSONDecoder
from typing import Any

from workbench.errors import BadInput

BEGIN = object()
"""Stands for the start of a list, so that an empty one is seen too."""
BLANK = re.compile(r"[ \t\n\r]*")


def list_entries(text: str, wanted: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Of the JSON object in ``text``: the entries of the lists that are ``wanted``, each list preceded by ``BEGIN``."""
    decode = JSONDecoder().raw_decode
    at = _skip_blank(text, 0)
    if text[at : at + 1] == "[":
        raise BadInput("a list, not a COCO data set; results look so, but the true boxes are needed here")
    _expect("{", text, at)
    at = _skip_blank(text, at + 1)
    if text[at : at + 1] == "}":
        return
    while True:
        _expect('"', text, at)
        key, at = decode(text, at)
        at = _skip_blank(text, at)
        _expect(":", text, at)
        at = _skip_blank(text, at + 1)
        if key in wanted:
            if text[at : at + 1] != "[":
                raise BadInput(f"{key!r} must be a list")
            yield key, BEGIN
            at = _skip_blank(text, at + 1)
            while text[at : at + 1] != "]":
                entry, at = decode(text, at)
                yield key, entry
                at = _skip_blank(text, at)
                if _expect(",]", text, at) == ",":
                    at = _skip_blank(text, at + 1)
                    if text[at : at + 1] == "]":
                        raise JSONDecodeError("expected a value", text, at)
            at += 1
        else:
            _, at = decode(text, at)
        at = _skip_blank(text, at)
        if _expect(",}", text, at) == "}":
            break
        at = _skip_blank(text, at + 1)
    end = _skip_blank(text, at + 1)
    if end != len(text):
        raise JSONDecodeError("more after the end", text, end)


def _skip_blank(text: str, at: int) -> int:
    return BLANK.match(text, at).end()  # type: ignore[union-attr]  # matches everywhere


def _expect(marks: str, text: str, at: int) -> str:
    if text[at : at + 1] and text[at] in marks:
        return text[at]
    raise JSONDecodeError(f"expected {' or '.join(marks)}", text, at)
