"""JSON from foreign files: no NaN, no endless nesting, no numbers that other code cannot hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.doors.bytes import MOST_TEXT_BYTES, read_text
from workbench.errors import BadInput
from workbench.printable import shown

MOST_DEPTH = 100
MOST_DIGITS = 18
"""Of a whole number: it fits 64 bits."""


Pairs = list[tuple[str, Any]]


def parse_json(text: str | bytes, where: str, object_pairs_hook: Callable[[Pairs], Any] | None = None) -> Any:
    """The data of a JSON text; ``where`` begins the error, ``object_pairs_hook`` is ``json.loads``'s."""
    try:
        data = json.loads(
            text, parse_constant=_refuse_constant, parse_int=_whole, parse_float=_finite,
            object_pairs_hook=object_pairs_hook,
        )  # fmt: skip
    except RecursionError as error:
        raise _too_deep(where) from error
    except ValueError as error:  # also wrong UTF-8
        raise BadInput(f"{where} is not JSON: {error}") from error
    _check_depth(data, where)
    return data


def read_json(path: str | Path, what: str = "", most_bytes: int = MOST_TEXT_BYTES) -> Any:
    """The data of a JSON file; ``what`` is its kind, for errors."""
    return parse_json(read_text(path, what, most_bytes), repr(str(path)))


def read_json_object(path: str | Path, what: str = "", most_bytes: int = MOST_TEXT_BYTES) -> dict[str, Any]:
    """The object of a JSON file that must hold one."""
    data = read_json(path, what, most_bytes)
    if not isinstance(data, dict):
        raise BadInput(f"{str(path)!r} must hold a JSON object, not a {type(data).__name__}")
    return data


def _check_depth(data: Any, where: str) -> None:
    level, depth = [data] if isinstance(data, (dict, list)) else [], 0
    while level:
        depth += 1
        if depth > MOST_DEPTH:
            raise _too_deep(where)
        level = [
            item for parent in level for item in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(item, (dict, list))
        ]  # fmt: skip


def _too_deep(where: str) -> BadInput:
    return BadInput(f"{where}: nested deeper than {MOST_DEPTH} levels, which no such file needs")


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS + 1:
        raise BadInput(f"the number {shown(text, 40)} has too many digits: whole numbers have at most {MOST_DIGITS}")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise BadInput(f"the number {shown(text, 40)} is not finite: numbers are at most 1.7e308")
    return value


def _refuse_constant(name: str) -> float:
    raise BadInput(f"{name} is not a number in JSON: write a finite one")
