"""Tables as text and as HTML, and the base of results that show themselves as one."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from workbench.console import cell, numeric_columns, table

STYLE = "text-align:{}; padding:2px 10px; white-space:nowrap"


class Table(NamedTuple):
    """A header and rows of plain values. ``str`` gives the terminal's form; a notebook shows HTML."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def to_records(self) -> list[dict[str, Any]]:
        """One dict a row, for instance for ``pandas.DataFrame``."""
        return [dict(zip(self.header, row, strict=True)) for row in self.rows]

    def __str__(self) -> str:
        return table(self.header, self.rows)

    def _repr_html_(self) -> str:
        return html_table(self.header, self.rows)


class Result:
    """Base of results, which show themselves as a table. Subclasses write ``to_table`` and ``to_dict``.

    Those that print more than the table also write ``__str__``.
    """

    __slots__ = ()

    def to_table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """Header and rows."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """The result as plain data, with the keys that ``--json`` prints."""
        raise NotImplementedError

    def to_records(self) -> list[dict[str, Any]]:
        """One dict a row of the table, for instance for ``pandas.DataFrame``."""
        return Table(*self.to_table()).to_records()

    def __str__(self) -> str:
        return table(*self.to_table())

    def _repr_html_(self) -> str:
        return html_table(*self.to_table())


def html_table(header: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None) -> str:
    """An HTML table with the same values as ``workbench.console.table``, escaped; numbers to the right."""
    sides = ["right" if numeric else "left" for numeric in numeric_columns(header, rows)]
    head = "".join(_cell("th", name, side) for name, side in zip(header, sides, strict=True))
    lines = ["".join(_cell("td", cell(value), side) for value, side in zip(row, sides, strict=True)) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(tag: str, text: str, side: str) -> str:
    return f'<{tag} style="{STYLE.format(side)}">{escape(text)}</{tag}>'
