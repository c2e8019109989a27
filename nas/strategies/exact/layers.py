"""The search as a layered graph: nodes between stages, arcs through them, costs in integers.

A *node* before stage i is a width ``cin`` with the tap widths that earlier stages have fixed, because neck and head are
costed from all tap widths together. An *arc* ``(cin, out)`` of stage i carries the options ``(btn, k, depth, kind)``
with their score and costs. Where neck and head have choices, they are the options of a last arc. The module knows
nothing of how the graph is searched.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from nas.scores.rows import RowScore
from nas.strategies.exact.tails import Options, cost_open_tails


class Layers:
    """All arcs of a space under a set of budgeted resources, costed once, vectorised a stage at a time."""

    def __init__(
        self, row_score: RowScore, resources: tuple[str, ...], limits: dict[str, int], thin: bool = True
    ) -> None:
        """``limits``: the integer budget of every resource, fixed costs subtracted.

        ``thin`` leaves out necks and heads that others beat in score and in every cost, which no budget with a lower
        end allows.
        """
        self.thin = thin
        self.row_score, self.space_costs = row_score, row_score.costs
        self.space, self.resources = self.space_costs.space, resources
        self.limits = np.array([limits[name] for name in resources], dtype=np.int64)
        self.taps = self.space_costs.taps if self.space_costs.scope == "detector" else ()
        self.depth = len(self.space.stages)
        self.widths = self._reachable()
        self._arcs = [self._cost_stage(i) for i in range(self.depth)]
        self.stem = self._cost_stem()
        self.open_tail = bool(self.taps) and self.space.tail is not None
        self.first_tail: Sequence[int] = () if self.space.tail is None else self.space.tail.first.tolist()
        self._tails = self._cost_tails()
        self.cheapest_after = self._cheapest_after()
        self.cheapest_before = self._cheapest_before()

    def arc(self, stage: int, cin: int, out: int) -> Options:
        """Options of stage ``stage`` between two widths."""
        return self._arcs[stage][(cin, out)]

    def outs(self, stage: int, cin: int) -> list[int]:
        """Widths that stage ``stage`` may have after ``cin``, ascending."""
        return [out for out in self.widths[stage + 1] if (cin, out) in self._arcs[stage]]

    def combos(self, stage: int, cin: int) -> list[tuple[int, ...]]:
        """Tap widths fixed before stage ``stage`` at node width ``cin`` (sorted)."""
        return self._combos[stage][cin]

    def next_combo(self, stage: int, combo: tuple[int, ...], out: int) -> tuple[int, ...]:
        """The tap widths after ``stage`` with output width ``out``."""
        return (*combo, out) if stage in self.taps else combo

    def tail(self, combo: tuple[int, ...]) -> np.ndarray:
        """Costs of neck and head behind the tap widths, ``[resources]``, where they have no choices."""
        return self._tails.costs[self._tail_rows[combo], 0]

    def tails(self, combo: tuple[int, ...]) -> Options:
        """Options of neck and head behind the tap widths."""
        row = self._tail_rows[combo]
        return Options(self._tails.genes, self._tails.score[row], self._tails.costs[row])

    def to_row(self, stem: int, stages: Sequence[Sequence[int]], tail: Sequence[int] = ()) -> np.ndarray:
        """A row of the space ``[genes]`` from the genes of options."""
        # Where neither costs nor score see neck and head, their choice is the first one.
        return self.space.assemble(stem, stages, tail if self.open_tail else self.first_tail)

    @property
    def arcs(self) -> int:
        """Number of arc options in the layered graph."""
        tails = self._tails.score.size if self.open_tail else 0
        return sum(len(o) for stage in self._arcs for o in stage.values()) + len(self.stem) + tails

    def _reachable(self) -> list[list[int]]:
        """Widths per layer (0 = stem) that lie on a path from the image to the end; fills the tap combinations too."""
        space = self.space
        layers: list[list[int]] = [list(space.stem_outs)]
        for i, stage in enumerate(space.stages):
            kinds = range(len(stage.alternatives))
            fits = [o for o in stage.outs if any(space.btn_values(i, o, kind) for kind in kinds)]
            layers.append([o for o in fits if any(self._allows(i, c, o) for c in layers[-1])])
        for i in reversed(range(self.depth)):
            layers[i] = [c for c in layers[i] if any(self._allows(i, c, o) for o in layers[i + 1])]
        self._combos: list[dict[int, list[tuple[int, ...]]]] = [{c: [()] for c in layers[0]}]
        for i in range(self.depth):
            after: dict[int, set[tuple[int, ...]]] = {o: set() for o in layers[i + 1]}
            for c in layers[i]:
                for o in layers[i + 1]:
                    if self._allows(i, c, o):
                        after[o] |= {self.next_combo(i, combo, o) for combo in self._combos[i][c]}
            self._combos.append({o: sorted(s) for o, s in after.items()})
        return layers

    def _allows(self, stage: int, cin: int, out: int) -> bool:
        return bool(self.space.allows(stage, np.int64(cin), np.int64(out)))

    def _pick(self, costs: dict[str, np.ndarray], n: int) -> np.ndarray:
        """The budgeted resources of ``costs`` as int64 ``[n, resources]``."""
        columns = [np.broadcast_to(np.asarray(costs[name]), (n,)) for name in self.resources]
        return np.stack(columns, axis=1).astype(np.int64)

    def _cost_stem(self) -> Options:
        outs = np.array(self.widths[0], dtype=np.int64)
        genes = np.stack([outs, *[outs * 0] * 4], axis=1)
        costs = self._pick(self.space_costs.stem_costs(outs), len(outs))
        return Options(genes, np.asarray(self.row_score.stem(outs)), costs)

    def _cost_stage(self, stage: int) -> dict[tuple[int, int], Options]:
        """Every arc of one stage, over all kinds that it may have."""
        kinds = [self._cost_kind(stage, kind) for kind in range(len(self.space.stages[stage].alternatives))]
        if len(kinds) == 1:
            return kinds[0]
        arcs: dict[tuple[int, int], Options] = {}
        for key in sorted({key for arcs_of_kind in kinds for key in arcs_of_kind}):
            parts = [arcs_of_kind[key] for arcs_of_kind in kinds if key in arcs_of_kind]
            every = Options(*(np.concatenate([getattr(p, f) for p in parts]) for f in ("genes", "score", "costs")))
            arcs[key] = every.take(np.lexsort(every.genes.T[::-1]))
        return arcs

    def _cost_kind(self, stage: int, kind: int) -> dict[tuple[int, int], Options]:
        """Every arc of one stage of one kind."""
        choices = self.space.stages[stage].alternatives[kind]
        rows: list[tuple[int, int, int, int]] = []
        spans: list[tuple[int, int, int, int]] = []
        for cin in self.widths[stage]:
            for out in self.widths[stage + 1]:
                btns = self.space.btn_values(stage, out, kind)
                if btns and self._allows(stage, cin, out):
                    inner = [(cin, out, btn, k) for btn in btns for k in choices.ks]
                    spans.append((cin, out, len(rows), len(rows) + len(inner)))
                    rows += inner
        if not rows:
            return {}
        numbers = np.array(rows, dtype=np.int64)
        depths = np.array(choices.depths, dtype=np.int64)
        score, costs = self._over_depths(stage, kind, numbers, depths)
        arcs: dict[tuple[int, int], Options] = {}
        for cin, out, start, end in spans:
            n = end - start
            genes = np.full((n * len(depths), 5), kind, dtype=np.int64)
            genes[:, :3] = np.repeat(numbers[start:end, 1:], len(depths), axis=0)
            genes[:, 3] = np.tile(depths, n)
            arcs[(cin, out)] = Options(genes, score[start:end].reshape(-1), costs[start:end].reshape(len(genes), -1))
        return arcs

    def _over_depths(
        self, stage: int, kind: int, numbers: np.ndarray, depths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Score ``[n, depths]`` and costs ``[n, depths, resources]`` of (cin, out, btn, k) ``[n, 4]``.

        Of a kind that is linear in depth three depths are computed. Depth 1 may be of another form (csp has no wrapping
        there); from 2 on every block adds the same.
        """
        linear = self.space_costs.kind(stage, kind).linear_in_depth
        needed = {1, 2, 3} & set(range(1, int(np.max(depths)) + 1)) if linear else set(depths.tolist())
        computed = {}
        for depth in needed:
            cin, out, btn, k = numbers.T
            at_depth = np.full(len(numbers), depth, dtype=np.int64) if linear else depth
            costs = self._pick(self.space_costs.stage_costs(stage, cin, out, btn, k, at_depth, kind=kind), len(numbers))
            score = np.broadcast_to(self.row_score.stage(stage, cin, out, btn, k, at_depth, kind), (len(numbers),))
            computed[depth] = score, costs
        scores, all_costs = [], []
        for depth in depths.tolist():
            if depth in computed:
                score, costs = computed[depth]
            else:
                (score, costs), (score_3, costs_3) = computed[2], computed[3]
                score, costs = score + (depth - 2) * (score_3 - score), costs + (depth - 2) * (costs_3 - costs)
            scores.append(score)
            all_costs.append(costs)
        return np.stack(scores, axis=1), np.stack(all_costs, axis=1)

    def _cost_tails(self) -> Options:
        """Neck and head behind all tap widths: score ``[combos, n]``, costs ``[combos, n, resources]``; genes once."""
        combos = sorted({combo for group in self._combos[-1].values() for combo in group})
        self._tail_rows = {combo: row for row, combo in enumerate(combos)}
        nothing = np.zeros((len(combos), 1), dtype=np.int64), np.array([self.first_tail], dtype=np.int64)
        if self.open_tail:
            return cost_open_tails(self.row_score, np.array(combos, dtype=np.int64), self.resources, self.thin)
        if not self.taps:
            return Options(nothing[1], nothing[0], np.zeros((len(combos), 1, len(self.resources)), dtype=np.int64))
        widths = np.array(combos, dtype=np.int64).T
        costs = self._pick(self.space_costs.tail_costs(*widths), len(combos))
        return Options(nothing[1], nothing[0], costs[:, None])

    def _cheapest_after(self) -> list[dict[int, np.ndarray]]:
        """Per layer and width: least cost of each resource from there to the end (resource by resource)."""
        tables: list[dict[int, np.ndarray]] = [{} for _ in range(self.depth + 1)]
        for out, group in self._combos[-1].items():
            tables[-1][out] = self._tails.costs[self._rows_of(group)].min(axis=(0, 1))
        for i in reversed(range(self.depth)):
            for cin in self.widths[i]:
                totals = [self._arc_least[i][(cin, o)] + tables[i + 1][o] for o in self.outs(i, cin)]
                tables[i][cin] = np.min(totals, axis=0)
        return tables

    def _cheapest_before(self) -> list[dict[int, np.ndarray]]:
        """Per layer and width: least cost of each resource from the image to there."""
        stem = {int(g[0]): c for g, c in zip(self.stem.genes, self.stem.costs, strict=True)}
        tables: list[dict[int, np.ndarray]] = [stem]
        for i in range(self.depth):
            here: dict[int, np.ndarray] = {}
            for (cin, out), least in self._arc_least[i].items():
                total = tables[i][cin] + least
                here[out] = np.minimum(here[out], total) if out in here else total
            tables.append(here)
        return tables

    @functools.cached_property
    def _arc_least(self) -> list[dict[tuple[int, int], np.ndarray]]:
        return [{key: options.costs.min(axis=0) for key, options in stage.items()} for stage in self._arcs]

    def _rows_of(self, combos: list[tuple[int, ...]]) -> list[int]:
        return [self._tail_rows[combo] for combo in combos]

    def common_unit(self, column: int) -> int:
        """Greatest common divisor of every arc's cost of one resource."""
        arcs = [options for stage in self._arcs for options in stage.values()]
        return math.gcd(*(int(cost) for options in arcs for cost in np.unique(options.costs[:, column])))

    def least_total(self) -> np.ndarray:
        """Least reachable total of each resource alone, ``[resources]`` (fixed costs not included)."""
        totals = [self.cheapest_before[0][c] + self.cheapest_after[0][c] for c in self.widths[0]]
        return np.asarray(np.min(totals, axis=0))

    def greatest_total(self) -> np.ndarray:
        """Greatest reachable total of each resource alone, ``[resources]``."""
        tails = self._tails.costs.max(axis=1)
        best = {out: tails[self._rows_of(group)].max(axis=0) for out, group in self._combos[-1].items()}
        for i in reversed(range(self.depth)):
            best = {
                cin: np.max([self._arcs[i][(cin, o)].costs.max(axis=0) + best[o] for o in self.outs(i, cin)], axis=0)
                for cin in self.widths[i]
            }
        stem = {int(g[0]): c for g, c in zip(self.stem.genes, self.stem.costs, strict=True)}
        return np.asarray(np.max([stem[c] + best[c] for c in self.widths[0]], axis=0))


def undominated(options: Options, columns: tuple[int, ...]) -> np.ndarray:
    """Indices (ascending) of options that no other dominates in score and the costs of one or two ``columns``.

    Among equals in all of these the one with the smallest genes stays, so ties resolve the same way everywhere. The
    second column should take few different values (layers).
    """
    main = options.costs[:, columns[0]]
    second = options.costs[:, columns[1]] if len(columns) == 2 else np.zeros(len(main), dtype=np.int64)
    order = np.lexsort((*options.genes.T[::-1], second, main, -options.score))
    kept = []
    for units in np.unique(second):
        rivals = order[second[order] <= units]
        least = np.minimum.accumulate(main[rivals])
        survives = np.r_[True, main[rivals][1:] < least[:-1]]
        winners = rivals[survives]
        kept.append(winners[second[winners] == units])
    return np.sort(np.concatenate(kept))
