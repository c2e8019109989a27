"""YAML from foreign files: no aliases, no tags, no endless nesting, no numbers that other code cannot hold.

A few lines of aliases can stand for billions of values, and the time to parse grows with the square of the depth; so
both are refused while the text is parsed. A date is read as the text it is written as.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import Resolver
from yaml.scanner import Scanner

from workbench.doors.bytes import read_text
from workbench.errors import BadInput
from workbench.printable import one_line, shown

MOST_BYTES = 4 * 2**20
MOST_DEPTH = 20
MOST_NODES = 400_000
"""Scalars, lists and mappings of one document."""
MOST_WHOLE = 2**63 - 1
"""Largest whole number, positive or negative."""
MOST_DIGITS = 80
"""Longest text that is read as a number."""
TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map"))
CONSTRUCTION_ERRORS = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)
"""What PyYAML raises, beside its own errors, on values that do not fit their tag."""


if yaml.__with_libyaml__:
    from yaml.cyaml import CParser as _Parser  # type: ignore[attr-defined]  # four times as fast
else:

    class _Parser(Reader, Scanner, Parser):  # type: ignore[no-redef]
        """PyYAML's parser in Python."""

        def __init__(self, stream: str) -> None:
            Reader.__init__(self, stream)
            Scanner.__init__(self)
            Parser.__init__(self)


class PlainLoader(Composer, SafeConstructor, Resolver, _Parser):
    """PyYAML's safe loader without aliases, tags and dates, and with limits; ``where`` begins the errors."""

    where, depth, nodes = "", 0, 0

    def __init__(self, text: str) -> None:
        _Parser.__init__(self, text)
        for part in (Composer, SafeConstructor, Resolver):
            part.__init__(self)

    def compose_node(self, parent: Any, index: Any) -> Any:
        """One node and those below it."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise self.fail(event, f"has the alias *{shown(event.anchor)[1:-1]}: write the value out")
        self.depth, self.nodes = self.depth + 1, self.nodes + 1
        if self.depth > MOST_DEPTH:
            raise self.fail(event, f"nested deeper than {MOST_DEPTH} levels, which no such file needs")
        if self.nodes > MOST_NODES:
            raise self.fail(event, f"holds more than {MOST_NODES:,} values: is it the right file?")
        node: Any = super().compose_node(parent, index)
        self.depth -= 1
        if node.tag not in TAGS and node.tag != "tag:yaml.org,2002:merge":
            raise self.fail(event, f"not YAML that is read: the tag {shown(node.tag)}: write a plain value")
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """The value of a node; numbers that are too long are refused before they are converted."""
        number = node.tag.endswith((":int", ":float"))
        if number and len(node.value) > MOST_DIGITS:
            raise self.fail(node, f"the number {shown(node.value, 40)} has over {MOST_DIGITS} digits")
        value = super().construct_object(node, deep)
        if type(value) is int and abs(value) > MOST_WHOLE:
            raise self.fail(node, f"the number {shown(node.value, 40)} must be within 64 bits")
        return value

    def fail(self, place: Any, problem: str) -> BadInput:
        """The error for an event or a node."""
        return BadInput(f"{self.where}, line {place.start_mark.line + 1}: {problem}")


PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: str, where: str) -> Any:
    """The data of a YAML text; ``where`` begins the error."""
    return _load(text, where, lambda loader: loader.get_single_data())


def compose_yaml(text: str, where: str) -> yaml.Node | None:
    """The nodes of a YAML text, which know their lines; None where it is empty."""
    return _load(text, where, lambda loader: loader.get_single_node())


def scalar_value(node: yaml.Node, where: str) -> Any:
    """The value of a scalar of ``compose_yaml``."""

    def construct(loader: PlainLoader) -> Any:
        return loader.construct_object(node)

    return _load("", where, construct)


def read_yaml(path: str | Path, what: str = "", most_bytes: int = MOST_BYTES) -> Any:
    """The data of a YAML file; ``what`` is its kind, for errors."""
    return parse_yaml(read_text(path, what, most_bytes), repr(str(path)))


def read_yaml_mapping(path: str | Path, what: str = "", most_bytes: int = MOST_BYTES) -> dict[Any, Any]:
    """The mapping of a YAML file that must hold one."""
    data = read_yaml(path, what, most_bytes)
    if not isinstance(data, dict):
        raise BadInput(f"{str(path)!r} must hold a mapping, not a {type(data).__name__}")
    return data


def _load(text: str, where: str, take: Any) -> Any:
    try:
        loader = PlainLoader(text)
        loader.where = where
        try:
            return take(loader)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise BadInput(f"{where}{line}: not YAML: {one_line(getattr(error, 'problem', None) or error)}") from error
    except BadInput:
        raise
    except RecursionError as error:
        raise BadInput(f"{where}: nested too deeply") from error
    except CONSTRUCTION_ERRORS as error:
        raise BadInput(f"{where}: a value does not fit its tag: {error}") from error


class _PlainDumper(yaml.SafeDumper):
    """Writes a value as often as it occurs, because readers refuse aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def yaml_text(data: Any, **style: Any) -> str:
    """``data`` as YAML without aliases, keys in their order; ``style`` is what ``yaml.dump`` takes."""
    return str(yaml.dump(data, Dumper=_PlainDumper, **{"sort_keys": False, **style}))
