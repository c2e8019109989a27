"""Checks of data that strangers sent."""

from __future__ import annotations

import pytest

from nas.devices.measured.untrusted import MOST_DEPTH, MOST_TEXT, check_text, parse_line, quoted
from workbench.errors import BadInput

BAD = [
    ("[1, 2]", "must be one JSON object, not list"),
    ("{", "is not JSON"),
    ('{"a": NaN}', "NaN is not a number"),
    ('{"a": Infinity}', "is not a number"),
    ('{"a": 1e999}', "not finite"),
    ('{"a": 1e11}', "beyond"),
    ('{"a": ' + "9" * 5000 + "}", "is not JSON|beyond"),
    ('{"a": 1, "a": 2}', "twice"),
    ('{"a": "' + "x" * (MOST_TEXT + 1) + '"}', "300 at most"),
    ('{"a": "\\u001b[31mred"}', "cannot be printed"),
    ('{"a": "two\\nlines"}', "cannot be printed"),
    ('{"a": "\\u202edesrever"}', "cannot be printed"),
    ('{"\\u0007": 1}', "cannot be printed"),
    ('{"a": ' + "[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1) + "}", "nested more than 8 deep"),
    ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "is not JSON|nested"),
]


@pytest.mark.parametrize(("line", "message"), BAD, ids=range(len(BAD)))
def test_a_bad_line_is_one_printable_line(line: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        parse_line(line, "f.jsonl, line 3")
    text = str(caught.value)
    assert text.startswith("f.jsonl, line 3") and text.isprintable() and len(text) < 500


def test_what_is_in_bounds_is_read() -> None:
    assert parse_line('{"a": [1, -2.5, "größe", null, true, {"b": []}]}', "f")["a"][2] == "größe"
    assert check_text("plain", "f") == "plain"


def test_foreign_text_is_quoted_on_one_line() -> None:
    assert quoted("two\nlines") == "two lines"
    assert "\x1b" not in quoted("\x1b[31m") and len(quoted("x" * 10_000)) < 300
