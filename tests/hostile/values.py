"""Hostile values and mutations that several formats share."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

ESCAPE = "\x1b[2J\x1b[31mred\x07\u202egnp"
"""Clears the screen, rings and turns the direction of text."""

YAML = {
    "date": "2024-02-30",
    "good-date": "2024-02-03",
    "empty-int": '!!int ""',
    "empty-float": '!!float ""',
    "digits": "9" * 6000,
    "beyond-float": "1" + "0" * 400,
    "float-overflow": "1e999",
    "nan": ".nan",
    "inf": "-.inf",
    "null": "null",
    "list": "[1, [2]]",
    "mapping": "{a: {b: 1}}",
    "empty": '""',
    "escape": '"\\e[31m\\x07\\u202e"',
    "long": '"' + "x" * 100_000 + '"',
    "python": '!!python/object/apply:os.system ["touch PAYLOAD"]',
    "binary": "!!binary AAAA",
    "set": "!!set {a, b}",
    "omap": "!!omap [1]",
    "timestamp": "!!timestamp nonsense",
    "negative": "-7",
    "zero": "0",
    "bool": "true",
    "sexagesimal": "190:20:30:99999999999999999999",
    "hex": "0x" + "f" * 300,
    "alias": "*nobody",
    "self-alias": "&a [*a]",
    "merge": "{<<: 3}",
    "deep": "[" * 3000 + "]" * 3000,
    "deep-mapping": "{a: " * 500 + "1" + "}" * 500,
    "tag": "!unknown 3",
    "surrogate": '"\\ud800"',
    "octal": "0o777",
    "null-char": '"a\\0b"',
    "huge": str(2**62),
    "list-of-empties": "[[], {}, '']",
    "complex-key": "{? [1, 2] : 3}",
}
"""YAML text of one value, by name."""

JSON = {
    "null": None,
    "text": "x",
    "empty": "",
    "escape": ESCAPE,
    "list": [],
    "object": {},
    "negative": -3,
    "zero": 0,
    "float": 1.5,
    "huge": 2**62,
    "bool": True,
    "long": "x" * 100_000,
    "nested": [[[[[1]]]]],
    "texts": ["a", None],
    "far": [10**9, 10**9],
    "large": 10**17,
}
"""JSON values, by name."""

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
"""A billion values in a kilobyte of aliases."""

BYTES = {
    "empty": b"",
    "zeros": bytes(1000),
    "no-utf8": b"name: \xff\xfe\xfa",
    "utf16": "name: x".encode("utf-16"),
    "bom": b"\xef\xbb\xbf",
    "controls": bytes(range(32)),
    "line": b"x" * 3_000_000,
    "brackets": b"[" * 200_000,
    "braces": b"{" * 200_000,
    "elf": b"\x7fELF" + bytes(200),
    "zip": b"PK\x03\x04" + bytes(100),
    "minus": b"- " * 20_000,
    "keys": b"? " * 20_000,
    "colons": b"a: " * 5000,
    "quotes": b'"' * 9999,
    "gzip": b"\x1f\x8b\x08" + bytes(50),
    "tabs": b"\t\t\ta: 1",
    "percent": b"%YAML 9.9\n---\na",
    "documents": b"---\na: 1\n" * 50,
    "ampersand": b"&a " * 99,
    "anchors": BOMB.encode(),
    "merge": b"a: &a {b: 1}\nc: {<<: *a}\n",
    "nul": b"a: \x00",
    "escape": ESCAPE.encode(),
}
"""Contents that no text format should choke on, by name."""


def replaced(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of nested ``data`` with another value at ``path``."""
    result = copy.deepcopy(data)
    place = result
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return result


def paths(data: Any, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values in nested ``data``."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*prefix, key)
        yield from paths(value, (*prefix, key))


def damaged(data: bytes, seed: int) -> bytes:
    """``data`` with a few bytes changed, cut out, doubled or cut off."""
    draw = random.Random(seed)
    result = bytearray(data)
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(result) or 1)
        action = draw.randrange(5)
        if action == 0:
            result[at : at + 1] = bytes([draw.randrange(256)])
        elif action == 1:
            del result[at : at + draw.randint(1, 40)]
        elif action == 2:
            result[at:at] = result[at : at + draw.randint(1, 60)]
        elif action == 3:
            result[at : at + 4] = draw.choice((b"\xff\xff\xff\x7f", bytes(4), b"\xff" * 4, b"9999", b"-1, "))
        else:
            del result[max(at, len(result) // 3) :]
    return bytes(result)
