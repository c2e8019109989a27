"""Tables as text, as HTML and as records; results that show themselves."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.console import table
from workbench.tables import Result, Table, html_table

HEADER, ROWS = ("name", "ms", "note"), [("a<b>", 1234.5, "x & y"), ("c", None, "")]


class Pair(Result):
    """A result as other rooms write them."""

    def to_table(self) -> Table:
        return Table(HEADER, ROWS)

    def to_dict(self) -> dict[str, Any]:
        return {"rows": 2}


def test_html_is_escaped_and_has_every_value() -> None:
    html = html_table(HEADER, ROWS, title="a & b")
    assert "a&lt;b&gt;" in html and "x &amp; y" in html and "a &amp; b" in html
    assert "<b>" not in html and html.count("<tr>") == 3 and ">1,234<" in html and ">-<" in html


def test_numbers_are_aligned_to_the_right_in_both_forms() -> None:
    assert table(HEADER, ROWS).splitlines()[2].startswith("a<b>  1,234  ")
    assert html_table(HEADER, ROWS).count("text-align:right") == 3


def test_a_table_without_rows() -> None:
    assert str(Table(("a", "b"), [])).splitlines() == ["a  b", "-  -"]
    assert html_table(("a", "b"), []).endswith("<tbody></tbody></table>")


def test_records_are_one_dict_a_row() -> None:
    assert Table(HEADER, ROWS).to_records()[1] == {"name": "c", "ms": None, "note": ""} == Pair().to_records()[1]


def test_a_result_prints_and_shows_its_table() -> None:
    assert str(Pair()) == table(HEADER, ROWS)
    assert Pair()._repr_html_() == html_table(HEADER, ROWS)


def test_a_result_without_a_table_says_so() -> None:
    with pytest.raises(NotImplementedError):
        str(Result())


def test_a_table_is_a_header_and_rows() -> None:
    header, rows = Table(HEADER, ROWS)
    assert (header, rows) == (HEADER, ROWS)
    assert Table(HEADER, ROWS)._repr_html_() == html_table(header, rows)
