"""Value tables: for every node, the best score that can still be reached with exactly r of the main resource.

A dense dynamic program, backwards over the layers. Costs are counted in steps of ``step`` integer units, rounded down:
with ``step`` 1 the tables are exact and hold the whole Pareto front at the root; with a larger step they are upper
bounds, with which label setting prunes. A second, small resource (layers) may be kept exactly as another axis.

Scores are integer ticks stored as float64, exact below 2**53, with -inf for "not reachable".
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from nas.strategies.exact.layers import Layers, undominated
from nas.strategies.exact.tails import Options

NOWHERE = -np.inf


@dataclass(frozen=True)
class Axes:
    """What the axes of a table count.

    Args:
        main: Column of the main resource in the layers' costs.
        ceiling: Greatest main cost of interest, in integer units.
        step: Units of the main resource per table entry.
        second: Column of a second resource that is kept exactly, if any.
        second_unit: Units of the second resource per table entry.
        weights: Float ``[resources]``; replaces the main resource by a weighted sum.
    """

    main: int
    ceiling: int
    step: int = 1
    second: int | None = None
    second_unit: int = 1
    weights: np.ndarray | None = None

    def main_cost(self, costs: np.ndarray) -> np.ndarray:
        """Main cost of ``[n, resources]`` in steps, rounded down."""
        if self.weights is not None:
            return np.floor(costs @ self.weights / self.step).astype(np.int64)
        return costs[:, self.main] // self.step

    def second_cost(self, costs: np.ndarray) -> np.ndarray:
        """Second cost of ``[n, resources]`` in its units; zeros without one."""
        if self.second is None:
            return np.zeros(len(costs), dtype=np.int64)
        return costs[:, self.second] // self.second_unit


@dataclass(frozen=True)
class CostedOptions:
    """Options of an arc with their main and second costs in table units, ``[n]`` each."""

    options: Options
    main: np.ndarray
    second: np.ndarray


@dataclass
class Block:
    """Values of all nodes of one width: ``score[combo, second units, r - low]``."""

    low: int
    score: np.ndarray

    @property
    def high(self) -> int:
        """One past the last r of this block."""
        return self.low + self.score.shape[2]

    @functools.cached_property
    def upto(self) -> np.ndarray:
        """Running maxima of ``score`` over both resources, with a leading -inf for "less than the least"."""
        maxima = np.maximum.accumulate(np.maximum.accumulate(self.score, axis=2), axis=1)
        return np.concatenate([np.full((*maxima.shape[:2], 1), NOWHERE), maxima], axis=2)


class Values:
    """Tables before every stage."""

    def __init__(
        self, layers: Layers, axes: Axes, prune: bool = True, progress: Callable[[float], None] | None = None
    ) -> None:
        """``prune`` drops dominated options, which keeps every "at most r" optimum but not every "exactly r" one.

        ``progress`` is called with the share of the tables that are filled.
        """
        self.layers, self.axes, self.prune = layers, axes, prune
        self.ceiling = int(axes.ceiling // axes.step)
        self.second_top = 0 if axes.second is None else int(layers.limits[axes.second] // axes.second_unit)
        self.entries = 0
        self._lock = threading.Lock()
        self._options: dict[tuple[int, int, int], CostedOptions] = {}
        self._tails: dict[tuple[int, ...], CostedOptions] = {}
        self.before = self._least_before()
        self.blocks: list[dict[int, Block]] = [{} for _ in range(layers.depth + layers.open_tail)]
        if layers.open_tail:
            self._fill_tails()
        else:
            self._fill_last()
        if progress:
            progress(0.1)
        for stage in reversed(range(len(self.blocks) - 1)):
            self._fill(stage, self._join_tails if stage == layers.depth - 1 else self._fill_width)
            if progress:
                progress(1.0 - 0.8 * stage / max(1, layers.depth - 1))
        self.root_low, self.root = self._fill_root()

    def options(self, stage: int, cin: int, out: int) -> CostedOptions:
        """Options of an arc, without dominated ones where ``prune``."""
        key = (stage, cin, out)
        if key not in self._options:
            self._options[key] = self._thin(self.layers.arc(stage, cin, out))
        return self._options[key]

    def last_options(self, cin: int, combo: tuple[int, ...]) -> CostedOptions:
        """Options of the last stage with the costs of neck and head added, over every final width."""
        key = (-1, cin, self.layers.combos(self.layers.depth - 1, cin).index(combo))
        if key not in self._options:
            stage = self.layers.depth - 1
            parts = []
            for out in self.layers.outs(stage, cin):
                arc = self.layers.arc(stage, cin, out)
                tail = self.layers.tail(self.layers.next_combo(stage, combo, out))
                parts.append(Options(arc.genes, arc.score, arc.costs + tail))
            every = Options(*(np.concatenate([getattr(p, f) for p in parts]) for f in ("genes", "score", "costs")))
            self._options[key] = self._thin(every)
        return self._options[key]

    def bound(
        self, stage: int, cin: int, rows: np.ndarray, second_left: np.ndarray, main_left: np.ndarray
    ) -> np.ndarray:
        """Upper bound ``[n]`` on the score still to come, for nodes ``(cin, combo row)`` before ``stage``."""
        block = self.blocks[stage].get(cin)
        if block is None:
            return np.full(np.shape(rows), NOWHERE)
        place = np.clip(main_left - block.low, -1, block.score.shape[2] - 1) + 1
        return np.asarray(block.upto[rows, np.clip(second_left, 0, self.second_top), place])

    def _thin(self, options: Options) -> CostedOptions:
        """The options in table units, without dominated ones where ``prune``."""
        main, second = self.axes.main_cost(options.costs), self.axes.second_cost(options.costs)
        if self.prune:
            columns = (0,) if self.axes.second is None else (0, 1)
            in_units = Options(options.genes, options.score, np.stack([main, second], axis=1))
            keep = undominated(in_units, columns)
            options, main, second = options.take(keep), main[keep], second[keep]
        return CostedOptions(options, main, second)

    def _least_before(self) -> list[dict[int, int]]:
        """Least main cost (steps) from the image to every width."""
        layers = self.layers
        stem_cost = self.axes.main_cost(layers.stem.costs)
        tables = [{int(g[0]): int(c) for g, c in zip(layers.stem.genes, stem_cost, strict=True)}]
        for stage in range(layers.depth):
            here: dict[int, int] = {}
            for cin in layers.widths[stage]:
                for out in layers.outs(stage, cin):
                    total = tables[-1][cin] + int(self.axes.main_cost(layers.arc(stage, cin, out).costs).min())
                    here[out] = min(here.get(out, total), total)
            tables.append(here)
        return tables

    def _fill_last(self) -> None:
        stage = self.layers.depth - 1
        for cin in self.layers.widths[stage]:
            top = self.ceiling - self.before[stage][cin]
            combos = self.layers.combos(stage, cin)
            endings = [self.last_options(cin, combo) for combo in combos]
            low = min((int(ending.main.min()) for ending in endings), default=0)
            if not combos or top < low:
                continue
            score = np.full((len(combos), self.second_top + 1, top - low + 1), NOWHERE)
            for row, ending in enumerate(endings):
                fits = (ending.main <= top) & (ending.second <= self.second_top)
                places = (ending.second[fits], ending.main[fits] - low)
                np.maximum.at(score[row], places, ending.options.score[fits])
                self.entries += int(fits.sum())
            self.blocks[stage][cin] = Block(low, score)

    def tails(self, combo: tuple[int, ...]) -> CostedOptions:
        """Options of neck and head behind tap widths, without dominated ones where ``prune``."""
        if combo not in self._tails:
            self._tails[combo] = self._thin(self.layers.tails(combo))
        return self._tails[combo]

    def _fill_tails(self) -> None:
        """Values behind the last stage: the choices of neck and head."""
        for out in self.layers.widths[-1]:
            top = self.ceiling - self.before[-1][out]
            endings = [self.tails(combo) for combo in self.layers.combos(self.layers.depth, out)]
            low = min((int(ending.main.min()) for ending in endings), default=0)
            high = min(top, max((int(ending.main.max()) for ending in endings), default=0))
            if not endings or high < low:
                continue
            score = np.full((len(endings), self.second_top + 1, high - low + 1), NOWHERE)
            for row, ending in enumerate(endings):
                fits = (ending.main <= high) & (ending.second <= self.second_top)
                np.maximum.at(score[row], (ending.second[fits], ending.main[fits] - low), ending.options.score[fits])
                self.entries += int(fits.sum())
            self.blocks[-1][out] = Block(low, score)

    def _join_tails(self, stage: int, cin: int) -> Block | None:
        """Values of a width before the last stage where neck and head have choices.

        As in ``_fill_width``, but with the options of the arc as a table, because those of neck and head are fewer.
        """
        layers, nexts = self.layers, self.blocks[stage + 1]
        outs = [out for out in layers.outs(stage, cin) if out in nexts]
        if self.second_top > 0 or not outs:
            return self._fill_width(stage, cin)
        top = self.ceiling - self.before[stage][cin]
        low = min(nexts[out].low + int(self.options(stage, cin, out).main.min()) for out in outs)
        if low > top:
            return None
        combos = layers.combos(stage, cin)
        score = np.full((len(combos), 1, top - low + 1), NOWHERE)
        buffer = np.empty(top - low + 1)
        work = 0
        for out in outs:
            arc = self.options(stage, cin, out)
            least = int(arc.main.min())
            table = np.full(int(arc.main.max()) - least + 1, NOWHERE)
            np.maximum.at(table, arc.main - least, arc.options.score)
            for row, combo in enumerate(combos):
                ending = self.tails(layers.next_combo(stage, combo, out))
                for gain, cost in zip(ending.options.score.tolist(), ending.main.tolist(), strict=True):
                    start = least + cost - low
                    length = min(len(table), score.shape[2] - start)
                    if length > 0:
                        target = score[row, 0, start : start + length]
                        np.maximum(target, np.add(table[:length], gain, out=buffer[:length]), out=target)
                        work += length
        with self._lock:
            self.entries += work
        return Block(low, score)

    def _fill(self, stage: int, fill: Callable[[int, int], Block | None]) -> None:
        """Values before ``stage`` from those before ``stage + 1``; widths are independent and run in two threads."""
        with ThreadPoolExecutor(max_workers=2) as pool:
            results = pool.map(lambda cin: (cin, fill(stage, cin)), self.layers.widths[stage][::-1])
            for cin, block in results:
                if block is not None:
                    self.blocks[stage][cin] = block

    def _fill_width(self, stage: int, cin: int) -> Block | None:
        layers, nexts = self.layers, self.blocks[stage + 1]
        top = self.ceiling - self.before[stage][cin]
        outs = [out for out in layers.outs(stage, cin) if out in nexts]
        lows = [nexts[out].low + int(self.options(stage, cin, out).main.min()) for out in outs]
        if not lows or min(lows) > top:
            return None
        low = min(lows)
        combos = layers.combos(stage, cin)
        score = np.full((len(combos), self.second_top + 1, top - low + 1), NOWHERE)
        buffer = np.empty_like(score)
        work = 0
        for out in outs:
            block = nexts[out]
            index = {combo: row for row, combo in enumerate(layers.combos(stage + 1, out))}
            rows = [index[layers.next_combo(stage, combo, out)] for combo in combos]
            source = block.score[_as_slice(rows)]
            arc = self.options(stage, cin, out)
            for gain, cost, units in zip(
                arc.options.score.tolist(), arc.main.tolist(), arc.second.tolist(), strict=True
            ):
                start = block.low + cost - low
                length = min(source.shape[2], score.shape[2] - start)
                if length <= 0 or units > self.second_top:
                    continue
                upper = self.second_top + 1 - units
                sums = buffer[:, :upper, :length]
                np.add(source[:, :upper, :length], gain, out=sums)
                target = score[:, units:, start : start + length]
                np.maximum(target, sums, out=target)
                work += sums.size
        with self._lock:
            self.entries += work
        return Block(low, score)

    def _fill_root(self) -> tuple[int, np.ndarray]:
        """Least main cost of a whole network, and its best score by ``[second units, main - root_low]``."""
        stem = self.layers.stem
        widths, gains = stem.genes[:, 0].tolist(), stem.score.tolist()
        cost, units = self.axes.main_cost(stem.costs).tolist(), self.axes.second_cost(stem.costs).tolist()
        lows = [c + self.blocks[0][w].low for w, c in zip(widths, cost, strict=True) if w in self.blocks[0]]
        if not lows or min(lows) > self.ceiling:
            return 0, np.full((self.second_top + 1, 0), NOWHERE)
        low = min(lows)
        root = np.full((self.second_top + 1, self.ceiling - low + 1), NOWHERE)
        for width, c, u, gain in zip(widths, cost, units, gains, strict=True):
            block = self.blocks[0].get(width)
            if block is None:
                continue
            start = block.low + c - low
            length = min(block.score.shape[2], root.shape[1] - start)
            if length > 0 and u <= self.second_top:
                target = root[u:, start : start + length]
                np.maximum(target, block.score[0, : self.second_top + 1 - u, :length] + gain, out=target)
        return low, root

    @property
    def reached(self) -> int:
        """Table entries that some partial network reaches: the labels of this method."""
        return sum(int(np.isfinite(block.score).sum()) for stage in self.blocks for block in stage.values())

    def trace(self, second: int, main: int, score: float) -> np.ndarray:
        """The row ``[genes]`` behind one root value (exact tables only); of several, that with the smallest genes."""
        stem = self.layers.stem
        cost, units = self.axes.main_cost(stem.costs), self.axes.second_cost(stem.costs)
        for i in range(len(stem)):
            width = int(stem.genes[i, 0])
            rest = (second - int(units[i]), main - int(cost[i]), score - float(stem.score[i]))
            if self._value(0, width, (), rest[0], rest[1]) == rest[2]:
                genes = self._trace(0, width, (), *rest)
                stages, tail = genes[: self.layers.depth], genes[self.layers.depth :]
                return self.layers.to_row(width, stages, tail[0] if tail else ())
        raise AssertionError("a root value has no stem behind it")

    def _trace(
        self, stage: int, cin: int, combo: tuple[int, ...], second: int, main: int, score: float
    ) -> list[list[int]]:
        """Genes of the options from ``stage`` on."""
        if stage == len(self.blocks) - 1:
            ending = self.tails(combo) if self.layers.open_tail else self.last_options(cin, combo)
            hits = np.flatnonzero((ending.main == main) & (ending.second == second) & (ending.options.score == score))
            return [[int(v) for v in ending.options.genes[hits[0]]]]
        for out in self.layers.outs(stage, cin):
            block = self.blocks[stage + 1].get(out)
            if block is None:
                continue
            arc = self.options(stage, cin, out)
            following = self.layers.next_combo(stage, combo, out)
            row = self.layers.combos(stage + 1, out).index(following)
            place, left = main - arc.main - block.low, second - arc.second
            inside = (place >= 0) & (place < block.score.shape[2]) & (left >= 0)
            values = np.full(len(arc.options), NOWHERE)
            values[inside] = block.score[row, left[inside], place[inside]]
            hits = np.flatnonzero(values == score - arc.options.score)
            if len(hits):
                i = int(hits[0])
                genes = [int(v) for v in arc.options.genes[i]]
                main_left = main - int(arc.main[i])
                return [genes, *self._trace(stage + 1, out, following, int(left[i]), main_left, float(values[i]))]
        raise AssertionError("a value has no option behind it")

    def _value(self, stage: int, cin: int, combo: tuple[int, ...], second: int, main: int) -> float:
        block = self.blocks[stage].get(cin)
        if block is None or not block.low <= main < block.high or not 0 <= second <= self.second_top:
            return NOWHERE
        return float(block.score[self.layers.combos(stage, cin).index(combo), second, main - block.low])


def table_bytes(layers: Layers, main: int, second_top: int, step: int) -> int:
    """Bytes that tables of resource ``main`` with ``step`` would take under the layers' limits."""
    entries = 0
    for stage in range(layers.depth + layers.open_tail):
        for cin in layers.widths[stage]:
            least = layers.cheapest_before[stage][cin][main] + layers.cheapest_after[stage][cin][main]
            room = layers.limits[main] - least
            if room >= 0:
                entries += len(layers.combos(stage, cin)) * (second_top + 1) * (int(room) // step + 1)
    return 8 * entries


def _as_slice(rows: list[int]) -> slice | list[int]:
    """A slice where the rows are consecutive (no copy), else the list."""
    if rows and rows == list(range(rows[0], rows[0] + len(rows))):
        return slice(rows[0], rows[0] + len(rows))
    return rows
