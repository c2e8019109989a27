"""Space: which architectures a search may pick, read from YAML.

A space fixes the stages' strides, and lists the choices of every stage: output channels, inner channels (absolute, or
as ratios of the output), kernels and depths, perhaps several kinds, plus rules that tie neighbors together. Neck and
head are fixed, or have choices too. Candidates are rows of an int array ``[N, genes]``: stem channels, then ``out, btn,
k, depth`` a stage, as values (not indices); after them the kind of every stage that has several, as an index, and the
genes of neck and head (``search_spaces.tail_choices``).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from search_spaces.architecture import Architecture, Head, Neck, Stage, Stem
from search_spaces.membership import among
from search_spaces.rounding import divisible
from search_spaces.tail_choices import NeckForm, TailChoices
from workbench.errors import BadInput

OUT, BTN, K, DEPTH = range(4)
"""Offsets of a stage's genes within a row."""


@dataclass(frozen=True, slots=True)
class StageChoices:
    """Choices of one stage. ``btns`` lists channels, or, when ``by_ratio``, ratios of ``out``.

    ``others``: what a stage of another kind chooses from; stride and ``outs`` are the same.
    """

    kind: str
    stride: int
    outs: tuple[int, ...]
    btns: tuple[float, ...]
    ks: tuple[int, ...]
    depths: tuple[int, ...]
    by_ratio: bool = False
    others: tuple[StageChoices, ...] = ()

    @property
    def alternatives(self) -> tuple[StageChoices, ...]:
        """The choices of every kind that the stage may have."""
        return (self, *self.others)


@dataclass(frozen=True, slots=True)
class Rules:
    """Constraints between neighbouring stages. Ratios are inclusive.

    ``out_grows``: a stage is at least as wide as the one before it. ``out_growth_max``: largest ratio of a stage's
    width to that of the one before. ``btn_to_out``: smallest and largest ratio of inner to output channels (applied to
    absolute choices only).
    """

    out_grows: bool = True
    out_growth_max: float = math.inf
    btn_to_out: tuple[float, float] = (0.0, math.inf)


@dataclass(frozen=True, repr=False)
class Space:
    """A search space; the module docstring says what a row is."""

    name: str
    style: str
    act: str
    spp: bool
    stem_outs: tuple[int, ...]
    stem_k: int
    focus: bool
    stem_stride: int
    stages: tuple[StageChoices, ...]
    rules: Rules
    neck: Neck
    head: Head
    channel_step: int = 8
    doc: str = ""
    tail: TailChoices | None = None
    """Choices of neck and head; None where ``neck`` and ``head`` are all there is."""

    def __repr__(self) -> str:
        stem, stages = _range_text(self.stem_outs), len(self.stages)
        return f"Space({self.name!r}, {self.style}, stem {stem}, {stages} stages, {self.size():.3g} architectures)"

    def __str__(self) -> str:
        """One line for the whole, then the choices of each stage."""
        lines = [repr(self)]
        for number, stage in enumerate(self.stages, start=1):
            for of in stage.alternatives:
                unit = " x out" if of.by_ratio else ""
                choices = f"out {_range_text(of.outs)}, btn {_range_text(of.btns)}{unit}, k {_range_text(of.ks)}"
                depths = _range_text(of.depths)
                lines.append(f"  stage {number}: {of.kind}, stride {of.stride}, {choices}, depth {depths}")
        return "\n".join(lines)

    @functools.cached_property
    def genes(self) -> int:
        """Columns of a row."""
        return self._tail_start + (0 if self.tail is None else len(self.tail.genes))

    @functools.cached_property
    def _kind_columns(self) -> dict[int, int]:
        """Column of the kind of each stage that has several."""
        several = [i for i, stage in enumerate(self.stages) if stage.others]
        return {stage: 1 + 4 * len(self.stages) + place for place, stage in enumerate(several)}

    @functools.cached_property
    def _tail_start(self) -> int:
        return 1 + 4 * len(self.stages) + len(self._kind_columns)

    @property
    def is_plain(self) -> bool:
        """Whether a row is ``out, btn, k, depth`` a stage and nothing else."""
        return self.tail is None and not self._kind_columns

    def described(self, row: Sequence[int] | np.ndarray) -> dict[str, Any]:
        """Every gene of a row by name, as its value: of a kind its name, of an open field its choice."""
        named: dict[str, Any] = {}
        for (name, _), value in zip(self.gene_choices(), row, strict=True):
            named[name] = int(value)
        for stage, column in self._kind_columns.items():
            named[f"stage{stage + 1}.kind"] = self.stages[stage].alternatives[int(row[column])].kind
        for name, choices in () if self.tail is None else self.tail.fields:
            choice = choices[named[name]]
            named[name] = str(choice) if isinstance(choice, NeckForm) else choice
        return named

    def kinds_of(self, rows: np.ndarray, stage: int) -> np.ndarray:
        """Index of the kind of a stage (among its alternatives) in every row, ``[N]``."""
        column = self._kind_columns.get(stage)
        return np.zeros(len(rows), dtype=np.int64) if column is None else rows[:, column]

    def tail_genes(self, rows: np.ndarray) -> np.ndarray:
        """The genes of neck and head, ``[N, n]``."""
        return rows[:, self._tail_start :]

    def assemble(self, stem: int, stages: Sequence[Sequence[int]], tail: Sequence[int] = ()) -> np.ndarray:
        """A row ``[genes]``: the stem's width, ``(out, btn, k, depth, kind)`` a stage, and the genes of the tail."""
        row: np.ndarray = np.zeros(self.genes, dtype=np.int64)
        row[0] = stem
        for i, numbers in enumerate(stages):
            row[self.column(i, OUT) : self.column(i, DEPTH) + 1] = numbers[:4]
            if i in self._kind_columns:
                row[self._kind_columns[i]] = numbers[4]
        row[self._tail_start :] = tail
        return row

    def column(self, stage: int, gene: int) -> int:
        """Column of one gene of one stage."""
        return 1 + 4 * stage + gene

    def gene_choices(self) -> list[tuple[str, tuple[float, ...]]]:
        """Every gene's name and choices in row order: a ratio gene lists ratios, a kind or an open field indices.

        Where a stage has several kinds, the choices of all of them.
        """
        out: list[tuple[str, tuple[float, ...]]] = [("stem.out", self.stem_outs)]
        for i, stage in enumerate(self.stages, start=1):
            out.append((f"stage{i}.out", stage.outs))
            for gene, field in (("btn", "btns"), ("k", "ks"), ("depth", "depths")):
                choices = {value for of in stage.alternatives for value in getattr(of, field)}
                out.append((f"stage{i}.{gene}", tuple(sorted(choices))))
        for stage_index in self._kind_columns:
            kinds = range(len(self.stages[stage_index].alternatives))
            out.append((f"stage{stage_index + 1}.kind", tuple(kinds)))
        return out + ([] if self.tail is None else list(self.tail.genes))

    def btn_values(self, stage: int, out: int, kind: int = 0) -> tuple[int, ...]:
        """Inner channels that the rules allow a kind beside ``out`` output channels, ascending."""
        return _btn_values(self.stages[stage].alternatives[kind], self.rules, out)

    def allows(self, stage: int, cin: Any, out: Any) -> Any:
        """Whether ``out`` may follow ``cin`` (ints or arrays, broadcast)."""
        low = out >= cin if self.rules.out_grows else np.full(np.broadcast(cin, out).shape, True)
        # Rows of other variants have widths of 0, and 0 times no limit is no number.
        return low & (out <= self.rules.out_growth_max * cin) if math.isfinite(self.rules.out_growth_max) else low

    def contains_rows(self, rows: np.ndarray) -> np.ndarray:
        """Boolean ``[N]``: which rows lie in the space, choice by choice and rule by rule."""
        rows = np.asarray(rows)
        good = among(rows[:, 0], self.stem_outs)
        cin = rows[:, 0]
        for i, stage in enumerate(self.stages):
            out, kinds = rows[:, self.column(i, OUT)], self.kinds_of(rows, i)
            good &= among(out, stage.outs) & self.allows(i, cin, out) & (kinds >= 0) & (kinds <= len(stage.others))
            for kind, choices in enumerate(stage.alternatives):
                at = np.flatnonzero(kinds == kind)
                good[at] &= self._contains_inner(choices, rows[at, self.column(i, OUT) : self.column(i, DEPTH) + 1])
            cin = out
        return good if self.tail is None else good & self.tail.contains(self.tail_genes(rows))

    def _contains_inner(self, choices: StageChoices, numbers: np.ndarray) -> np.ndarray:
        """Boolean ``[N]``: whether btn, k and depth of ``(out, btn, k, depth)`` ``[N, 4]`` are among the choices."""
        out, btn, k, depth = numbers.T
        good = among(k, choices.ks) & among(depth, choices.depths)
        if choices.by_ratio:
            return good & (btn[:, None] == ratio_btn(out[:, None], np.array(choices.btns)[None, :])).any(axis=1)
        low, high = self.rules.btn_to_out
        good &= among(btn, choices.btns) & (btn >= low * out)
        return np.asarray(good & (btn <= high * out)) if math.isfinite(high) else good

    def contains(self, arch: Architecture) -> bool:
        """Whether an architecture's backbone is one of this space's."""
        return self.why_not(arch) == ""

    def why_not(self, arch: Architecture) -> str:
        """Empty when the backbone lies in the space, else the first thing that does not fit."""
        if arch.style != self.style or len(arch.stages) != len(self.stages):
            stages = f"{self.style} with {len(self.stages)}"
            return f"style {arch.style} with {len(arch.stages)} stages, the space has {stages}"
        if (arch.stem.k, arch.stem.focus, arch.stem.stride) != (self.stem_k, self.focus, self.stem_stride):
            return "another stem"
        for i, (stage, choices) in enumerate(zip(arch.stages, self.stages, strict=True), start=1):
            if (stage.kind, stage.stride) not in {(of.kind, of.stride) for of in choices.alternatives}:
                return f"stage {i}: kind {stage.kind}, stride {stage.stride}"
        if self.tail is not None and self.tail.encode(arch.neck, arch.head) is None:
            return "neck and head are not among the choices"
        row = self.encode(arch)
        if self.contains_rows(row[None])[0]:
            return ""
        for i, (value, (gene, choices_)) in enumerate(zip(row, self.gene_choices(), strict=True)):
            stage_index = (i - 1) // 4
            of_stage = 0 < i <= 4 * len(self.stages)
            by_ratio = of_stage and i % 4 == 1 + BTN and self.stages[stage_index].by_ratio
            if not by_ratio and value not in choices_:
                return f"{gene}={value} is not among its choices"
        return "a rule between neighbouring stages"

    def encode(self, arch: Architecture) -> np.ndarray:
        """Row of an architecture's backbone, int64 ``[genes]`` (not checked against the choices of the stages).

        Where neck and head have choices, those of ``arch``; ``BadInput`` where they are none of them.
        """
        stages = []
        for stage, choices in zip(arch.stages, self.stages, strict=True):
            kinds = [of.kind for of in choices.alternatives]
            kind = kinds.index(stage.kind) if stage.kind in kinds else 0
            stages.append((stage.out, stage.btn, stage.k, stage.depth, kind))
        if self.tail is None:
            return self.assemble(arch.stem.out, stages)
        tail = self.tail.encode(arch.neck, arch.head)
        if tail is None:
            name = arch.name or arch.digest()
            raise BadInput(f"neck and head of {name!r} are not among those of space {self.name!r}")
        return self.assemble(arch.stem.out, stages, tail.tolist())

    def decode(self, row: Sequence[int] | np.ndarray, name: str = "") -> Architecture:
        """The whole detector of one row."""
        values = [int(v) for v in row]
        stages = []
        for i, choices in enumerate(self.stages):
            out, btn, k, depth = values[1 + 4 * i : 5 + 4 * i]
            kind = choices.alternatives[values[self._kind_columns[i]]].kind if i in self._kind_columns else choices.kind
            stages.append(Stage(kind, out, btn, k, choices.stride, depth))
        stem = Stem(values[0], self.stem_k, self.focus, self.stem_stride)
        neck, head = self.neck, self.head
        if self.tail is not None:
            neck, head = self.tail.decode(np.array(values[self._tail_start :], dtype=np.int64))
        return Architecture(self.style, stem, tuple(stages), self.act, self.spp, neck, head, name)

    @functools.cached_property
    def _counts(self) -> list[dict[int, int]]:
        """For every stage index i and input width c: how many ways to finish from stage i on."""
        after: dict[int, int] | None = None
        tables: list[dict[int, int]] = []
        for i in reversed(range(len(self.stages))):
            cins = self.stem_outs if i == 0 else self.stages[i - 1].outs
            here: dict[int, int] = {}
            for cin in cins:
                total = 0
                for out in self.stages[i].outs:
                    if bool(self.allows(i, np.int64(cin), np.int64(out))):
                        total += self.options(i, out) * (1 if after is None else after[out])
                here[cin] = total
            tables.append(here)
            after = here
        return tables[::-1]

    def options(self, stage: int, out: int) -> int:
        """Ways to fill one stage once its output width is chosen."""
        return sum(self._options_by_kind(stage, out))

    def _options_by_kind(self, stage: int, out: int) -> list[int]:
        return [
            len(self.btn_values(stage, out, kind)) * len(choices.ks) * len(choices.depths)
            for kind, choices in enumerate(self.stages[stage].alternatives)
        ]

    def size(self) -> int:
        """Exact number of architectures in the space."""
        backbones = sum(self._counts[0][c] for c in self.stem_outs)
        return backbones * (1 if self.tail is None else self.tail.size)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """``n`` rows sampled uniformly over the architectures of the space, int64 ``[n, genes]``."""
        rows = np.zeros((n, self.genes), dtype=np.int64)
        rows[:, 0] = _draw(np.array(self.stem_outs), [self._counts[0][c] for c in self.stem_outs], n, rng)
        for i, choices in enumerate(self.stages):
            later = self._counts[i + 1] if i + 1 < len(self.stages) else None
            previous = rows[:, 0] if i == 0 else rows[:, self.column(i - 1, OUT)]
            outs = np.array(choices.outs)
            for cin in np.unique(previous):
                where = np.flatnonzero(previous == cin)
                fits = self.allows(i, np.int64(cin), outs)
                weights = [
                    self.options(i, int(o)) * (1 if later is None else later[int(o)]) * int(fit)
                    for o, fit in zip(outs, fits, strict=True)
                ]
                rows[where, self.column(i, OUT)] = _draw(outs, weights, len(where), rng)
            if i in self._kind_columns:
                rows[:, self._kind_columns[i]] = self._sample_kinds(i, rows[:, self.column(i, OUT)], rng)
            self._sample_inner(i, rows, rng)
        if self.tail is not None:
            rows[:, self._tail_start :] = self.tail.sample(n, rng)
        return rows

    def _sample_kinds(self, stage: int, out: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A kind for each of the widths ``[N]``, as probable as it has options there."""
        kinds: np.ndarray = np.zeros(len(out), dtype=np.int64)
        every = np.arange(len(self.stages[stage].alternatives))
        for value in np.unique(out):
            where = np.flatnonzero(out == value)
            kinds[where] = _draw(every, self._options_by_kind(stage, int(value)), len(where), rng)
        return kinds

    def _sample_inner(self, stage: int, rows: np.ndarray, rng: np.random.Generator) -> None:
        """Random btn, k and depth of one stage beside its width and kind, in place."""
        kinds, out = self.kinds_of(rows, stage), rows[:, self.column(stage, OUT)]
        for kind, choices in enumerate(self.stages[stage].alternatives):
            of_kind = np.flatnonzero(kinds == kind)
            for value in np.unique(out[of_kind]):
                where = of_kind[out[of_kind] == value]
                btns = self.btn_values(stage, int(value), kind)
                rows[where, self.column(stage, BTN)] = rng.choice(btns, len(where))
            rows[of_kind, self.column(stage, K)] = rng.choice(choices.ks, len(of_kind))
            rows[of_kind, self.column(stage, DEPTH)] = rng.choice(choices.depths, len(of_kind))

    def mutate(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One TinyNAS mutation per row, vectorised: a random stage's out, btn, k or depth changes.

        Channels are scaled by one of 2, 1.5, 1.25, 0.8, 0.6, 0.5 and depth moves by up to 2, then
        snapped to the choices between the neighbours' widths. A stage with several kinds may take another one, with
        random inner numbers, and a gene of neck or head another choice. Rows that would leave the space stay as they
        were, so mutation is closed.
        """
        new = np.array(rows, dtype=np.int64)
        n = len(new)
        further = self.genes - self.column(len(self.stages), OUT)
        stage = rng.integers(0, len(self.stages) + 1 + further, n)
        gene = rng.integers(0, 4, n)
        factor = rng.choice(MUTATION_SCALES, n)
        step = rng.choice((-2, -1, 1, 2), n)
        pick = rng.random(n)
        at = np.flatnonzero(stage == 0)
        limit = new[at, self.column(0, OUT)] if self.rules.out_grows else np.inf
        new[at, 0] = _snap(np.minimum(new[at, 0] * factor[at], limit), self.stem_outs)
        for i, choices in enumerate(self.stages):
            chosen = stage == i + 1
            at = np.flatnonzero(chosen & (gene == OUT))
            previous = new[at, 0] if i == 0 else new[at, self.column(i - 1, OUT)]
            wanted = new[at, self.column(i, OUT)] * factor[at]
            if self.rules.out_grows:
                following = new[at, self.column(i + 1, OUT)] if i + 1 < len(self.stages) else np.inf
                wanted = np.clip(wanted, previous, following)
            new[at, self.column(i, OUT)] = _snap(np.minimum(wanted, previous * self.rules.out_growth_max), choices.outs)
            kinds = self.kinds_of(new, i)
            for kind, of in enumerate(choices.alternatives):
                mine = chosen & (kinds == kind)
                at = np.flatnonzero(mine & (gene == BTN))
                if of.by_ratio:
                    ratios = np.array(of.btns)[(pick[at] * len(of.btns)).astype(int)]
                    new[at, self.column(i, BTN)] = ratio_btn(new[at, self.column(i, OUT)], ratios)
                else:
                    new[at, self.column(i, BTN)] = _snap(new[at, self.column(i, BTN)] * factor[at], of.btns)
                at = np.flatnonzero(mine & (gene == K))
                new[at, self.column(i, K)] = np.array(of.ks)[(pick[at] * len(of.ks)).astype(int)]
                at = np.flatnonzero(mine & (gene == DEPTH))
                new[at, self.column(i, DEPTH)] = _snap(new[at, self.column(i, DEPTH)] + step[at], of.depths)
        self._refit_btn(new, rows)
        self._move_further(new, stage - len(self.stages) - 1, pick, rng)
        good = self.contains_rows(new)
        new[~good] = rows[~good]
        return new

    def _move_further(self, new: np.ndarray, place: np.ndarray, pick: np.ndarray, rng: np.random.Generator) -> None:
        """Give the ``place``-th gene after those of the stages another of its choices, in place (none below 0).

        ``pick``: where among the choices, 0 to 1.
        """
        start = self.column(len(self.stages), OUT)
        stages = list(self._kind_columns)
        for column, (_, choices) in enumerate(self.gene_choices()[start:], start=start):
            at = np.flatnonzero(place == column - start)
            new[at, column] = np.array(choices)[(pick[at] * len(choices)).astype(int)]
            if column - start < len(stages) and len(at):
                changed = new[at]
                self._sample_inner(stages[column - start], changed, rng)
                new[at] = changed

    def cross(self, first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One child per pair of rows: each stage from either parent; the first parent where that leaves the space."""
        new = np.array(first, dtype=np.int64)
        take = rng.random((len(new), len(self.stages) + 1)) < 0.5
        new[take[:, 0], 0] = second[take[:, 0], 0]
        for i in range(len(self.stages)):
            columns = slice(self.column(i, OUT), self.column(i, DEPTH) + 1)
            new[take[:, i + 1], columns] = second[take[:, i + 1], columns]
            if i in self._kind_columns:
                new[take[:, i + 1], self._kind_columns[i]] = second[take[:, i + 1], self._kind_columns[i]]
        if self.tail is not None:
            other = rng.random(len(new)) < 0.5
            new[other, self._tail_start :] = second[other, self._tail_start :]
        good = self.contains_rows(new)
        new[~good] = first[~good]
        return new

    def on_grid(self, step: int) -> Space:
        """``with_grid`` of this space."""
        stages = tuple(_recut_stage(stage, step, i) for i, stage in enumerate(self.stages, start=1))
        stem = _recut(self.stem_outs, step, "stem out")
        result = dataclasses.replace(self, stem_outs=stem, stages=stages, channel_step=step)
        if result.size() == 0:
            rules = f"the rules of space {self.name!r}"
            raise BadInput(f"grid {step}: {rules} leave no architecture on it; choose a finer grid")
        return result

    def _refit_btn(self, new: np.ndarray, old: np.ndarray) -> None:
        """After a width changed, bring the inner channels back under the rules, in place."""
        for i, stage in enumerate(self.stages):
            kinds = self.kinds_of(new, i)
            for kind, choices in enumerate(stage.alternatives):
                at = np.flatnonzero(kinds == kind)
                pair = slice(self.column(i, OUT), self.column(i, BTN) + 1)
                new[at, self.column(i, BTN)] = self._fitting_btn(choices, new[at, pair], old[at, pair])

    def _fitting_btn(self, choices: StageChoices, new: np.ndarray, old: np.ndarray) -> np.ndarray:
        """Inner channels ``[N]`` that go with the width, from ``(out, btn)`` ``[N, 2]`` after and before a change."""
        if choices.by_ratio:
            ratios = np.array(choices.btns)
            was = ratio_btn(old[:, :1], ratios[None]) == old[:, 1:]
            moved = np.flatnonzero(new[:, 0] != old[:, 0])
            btn = new[:, 1].copy()
            btn[moved] = ratio_btn(new[moved, 0], ratios[was[moved].argmax(axis=1)])
            return btn
        low, high = self.rules.btn_to_out
        values = np.array(choices.btns)
        top = np.searchsorted(values, high * new[:, 0], side="right") - 1
        bottom = np.searchsorted(values, low * new[:, 0], side="left")
        place = np.searchsorted(values, new[:, 1])
        return np.asarray(values[np.clip(np.clip(place, bottom, np.maximum(top, 0)), 0, len(values) - 1)])


def _range_text(values: Sequence[float]) -> str:
    """``16..64`` for many choices, ``3, 5`` for few."""
    return ", ".join(f"{v:g}" for v in values) if len(values) <= 3 else f"{values[0]:g}..{values[-1]:g}"


MUTATION_SCALES = (2.0, 1.5, 1.25, 0.8, 0.6, 0.5)
"""TinyNAS's channel factors."""


def ratio_btn(out: Any, ratio: Any) -> Any:
    """Inner channels from a ratio, rounded as DAMO-YOLO's mobile blocks round: ``divisible(ceil(out * ratio))``."""
    value = divisible(np.ceil(np.asarray(out) * np.asarray(ratio)))
    return value if isinstance(value, int) else np.asarray(value, dtype=np.int64)


@functools.lru_cache(maxsize=65536)
def _btn_values(choices: StageChoices, rules: Rules, out: int) -> tuple[int, ...]:
    if choices.by_ratio:
        return tuple(sorted({int(ratio_btn(out, ratio)) for ratio in choices.btns}))
    low, high = rules.btn_to_out
    return tuple(int(b) for b in choices.btns if low * out <= b <= high * out)


def _snap(values: np.ndarray, choices: Sequence[float]) -> np.ndarray:
    """Nearest choice (the lower one of two equally near)."""
    grid = np.array(choices, dtype=np.float64)
    place = np.clip(np.searchsorted(grid, values), 1, max(len(grid) - 1, 1))
    lower, upper = grid[place - 1], grid[np.minimum(place, len(grid) - 1)]
    return np.where(values - lower <= upper - values, lower, upper).astype(np.int64)


def _draw(values: np.ndarray, weights: Sequence[int], n: int, rng: np.random.Generator) -> np.ndarray:
    total = sum(weights)
    return rng.choice(values, n, p=np.array([w / total for w in weights]))


def with_grid(space: Space, step: int) -> Space:
    """The same space on a coarser or finer channel grid: every range of the backbone is cut again in steps of ``step``.

    Choices of neck and head, and ratios, stay.
    """
    if step < 1:
        raise BadInput(f"grid {step} must be a positive number of channels")
    return space.on_grid(step)


def _recut(values: Sequence[int], step: int, what: str) -> tuple[int, ...]:
    """The multiples of ``step`` from the first to the last value."""
    choices = tuple(range(-(-int(values[0]) // step) * step, int(values[-1]) + 1, step))
    if not choices:
        span = f"{what} {values[0]}..{values[-1]}"
        raise BadInput(f"grid {step}: no multiple of it lies in {span}; choose a finer grid")
    return choices


def _recut_stage(stage: StageChoices, step: int, number: int) -> StageChoices:
    btns = stage.btns if stage.by_ratio else _recut([int(b) for b in stage.btns], step, f"stage {number} btn")
    others = tuple(_recut_stage(other, step, number) for other in stage.others)
    return dataclasses.replace(stage, outs=_recut(stage.outs, step, f"stage {number} out"), btns=btns, others=others)
