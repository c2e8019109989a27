"""Options of an arc, and those of neck and head: all their choices behind all tap widths, costed at once.

An op of neck or head depends on few of the widths: on one tap, or on a tap and a level of the neck. Every width is
therefore an axis of its own, each op is costed on the axes that it depends on, and only the sums are as large as the
product of all axes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.budgets import LAYERS
from nas.costs import SpaceCosts, table_costs
from nas.scores.rows import RowScore
from search_spaces.architecture import Head, Neck
from search_spaces.graph import Graph
from search_spaces.op_table import NUMERIC, OpTable, fused_ops, op_row
from search_spaces.ops import Num
from workbench.errors import BadInput

MOST_TAILS = 40_000_000
"""Pairs of tap widths and tails that are costed; their table takes 8 bytes each for the score and every resource."""


@dataclass(frozen=True)
class Options:
    """The choices on one arc (or up to the end): parallel arrays ``[n]``, sorted by genes.

    ``genes``: ``[n, 5]`` out, btn, k, depth and the index of the kind (of a last arc: the genes of neck and head).
    ``score``: ticks. ``costs``: ``[n, resources]`` integers.
    """

    genes: np.ndarray
    score: np.ndarray
    costs: np.ndarray

    def __len__(self) -> int:
        return len(self.score)

    def take(self, index: np.ndarray) -> Options:
        """The options at ``index``."""
        return Options(self.genes[index], self.score[index], self.costs[index])


def cost_open_tails(row_score: RowScore, combos: np.ndarray, resources: Sequence[str], thin: bool) -> Options:
    """All choices of neck and head behind tap widths ``[combos, levels]``.

    ``thin`` leaves out structures that another one never loses to, whatever the widths: in score and in every cost.
    Returns genes ``[n, genes]``, score ``[combos, n]`` and costs ``[combos, n, resources]``.
    """
    costs, tail = row_score.costs, row_score.costs.space.tail
    assert tail is not None
    if len(combos) * tail.size > MOST_TAILS:
        raise BadInput(
            f"space {costs.space.name!r} has {len(combos):,} combinations of tapped widths and {tail.size:,} necks and "
            f"heads: at most {MOST_TAILS:,} pairs can be searched exactly; give fewer choices, or --strategy evolution"
        )
    levels = combos.shape[1]
    axes = [np.unique(column) for column in (*combos.T, *tail.widths.T)]
    spread = [_on_axis(axis, place, len(axes)) for place, axis in enumerate(axes)]
    taps, outs = spread[:levels], spread[levels:]
    tap_index = tuple(
        np.searchsorted(axis, column)[:, None] for axis, column in zip(axes[:levels], combos.T, strict=True)
    )
    out_index = tuple(
        np.searchsorted(axis, column)[None] for axis, column in zip(axes[levels:], tail.widths.T, strict=True)
    )
    shape = tuple(len(axis) for axis in axes)
    genes, scores, totals = [], [], []
    for structure in tail.structures:
        neck = dataclasses.replace(structure.neck, out=tuple[Any, ...](outs))
        score = np.broadcast_to(np.asarray(row_score.tail(taps, neck, structure.head)), shape)
        scores.append(score[tap_index + out_index].astype(np.int64))
        by_resource = _axis_costs(costs, taps, neck, structure.head, resources)
        totals.append(
            np.stack([np.broadcast_to(c, shape)[tap_index + out_index] for c in by_resource], axis=-1).astype(np.int64)
        )
        genes.append(tail.rows(tail.widths, structure))
    if thin:
        kept = [i for i in range(len(genes)) if not _is_beaten(i, scores, totals)]
        genes, scores, totals = ([values[i] for i in kept] for values in (genes, scores, totals))
    return Options(np.concatenate(genes), np.concatenate(scores, axis=1), np.concatenate(totals, axis=1))


def _is_beaten(index: int, scores: list[np.ndarray], totals: list[np.ndarray]) -> bool:
    """Whether another structure is at least as good everywhere, and an earlier one where both are equal."""
    for other in range(len(scores)):
        if other == index or (scores[other] < scores[index]).any() or (totals[other] > totals[index]).any():
            continue
        equal = (scores[other] == scores[index]).all() and (totals[other] == totals[index]).all()
        if not equal or other < index:
            return True
    return False


def _on_axis(values: np.ndarray, axis: int, axes: int) -> np.ndarray:
    """``values`` along one of ``axes`` axes."""
    return values.reshape([-1 if place == axis else 1 for place in range(axes)])


def _axis_costs(
    costs: SpaceCosts, taps: Sequence[np.ndarray], neck: Neck, head: Head, resources: Sequence[str]
) -> list[Num]:
    """Costs of neck and head by resource: integers, or arrays over the axes that they depend on."""
    graph = costs.tail_graph(*taps, neck=neck, head=head)
    graph = Graph(graph.ops, costs.tail_inputs(taps), graph.outputs)
    shapes, inputs = graph.shapes(None), graph.input_shapes(None)
    fused = fused_ops(graph.ops, graph.outputs)
    sums: list[dict[tuple[int, ...], np.ndarray]] = [{} for _ in resources]
    for index, op in enumerate(graph.ops):
        row = op_row(op, [shapes[i] if i >= 0 else inputs[-1 - i] for i in op.inputs], shapes[index])
        row |= {"fused": float(fused[index]), "count": op.count}
        columns = np.broadcast_arrays(*(np.asarray(row[name], dtype=np.float64) for name in NUMERIC))
        shape = columns[0].shape
        table = OpTable(
            (op.kind,), (op.activation,), (op.part,), (op.name,),
            **{name: column.reshape(1, -1) for name, column in zip(NUMERIC, columns, strict=True)},
        )  # fmt: skip
        of_op = table_costs(table, costs.profiles)
        for place, name in enumerate(resources):
            if name != LAYERS:  # ops that depend on the same axes are added before they are spread over all of them
                sums[place][shape] = sums[place].get(shape, 0) + of_op[name].reshape(shape)
    return [sum(by_shape.values()) for by_shape in sums]
