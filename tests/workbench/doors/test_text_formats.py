"""YAML and JSON: plain values come in, everything else is refused in one line."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from workbench.doors.json import parse_json
from workbench.doors.yaml import compose_yaml, parse_yaml, scalar_value
from workbench.errors import BadInput

PLAIN = "a: 1\nb: [1.5, true, null, x, 'y z', .inf]\nc: {d: 0x1f, e: -3, f: ~}\n? k\n: v\n"
BOMB = "a: &a [x, x]\nb: [*a, *a]\n"


def test_plain_yaml_is_what_the_safe_loader_reads() -> None:
    assert parse_yaml(PLAIN, "f") == yaml.safe_load(PLAIN)
    assert parse_yaml("", "f") is None
    assert parse_yaml("day: 2024-02-30", "f") == {"day": "2024-02-30"}


def test_nodes_know_their_lines_and_values() -> None:
    root = compose_yaml(PLAIN, "f")
    assert isinstance(root, yaml.MappingNode)
    assert [key.start_mark.line for key, _ in root.value] == [0, 1, 2, 3]
    assert scalar_value(root.value[0][1], "f") == 1


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (BOMB, "line 2: has the alias"),
        ("&a [*a]", "alias"),
        ('!!int ""', "does not fit"),
        ("!!python/name:os.system x", "tag"),
        ("!!timestamp 2024", "tag"),
        ("!!binary AA==", "tag"),
        ("[" * 5000, "nested deeper"),
        ("- " * 5000, "nested deeper"),
        ("9" * 6000, "digits"),
        ("1" + "0" * 60, "64 bits"),
        ("0x" + "f" * 99, "digits"),
        ("a: [", "line 2: not YAML"),
        ("a: \0", "not YAML"),
        ("? [1]\n: 2", "unhashable"),
        ("- 1\n" * 500_000, "holds more than"),
    ],
)
def test_hostile_yaml_is_refused_in_one_line(text: str, rule: str) -> None:
    with pytest.raises(BadInput, match=rule) as caught:
        parse_yaml(text, "f.yaml")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{", "not JSON"),
        ("[" * 200_000, "nested deeper"),
        ("[" * 101 + "]" * 101, "nested deeper"),
        ("NaN", "NaN is not a number"),
        ("[Infinity]", "Infinity"),
        ("1e999", "not finite"),
        ("9" * 6000, "too many digits"),
        (b"\xff", "not JSON"),
        ("", "not JSON"),
    ],
)
def test_hostile_json_is_refused_in_one_line(text: Any, rule: str) -> None:
    with pytest.raises(BadInput, match=rule) as caught:
        parse_json(text, "f.json")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300


def test_plain_json_comes_in() -> None:
    text = '{"a": [1, -2, 3.5, true, null, "x", 9223372036854775807], "b": {}}'
    assert parse_json(text, "f") == {"a": [1, -2, 3.5, True, None, "x", 2**63 - 1], "b": {}}
    assert parse_json("[" * 100 + "]" * 100, "f")
