"""Label setting over the layered graph, for budgets that a value table cannot hold exactly.

A label is a partial network: its node, its score and all its costs, in integers. Stage by stage every label is extended
by every option. A child is dropped when it breaks a budget, when another label dominates it, or when even the most
optimistic value table says that it cannot reach the best known score. The best label at the end is proved best.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from nas.strategies.exact.layers import Layers
from nas.strategies.exact.tails import Options
from nas.strategies.exact.values import NOWHERE, Values

CHUNK = 500_000
"""Label-option pairs processed in one vectorized step."""
PASSES = (300, 10_000, 200_000)
"""Labels kept a layer in successive passes: two to find a good network, the last to prove it. A layer with more keeps
the most promising ones, and the certificate then states the bound of the dropped ones."""
PRECUT = 5
"""Times as many labels may enter the dominance check."""

Progress = Callable[[int, int], None]
"""Called with the stage and the number of labels made."""


@dataclass(frozen=True)
class LabelResult:
    """The best network: its ``row`` (None where nothing was found), score and costs ``[resources]``.

    ``cut``: the greatest bound of any label dropped for lack of room, -inf where none was. ``labels``: labels made.
    """

    row: np.ndarray | None
    score: float
    costs: np.ndarray
    cut: float
    labels: int

    @property
    def bound(self) -> float:
        """No network under the limits can score more."""
        return max(self.score, self.cut)


@dataclass(frozen=True)
class Pass:
    """One pass over the layers: the score to beat, labels kept a layer, and when to give up (monotonic seconds)."""

    known: float
    most: int
    deadline: float


class _OutOfTime(Exception):
    """A wide pass was given up at the deadline."""


@dataclass
class Labels:
    """Labels of one layer at one width: arrays ``[n]``, ``costs`` ``[n, resources]`` and ``genes`` ``[n, genes]``.

    Genes are those of options: the stem's width, five a stage, then those of neck and head.

    ``combo`` is the index of the tap widths; ``bound`` the most that a completion can score.
    """

    combo: np.ndarray
    score: np.ndarray
    costs: np.ndarray
    genes: np.ndarray
    bound: np.ndarray

    def take(self, index: np.ndarray) -> Labels:
        """The labels at ``index``."""
        return Labels(self.combo[index], self.score[index], self.costs[index], self.genes[index], self.bound[index])


@dataclass(frozen=True)
class _Expansion:
    """Labels after a stage by width, the greatest bound among dropped ones, and the number of labels made."""

    groups: dict[int, Labels]
    cut: float
    made: int


class LabelSearch:
    """Best row under integer limits, with tables as bounds."""

    def __init__(
        self, layers: Layers, tables: list[Values], limits: np.ndarray, lows: np.ndarray, deadline: float = math.inf
    ) -> None:
        """``limits``/``lows``: greatest and least total of each resource, fixed costs subtracted.

        Past ``deadline`` (``time.monotonic`` seconds) no further pass is started and a wide one is given up; the bound
        of the last complete pass then stands.
        """
        self.deadline = deadline
        self.layers, self.tables, self.limits, self.lows = layers, tables, limits, lows
        self.strict: np.ndarray = np.zeros(len(limits), dtype=bool)
        """Resources in which a label may only dominate its equals (set when a lower end really binds)."""

    def solve(self, progress: Progress | None = None, passes: int = len(PASSES)) -> LabelResult:
        """Narrow passes find a good network, a wide one proves the best; a binding lower end repeats them."""
        labels = 0
        known = NOWHERE
        best: LabelResult | None = None
        last: LabelResult | None = None
        for most in PASSES[:passes]:
            try:
                last = self._run(Pass(known, most, math.inf if last is None else self.deadline), progress)
            except _OutOfTime:
                break
            labels += last.labels
            if last.row is not None:  # a later pass keeps ties, so it may find an equal one that sorts first
                best, known = last, max(known, last.score)
            if last.cut < known or last.cut == NOWHERE:
                break
        assert last is not None  # the first pass has no deadline
        best = best or last
        if not self.strict.any() and self.lows.any() and (best.row is None or np.any(best.costs < self.lows)):
            self.strict = self.lows > 0
            again = self.solve(progress, passes)
            return dataclasses.replace(again, labels=again.labels + labels)
        return dataclasses.replace(best, cut=last.cut, labels=labels)

    def _run(self, one_pass: Pass, progress: Progress | None) -> LabelResult:
        groups = self._stem_labels(one_pass.known)
        made = sum(len(group.score) for group in groups.values())
        cut = NOWHERE
        for stage in range(self.layers.depth - 1 + self.layers.open_tail):
            expansion = self._expand(stage, groups, one_pass)
            groups, cut, made = expansion.groups, max(cut, expansion.cut), made + expansion.made
            if progress:
                progress(stage + 1, made)
        result = self._close(groups, one_pass.known)
        return dataclasses.replace(result, cut=cut, labels=made + result.labels)

    def _stem_labels(self, known: float) -> dict[int, Labels]:
        groups = {}
        stem = self.layers.stem
        for i in range(len(stem)):
            width = int(stem.genes[i, 0])
            if width not in self.layers.widths[0]:
                continue
            genes = np.zeros((1, 1 + 5 * self.layers.depth + len(self.layers.first_tail)), dtype=np.int64)
            genes[0, 0] = width
            score, costs = stem.score[i : i + 1].astype(np.float64), stem.costs[i : i + 1]
            label = Labels(np.zeros(1, dtype=np.int64), score, costs, genes, np.zeros(1))
            label.bound = label.score + self._ahead(0, width, label.combo, label.costs)
            if label.bound[0] >= known and np.isfinite(label.bound[0]):
                groups[width] = label
        return groups

    def _ahead(self, stage: int, cin: int, combo: np.ndarray, costs: np.ndarray) -> np.ndarray:
        """The smallest of all tables' bounds ``[n]`` on the score to come."""
        best = np.full(len(combo), np.inf)
        for table in self.tables:
            axes = table.axes
            if axes.weights is not None:
                # Float sums may round either way: one step of slack keeps this an upper bound.
                left = np.floor((axes.weights @ self.limits - costs @ axes.weights) / axes.step).astype(np.int64) + 1
            else:
                left = (self.limits[axes.main] - costs[:, axes.main]) // axes.step
            second = np.zeros(len(combo), dtype=np.int64)
            if axes.second is not None:
                second = (self.limits[axes.second] - costs[:, axes.second]) // axes.second_unit
            best = np.minimum(best, table.bound(stage, cin, combo, second, left))
        return best

    def _expand(self, stage: int, groups: dict[int, Labels], one_pass: Pass) -> _Expansion:
        layers = self.layers
        fresh: dict[int, list[Labels]] = {}
        made = 0
        for cin, labels in groups.items():
            if time.monotonic() > one_pass.deadline:
                raise _OutOfTime
            for out in layers.outs(stage, cin):
                for piece in self._children(stage, (cin, out), labels, one_pass.known):
                    fresh.setdefault(out, []).append(piece)
                    made += len(piece.score)
        # Dominance is the slow part, so far too many labels are cut before it, and the rest after it.
        joined, cut = keep_best_bounds({out: _join(parts) for out, parts in fresh.items()}, PRECUT * one_pass.most)
        for out, group in joined.items():
            if time.monotonic() > one_pass.deadline:
                raise _OutOfTime
            joined[out] = self._skyline(group)
        joined, dropped = keep_best_bounds(joined, one_pass.most)
        return _Expansion({out: group for out, group in joined.items() if len(group.score)}, max(cut, dropped), made)

    def _children(self, stage: int, arc: tuple[int, int], labels: Labels, known: float) -> Iterator[Labels]:
        """Children of ``labels`` over ``arc`` that keep the budgets and may still beat ``known``, in chunks."""
        layers, (cin, out) = self.layers, arc
        options = layers.arc(stage, cin, out)
        room = self.limits - layers.cheapest_after[stage + 1][out]
        index = {combo: row for row, combo in enumerate(layers.combos(stage + 1, out))}
        combos = layers.combos(stage, cin)
        next_combos = np.array([index[layers.next_combo(stage, combo, out)] for combo in combos])
        per_chunk = max(1, CHUNK // max(1, len(options)))
        for start in range(0, len(labels.score), per_chunk):
            part = slice(start, start + per_chunk)
            costs = labels.costs[part, None, :] + options.costs[None]
            label, option = np.nonzero(np.all(costs <= room, axis=2))
            costs = costs[label, option]
            score = labels.score[part][label] + options.score[option]
            combo = next_combos[labels.combo[part][label]]
            bound = score + self._ahead(stage + 1, out, combo, costs)
            keep = np.flatnonzero((bound >= known) & np.isfinite(bound))
            genes = labels.genes[part][label[keep]]
            genes[:, _genes_of(stage)] = options.genes[option[keep]]
            yield Labels(combo[keep], score[keep], costs[keep], genes, bound[keep])

    def _skyline(self, labels: Labels) -> Labels:
        """Drop labels that another one at the same node dominates."""
        if not len(labels.score):
            return labels
        order = np.lexsort((*labels.genes.T[::-1], *labels.costs.T[::-1], -labels.score, labels.combo))
        labels = labels.take(order)
        keep = np.ones(len(order), dtype=bool)
        starts = np.flatnonzero(np.r_[True, labels.combo[1:] != labels.combo[:-1]])
        for a, b in zip(starts, np.r_[starts[1:], len(order)], strict=True):
            keep[a:b] = undominated_sorted(labels.costs[a:b], self.strict)
        return labels.take(np.flatnonzero(keep))

    def _close(self, groups: dict[int, Labels], known: float) -> LabelResult:
        """Last stage with neck and head: the best complete network, ties by costs, then genes."""
        best: tuple[tuple[float, ...], np.ndarray, np.ndarray] | None = None
        made = 0
        for labels, ending, columns in self._endings(groups):
            for count, top in self._complete(labels, ending, columns):
                made += count
                if -top[0][0] >= known and (best is None or top[0] < best[0]):
                    best = top
        if best is None:
            return LabelResult(None, NOWHERE, np.zeros(len(self.limits), dtype=np.int64), NOWHERE, made)
        key, genes, costs = best
        depth = self.layers.depth
        stages = genes[1 : 1 + 5 * depth].reshape(depth, 5).tolist()
        row = self.layers.to_row(int(genes[0]), stages, genes[1 + 5 * depth :].tolist())
        return LabelResult(row, -key[0], costs, NOWHERE, made)

    def _endings(self, groups: dict[int, Labels]) -> Iterator[tuple[Labels, Options, slice]]:
        """Labels of one node, options that complete them, and the columns of the options' genes.

        The options are those of the last stage with its neck and head, or, where these have choices, those alone.
        """
        layers = self.layers
        stage = layers.depth - 1 + layers.open_tail
        for cin, group in groups.items():
            for row, combo in enumerate(layers.combos(stage, cin)):
                labels = group.take(np.flatnonzero(group.combo == row))
                if not len(labels.score):
                    continue
                if layers.open_tail:
                    yield labels, layers.tails(combo), slice(1 + 5 * layers.depth, None)
                    continue
                for out in layers.outs(stage, cin):
                    arc = layers.arc(stage, cin, out)
                    tail = layers.tail(layers.next_combo(stage, combo, out))
                    yield labels, Options(arc.genes, arc.score, arc.costs + tail), _genes_of(stage)

    def _complete(
        self, labels: Labels, ending: Options, columns: slice
    ) -> Iterator[tuple[int, tuple[tuple[float, ...], np.ndarray, np.ndarray]]]:
        """For every chunk: how many networks keep the budgets, and the first of them by (sort key, genes, costs)."""
        least = np.where(self.strict, self.lows, 0)
        per_chunk = max(1, CHUNK // len(ending))
        for start in range(0, len(labels.score), per_chunk):
            part = slice(start, start + per_chunk)
            costs = labels.costs[part, None, :] + ending.costs[None]
            label, option = np.nonzero(np.all((costs <= self.limits) & (costs >= least), axis=2))
            if not len(label):
                continue
            score = labels.score[part][label] + ending.score[option]
            top = np.flatnonzero(score == score.max())
            genes = labels.genes[part][label[top]].copy()
            genes[:, columns] = ending.genes[option[top]]
            totals = costs[label[top], option[top]]
            first = np.lexsort((*genes.T[::-1], *totals.T[::-1]))[0]
            key = (-float(score[top[0]]), *totals[first].tolist(), *genes[first].tolist())
            yield len(label), (key, genes[first], totals[first])


def _genes_of(stage: int) -> slice:
    """Columns of a stage's genes in those of a label."""
    return slice(1 + 5 * stage, 6 + 5 * stage)


def undominated_sorted(costs: np.ndarray, strict: np.ndarray) -> np.ndarray:
    """Mask ``[n]`` of rows ``[n, resources]`` that no earlier row (of higher or equal score) dominates.

    Costs in ``strict`` columns must be equal to dominate. Exact for one resource. For several, a row is compared with
    the first 4000 that were kept: dominance only prunes, so fewer comparisons cost time, never correctness.
    """
    n, width = costs.shape
    if width == 1 and not strict[0]:
        least = np.minimum.accumulate(costs[:, 0])
        return np.r_[True, costs[1:, 0] < least[:-1]]
    keep = np.zeros(n, dtype=bool)
    kept = np.empty((min(n, 4000), width), dtype=np.int64)
    count = 0
    for start in range(0, n, 256):
        block = costs[start : start + 256]
        rivals = kept[:count]
        less = (rivals[None] <= block[:, None]) & (~strict | (rivals[None] == block[:, None]))
        alive = ~np.any(np.all(less, axis=2), axis=1)
        index = np.flatnonzero(alive)
        rows = block[index]
        within = (rows[None] <= rows[:, None]) & (~strict | (rows[None] == rows[:, None]))
        earlier = np.tri(len(index), k=-1, dtype=bool)
        index = index[~np.any(np.all(within, axis=2) & earlier, axis=1)]
        keep[start + index] = True
        room = min(len(index), len(kept) - count)
        kept[count : count + room] = block[index[:room]]
        count += room
    return keep


def keep_best_bounds(groups: dict[int, Labels], most: int) -> tuple[dict[int, Labels], float]:
    """The ``most`` labels of greatest bound, and the greatest bound among the dropped ones (-inf without any)."""
    if sum(len(group.score) for group in groups.values()) <= most:
        return groups, NOWHERE
    bounds = np.concatenate([group.bound for group in groups.values()])
    level = np.partition(bounds, len(bounds) - most)[len(bounds) - most]
    dropped = bounds[bounds < level].max(initial=NOWHERE)
    return {out: group.take(np.flatnonzero(group.bound >= level)) for out, group in groups.items()}, float(dropped)


def _join(parts: list[Labels]) -> Labels:
    fields = ("combo", "score", "costs", "genes", "bound")
    return Labels(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))
