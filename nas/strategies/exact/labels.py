"""Label setting over the layered graph, for budgets that a value table cannot hold exactly.

A label is a partial network: its node, its score and all its costs, in whole numbers. Stage by stage
every label meets every option; what breaks a budget, what another label dominates, and what cannot
reach the best score known even by the most optimistic value table is dropped. What is left at the end is proved best.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nas.strategies.exact.layers import Layers, Options
from nas.strategies.exact.values import NOWHERE, Values

CHUNK = 500_000
"""Label-option pairs looked at in one vectorised step."""
PASSES = (300, 10_000, 200_000)
"""Labels kept a layer in successive passes: two to find a good network, the last to prove it. A layer with more
keeps the most promising ones, and the certificate then states the bound of what was dropped."""
PRECUT = 5
"""Times as many labels may enter the dominance check."""


@dataclass(frozen=True)
class Found:
    """The outcome: ``row`` (None when nothing was found), its score and costs, the greatest bound of any label
    that was ``cut`` for lack of room (-inf when none was), and the number of labels made."""

    row: np.ndarray | None
    score: float
    costs: np.ndarray
    cut: float
    labels: int

    @property
    def bound(self) -> float:
        """No network under the limits can score more."""
        return max(self.score, self.cut)


class _OutOfTime(Exception):
    """A wide pass was given up at the deadline."""


@dataclass
class _Labels:
    """Labels of one layer, grouped by width: parallel arrays."""

    combo: np.ndarray
    score: np.ndarray
    costs: np.ndarray
    genes: np.ndarray
    bound: np.ndarray


class LabelSearch:
    """Best row under whole-number limits, with tables as bounds."""

    def __init__(
        self, layers: Layers, tables: list[Values], limits: np.ndarray, lows: np.ndarray, deadline: float = math.inf
    ) -> None:
        """``limits``/``lows``: greatest and least total of each resource, fixed costs taken off.

        Past ``deadline`` (``time.monotonic`` seconds) no further pass is begun and a wide one is given up;
        the bound of the last complete pass then stands.
        """
        self.deadline = deadline
        self.layers, self.tables, self.limits, self.lows = layers, tables, limits, lows
        self.strict: np.ndarray = np.zeros(len(limits), dtype=bool)
        """Resources in which a label may only dominate its equals (set when a lower end really binds)."""

    def solve(self, tick: Callable[[int, int], None] | None = None, passes: int = len(PASSES)) -> Found:
        """Narrow passes find a good network, a wide one proves the best; a binding lower end repeats them."""
        labels = 0
        known = NOWHERE
        best: Found | None = None
        found: Found | None = None
        for most in PASSES[:passes]:
            try:
                found = self._run(known, most, tick, math.inf if found is None else self.deadline)
            except _OutOfTime:
                break
            labels += found.labels
            if found.row is not None:  # a later pass keeps ties, so it may find an equal one that sorts first
                best, known = found, max(known, found.score)
            if found.cut < known or found.cut == NOWHERE:
                break
        assert found is not None  # the first pass has no deadline
        best = best or found
        if not self.strict.any() and self.lows.any() and (best.row is None or np.any(best.costs < self.lows)):
            self.strict = self.lows > 0
            again = self.solve(tick, passes)
            return dataclasses.replace(again, labels=again.labels + labels)
        return dataclasses.replace(best, cut=found.cut, labels=labels)

    def _run(self, known: float, most: int, tick: Callable[[int, int], None] | None, deadline: float) -> Found:
        layers = self.layers
        groups = self._stem_labels(known)
        made = sum(len(g.score) for g in groups.values())
        cut = NOWHERE
        for stage in range(layers.depth - 1):
            groups, dropped, new = self._expand(stage, groups, known, most, deadline)
            cut, made = max(cut, dropped), made + new
            if tick:
                tick(stage + 1, made)
        row, score, costs, new = self._close(groups, known)
        made += new
        return Found(row, score, costs, cut, made)

    def _stem_labels(self, known: float) -> dict[int, _Labels]:
        groups = {}
        stem = self.layers.stem
        for i in range(len(stem)):
            width = int(stem.genes[i, 0])
            if width not in self.layers.widths[0]:
                continue
            genes = np.zeros((1, 1 + 4 * self.layers.depth), dtype=np.int64)
            genes[0, 0] = width
            label = _Labels(np.zeros(1, dtype=np.int64), stem.score[i : i + 1].astype(np.float64), stem.costs[i : i + 1], genes, np.zeros(1))
            label.bound = label.score + self._ahead(0, width, label.combo, label.costs)
            if label.bound[0] >= known and np.isfinite(label.bound[0]):
                groups[width] = label
        return groups

    def _ahead(self, stage: int, cin: int, combo: np.ndarray, costs: np.ndarray) -> np.ndarray:
        """The smallest of all tables' bounds on the score to come."""
        best = np.full(len(combo), np.inf)
        for table in self.tables:
            if table.weights is not None:
                # Float sums may round either way: one step of slack keeps this an upper bound.
                left = np.floor((table.weights @ self.limits - costs @ table.weights) / table.step).astype(np.int64) + 1
            else:
                left = (self.limits[table.main] - costs[:, table.main]) // table.step
            second = np.zeros(len(combo), dtype=np.int64)
            if table.second is not None:
                second = (self.limits[table.second] - costs[:, table.second]) // table.second_unit
            best = np.minimum(best, table.bound(stage, cin, combo, second, left))
        return best

    def _expand(
        self, stage: int, groups: dict[int, _Labels], known: float, most: int, deadline: float
    ) -> tuple[dict[int, _Labels], float, int]:
        layers = self.layers
        fresh: dict[int, list[_Labels]] = {}
        made = 0
        for cin, labels in groups.items():
            if time.monotonic() > deadline:
                raise _OutOfTime
            combos = layers.combos(stage, cin)
            for out in layers.outs(stage, cin):
                room = self.limits - layers.cheapest_after[stage + 1][out]
                where = {combo: row for row, combo in enumerate(layers.combos(stage + 1, out))}
                moved = np.array([where[layers.next_combo(stage, combo, out)] for combo in combos])
                for piece in self._pairs(stage, out, labels, layers.arc(stage, cin, out), room, moved, known):
                    fresh.setdefault(out, []).append(piece)
                    made += len(piece.score)
        # Dominance is the slow part, so what is far too much is cut before it, and the rest after it.
        merged, cut = _best_bounds({out: _join(parts) for out, parts in fresh.items()}, PRECUT * most)
        for out, group in merged.items():
            if time.monotonic() > deadline:
                raise _OutOfTime
            merged[out] = self._skyline(group)
        merged, dropped = _best_bounds(merged, most)
        return {out: g for out, g in merged.items() if len(g.score)}, max(cut, dropped), made

    def _pairs(
        self, stage: int, out: int, labels: _Labels, options: Options, room: np.ndarray, moved: np.ndarray, known: float
    ) -> list[_Labels]:
        """Children of ``labels`` through ``options`` that keep the budgets and may still beat ``known``."""
        pieces = []
        per_chunk = max(1, CHUNK // max(1, len(options)))
        for start in range(0, len(labels.score), per_chunk):
            part = slice(start, start + per_chunk)
            costs = labels.costs[part, None, :] + options.costs[None]
            label, option = np.nonzero(np.all(costs <= room, axis=2))
            costs = costs[label, option]
            score = labels.score[part][label] + options.score[option]
            combo = moved[labels.combo[part][label]]
            bound = score + self._ahead(stage + 1, out, combo, costs)
            keep = np.flatnonzero((bound >= known) & np.isfinite(bound))
            genes = labels.genes[part][label[keep]]
            genes[:, 1 + 4 * stage : 5 + 4 * stage] = options.genes[option[keep]]
            pieces.append(_Labels(combo[keep], score[keep], costs[keep], genes, bound[keep]))
        return pieces

    def _skyline(self, labels: _Labels) -> _Labels:
        """Drop labels that another one at the same node dominates."""
        if not len(labels.score):
            return labels
        order = np.lexsort((*labels.genes.T[::-1], *labels.costs.T[::-1], -labels.score, labels.combo))
        labels = _take(labels, order)
        keep = np.ones(len(order), dtype=bool)
        starts = np.flatnonzero(np.r_[True, labels.combo[1:] != labels.combo[:-1]])
        for a, b in zip(starts, np.r_[starts[1:], len(order)], strict=True):
            keep[a:b] = _undominated_sorted(labels.costs[a:b], self.strict)
        return _take(labels, np.flatnonzero(keep))

    def _close(self, groups: dict[int, _Labels], known: float) -> tuple[np.ndarray | None, float, np.ndarray, int]:
        """Last stage with neck and head: the best complete network, ties by costs, then genes."""
        layers, stage = self.layers, self.layers.depth - 1
        best: tuple[tuple[float, ...], np.ndarray, np.ndarray] | None = None
        made = 0
        for cin, labels in groups.items():
            for row, combo in enumerate(layers.combos(stage, cin)):
                mine = _take(labels, np.flatnonzero(labels.combo == row))
                if not len(mine.score):
                    continue
                for out in layers.outs(stage, cin):
                    arc = layers.arc(stage, cin, out)
                    ending = Options(arc.genes, arc.score, arc.costs + layers.tail(layers.next_combo(stage, combo, out)))
                    per_chunk = max(1, CHUNK // len(ending))
                    for start in range(0, len(mine.score), per_chunk):
                        part = slice(start, start + per_chunk)
                        costs = mine.costs[part, None, :] + ending.costs[None]
                        fits = np.all((costs <= self.limits) & (costs >= np.where(self.strict, self.lows, 0)), axis=2)
                        label, option = np.nonzero(fits)
                        if not len(label):
                            continue
                        made += len(label)
                        score = mine.score[part][label] + ending.score[option]
                        top = np.flatnonzero(score == score.max())
                        if score[top[0]] < known or (best is not None and -score[top[0]] > best[0][0]):
                            continue
                        genes = mine.genes[part][label[top]].copy()
                        genes[:, 1 + 4 * stage :] = ending.genes[option[top]]
                        own = costs[label[top], option[top]]
                        first = np.lexsort((*genes.T[::-1], *own.T[::-1]))[0]
                        key = (-float(score[top[0]]), *own[first].tolist(), *genes[first].tolist())
                        if best is None or key < best[0]:
                            best = (key, genes[first], own[first])
        if best is None:
            return None, NOWHERE, np.zeros(len(self.limits), dtype=np.int64), made
        return best[1], -best[0][0], best[2], made


def _undominated_sorted(costs: np.ndarray, strict: np.ndarray) -> np.ndarray:
    """Mask of rows that no earlier row (higher or equal score) dominates; ``strict`` columns must be equal to dominate.

    Exact for one resource. For several, a row is compared with the first 4000 that were kept: dominance
    only prunes, so looking at fewer rivals costs time, never correctness.
    """
    n, width = costs.shape
    if width == 1 and not strict[0]:
        least = np.minimum.accumulate(costs[:, 0])
        return np.r_[True, costs[1:, 0] < least[:-1]]
    keep = np.zeros(n, dtype=bool)
    held = np.empty((min(n, 4000), width), dtype=np.int64)
    count = 0
    for start in range(0, n, 256):
        block = costs[start : start + 256]
        rivals = held[:count]
        less = (rivals[None] <= block[:, None]) & (~strict | (rivals[None] == block[:, None]))
        alive = ~np.any(np.all(less, axis=2), axis=1)
        index = np.flatnonzero(alive)
        own = block[index]
        within = (own[None] <= own[:, None]) & (~strict | (own[None] == own[:, None]))
        earlier = np.tri(len(index), k=-1, dtype=bool)
        index = index[~np.any(np.all(within, axis=2) & earlier, axis=1)]
        keep[start + index] = True
        take = min(len(index), len(held) - count)
        held[count : count + take] = block[index[:take]]
        count += take
    return keep


def _best_bounds(groups: dict[int, _Labels], most: int) -> tuple[dict[int, _Labels], float]:
    """The ``most`` labels of greatest bound, and the greatest bound among those left out."""
    if sum(len(g.score) for g in groups.values()) <= most:
        return groups, NOWHERE
    bounds = np.concatenate([g.bound for g in groups.values()])
    level = np.partition(bounds, len(bounds) - most)[len(bounds) - most]
    dropped = bounds[bounds < level].max(initial=NOWHERE)
    return {out: _take(g, np.flatnonzero(g.bound >= level)) for out, g in groups.items()}, float(dropped)


def _take(labels: _Labels, index: np.ndarray) -> _Labels:
    return _Labels(labels.combo[index], labels.score[index], labels.costs[index], labels.genes[index], labels.bound[index])


def _join(parts: list[_Labels]) -> _Labels:
    fields = ("combo", "score", "costs", "genes", "bound")
    return _Labels(*(np.concatenate([getattr(p, f) for p in parts]) for f in fields))
