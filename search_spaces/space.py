"""Space: which architectures a search may pick, read from YAML.

A space fixes the stem, the stages' kinds and strides, neck and head, and lists the choices a stage:
output channels, inner channels (absolute, or as ratios of the output), kernels and depths, plus rules
that tie neighbours together. Candidates are rows of an int array ``[N, 1 + 4 * stages]``: stem
channels, then ``out, btn, k, depth`` a stage, as values (not indices).
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
from search_spaces.rounding import divisible
from workbench.errors import BadInput

OUT, BTN, K, DEPTH = range(4)
"""Offsets of a stage's genes within a row."""


@dataclass(frozen=True, slots=True)
class StageChoices:
    """Choices of one stage. ``btns`` lists channels, or, when ``by_ratio``, ratios of ``out``."""

    kind: str
    stride: int
    outs: tuple[int, ...]
    btns: tuple[float, ...]
    ks: tuple[int, ...]
    depths: tuple[int, ...]
    by_ratio: bool = False


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

    def __repr__(self) -> str:
        stem, stages = _range_text(self.stem_outs), len(self.stages)
        return f"Space({self.name!r}, {self.style}, stem {stem}, {stages} stages, {self.size():.3g} architectures)"

    def __str__(self) -> str:
        """One line for the whole, then the choices of each stage."""
        lines = [repr(self)]
        for number, stage in enumerate(self.stages, start=1):
            unit = " x out" if stage.by_ratio else ""
            choices = f"out {_range_text(stage.outs)}, btn {_range_text(stage.btns)}{unit}, k {_range_text(stage.ks)}"
            depths = _range_text(stage.depths)
            lines.append(f"  stage {number}: {stage.kind}, stride {stage.stride}, {choices}, depth {depths}")
        return "\n".join(lines)

    @property
    def genes(self) -> int:
        """Columns of a row."""
        return 1 + 4 * len(self.stages)

    def column(self, stage: int, gene: int) -> int:
        """Column of one gene of one stage."""
        return 1 + 4 * stage + gene

    def gene_choices(self) -> list[tuple[str, tuple[float, ...]]]:
        """Every gene's name and choices in row order (a ratio gene lists ratios)."""
        out: list[tuple[str, tuple[float, ...]]] = [("stem.out", self.stem_outs)]
        for i, stage in enumerate(self.stages, start=1):
            out += [(f"stage{i}.out", stage.outs), (f"stage{i}.btn", stage.btns), (f"stage{i}.k", stage.ks)]
            out.append((f"stage{i}.depth", stage.depths))
        return out

    def btn_values(self, stage: int, out: int) -> tuple[int, ...]:
        """Inner channels that the rules allow beside ``out`` output channels, ascending."""
        return _btn_values(self.stages[stage], self.rules, out)

    def allows(self, stage: int, cin: Any, out: Any) -> Any:
        """Whether ``out`` may follow ``cin`` (ints or arrays, broadcast)."""
        low = out >= cin if self.rules.out_grows else np.full(np.broadcast(cin, out).shape, True)
        return low & (out <= self.rules.out_growth_max * cin)

    def contains_rows(self, rows: np.ndarray) -> np.ndarray:
        """Boolean ``[N]``: which rows lie in the space, choice by choice and rule by rule."""
        rows = np.asarray(rows)
        good = np.isin(rows[:, 0], self.stem_outs)
        cin = rows[:, 0]
        for i, stage in enumerate(self.stages):
            out, btn, k, depth = (rows[:, self.column(i, gene)] for gene in range(4))
            good &= np.isin(out, stage.outs) & np.isin(k, stage.ks) & np.isin(depth, stage.depths)
            good &= self.allows(i, cin, out)
            if stage.by_ratio:
                good &= (btn[:, None] == ratio_btn(out[:, None], np.array(stage.btns)[None, :])).any(axis=1)
            else:
                low, high = self.rules.btn_to_out
                good &= np.isin(btn, stage.btns) & (btn >= low * out) & (btn <= high * out)
            cin = out
        return good

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
            if (stage.kind, stage.stride) != (choices.kind, choices.stride):
                return f"stage {i}: kind {stage.kind}, stride {stage.stride}"
        row = self.encode(arch)
        if self.contains_rows(row[None])[0]:
            return ""
        for i, (value, (gene, choices_)) in enumerate(zip(row, self.gene_choices(), strict=True)):
            by_ratio = i % 4 == 1 + BTN and i > 0 and self.stages[(i - 1) // 4].by_ratio
            if not by_ratio and value not in choices_:
                return f"{gene}={value} is not among its choices"
        return "a rule between neighbouring stages"

    def encode(self, arch: Architecture) -> np.ndarray:
        """Row of an architecture's backbone, int64 ``[genes]`` (not checked against the choices)."""
        row = [arch.stem.out]
        for stage in arch.stages:
            row += [stage.out, stage.btn, stage.k, stage.depth]
        return np.array(row, dtype=np.int64)

    def decode(self, row: Sequence[int] | np.ndarray, name: str = "") -> Architecture:
        """The whole detector of one row."""
        values = [int(v) for v in row]
        stages = []
        for i, choices in enumerate(self.stages):
            out, btn, k, depth = values[1 + 4 * i : 5 + 4 * i]
            stages.append(Stage(choices.kind, out, btn, k, choices.stride, depth))
        stem = Stem(values[0], self.stem_k, self.focus, self.stem_stride)
        return Architecture(self.style, stem, tuple(stages), self.act, self.spp, self.neck, self.head, name)

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
        choices = self.stages[stage]
        return len(self.btn_values(stage, out)) * len(choices.ks) * len(choices.depths)

    def size(self) -> int:
        """Exact number of architectures in the space."""
        return sum(self._counts[0][c] for c in self.stem_outs)

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
            out = rows[:, self.column(i, OUT)]
            for value in np.unique(out):
                where = np.flatnonzero(out == value)
                rows[where, self.column(i, BTN)] = rng.choice(self.btn_values(i, int(value)), len(where))
            rows[:, self.column(i, K)] = rng.choice(choices.ks, n)
            rows[:, self.column(i, DEPTH)] = rng.choice(choices.depths, n)
        return rows

    def mutate(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One TinyNAS mutation per row, vectorised: a random stage's out, btn, k or depth changes.

        Channels are scaled by one of 2, 1.5, 1.25, 0.8, 0.6, 0.5 and depth moves by up to 2, then
        snapped to the choices between the neighbours' widths. Rows that would leave the space stay as
        they were, so mutation is closed.
        """
        new = np.array(rows, dtype=np.int64)
        n = len(new)
        stage = rng.integers(0, len(self.stages) + 1, n)
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
            at = np.flatnonzero(chosen & (gene == BTN))
            if choices.by_ratio:
                ratios = np.array(choices.btns)[(pick[at] * len(choices.btns)).astype(int)]
                new[at, self.column(i, BTN)] = ratio_btn(new[at, self.column(i, OUT)], ratios)
            else:
                new[at, self.column(i, BTN)] = _snap(new[at, self.column(i, BTN)] * factor[at], choices.btns)
            at = np.flatnonzero(chosen & (gene == K))
            new[at, self.column(i, K)] = np.array(choices.ks)[(pick[at] * len(choices.ks)).astype(int)]
            at = np.flatnonzero(chosen & (gene == DEPTH))
            new[at, self.column(i, DEPTH)] = _snap(new[at, self.column(i, DEPTH)] + step[at], choices.depths)
        self._refit_btn(new, rows)
        good = self.contains_rows(new)
        new[~good] = rows[~good]
        return new

    def cross(self, first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One child per pair of rows: each stage from either parent; the first parent where that leaves the space."""
        new = np.array(first, dtype=np.int64)
        take = rng.random((len(new), len(self.stages) + 1)) < 0.5
        new[take[:, 0], 0] = second[take[:, 0], 0]
        for i in range(len(self.stages)):
            columns = slice(self.column(i, OUT), self.column(i, DEPTH) + 1)
            new[take[:, i + 1], columns] = second[take[:, i + 1], columns]
        good = self.contains_rows(new)
        new[~good] = first[~good]
        return new

    def _refit_btn(self, new: np.ndarray, old: np.ndarray) -> None:
        """After a width changed, bring the inner channels back under the rules, in place."""
        low, high = self.rules.btn_to_out
        for i, choices in enumerate(self.stages):
            out, btn = self.column(i, OUT), self.column(i, BTN)
            if choices.by_ratio:
                ratios = np.array(choices.btns)
                was = ratio_btn(old[:, out][:, None], ratios[None]) == old[:, btn][:, None]
                moved = np.flatnonzero(new[:, out] != old[:, out])
                new[moved, btn] = ratio_btn(new[moved, out], ratios[was[moved].argmax(axis=1)])
                continue
            values = np.array(choices.btns)
            top = np.searchsorted(values, high * new[:, out], side="right") - 1
            bottom = np.searchsorted(values, low * new[:, out], side="left")
            place = np.searchsorted(values, new[:, btn])
            new[:, btn] = values[np.clip(np.clip(place, bottom, np.maximum(top, 0)), 0, len(values) - 1)]


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
    """The same space on a coarser or finer channel grid: every range is cut again in steps of ``step``."""
    if step < 1:
        raise BadInput(f"grid {step} must be a positive number of channels")

    def recut(values: Sequence[int], what: str) -> tuple[int, ...]:
        choices = tuple(range(-(-int(values[0]) // step) * step, int(values[-1]) + 1, step))
        if not choices:
            span = f"{what} {values[0]}..{values[-1]}"
            raise BadInput(f"grid {step}: no multiple of it lies in {span}; choose a finer grid")
        return choices

    stages = tuple(
        dataclasses.replace(
            s,
            outs=recut(s.outs, f"stage {i} out"),
            btns=s.btns if s.by_ratio else recut([int(b) for b in s.btns], f"stage {i} btn"),
        )
        for i, s in enumerate(space.stages, start=1)
    )
    stem = recut(space.stem_outs, "stem out")
    result = dataclasses.replace(space, stem_outs=stem, stages=stages, channel_step=step)
    if result.size() == 0:
        rules = f"the rules of space {space.name!r}"
        raise BadInput(f"grid {step}: {rules} leave no architecture on it; choose a finer grid")
    return result


