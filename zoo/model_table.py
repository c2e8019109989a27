"""The models of the zoo as a table for a terminal or a notebook."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from workbench.console import cell, table
from zoo.families.card import Card

COLUMNS = (
    "model", "input", "AP", "Mparams", "ours", "GFLOPs", "ours", "T4 ms", "licence of the weights",
)  # fmt: skip


class ModelTable(tuple[Card, ...]):
    """Cards, one a model. Prints as a table of published figures beside those measured on our build ("ours")."""

    __slots__ = ()

    def __new__(cls, cards: Iterable[Card]) -> ModelTable:
        return super().__new__(cls, cards)

    @property
    def names(self) -> list[str]:
        """Names of the models."""
        return [card.model for card in self]

    def rows(self) -> list[list[Any]]:
        """A row a model, in the order of ``COLUMNS``."""
        return [
            [
                card.model, card.input_px, card.ap, card.params_m, card.measured_params / 1e6, card.gflops,
                card.measured_flops / 1e9, card.t4_ms, card.weights_licence,
            ]
            for card in self
        ]  # fmt: skip

    def __repr__(self) -> str:
        return table(COLUMNS, self.rows())

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in COLUMNS)
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(cell(value))}</td>' for value in row)}</tr>" for row in self.rows()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
