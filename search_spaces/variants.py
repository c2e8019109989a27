"""VariantSpace: a space that also leaves open the input side and which levels the detector has.

Both change what every other gene costs, so the space is a union of plain spaces, one a combination: its *variants*. A
row is that of the variant, its columns spread over those of the largest one (0 where the variant lacks a gene), then
the index of the levels where there are several, then the input side in pixels where there are several.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from search_spaces.architecture import Architecture
from search_spaces.neck import strides_text
from search_spaces.space import Space
from workbench.errors import BadInput


@dataclass(frozen=True)
class Variant:
    """One combination of input side and levels.

    Args:
        space: What remains open.
        columns: Where the columns of its rows stand in rows of the whole, int64 ``[space.genes]``.
        constants: The genes that say which variant it is, as (column, value).
        input_px: Input side in pixels; None where the space leaves it to the search.
    """

    space: Space
    columns: np.ndarray
    constants: tuple[tuple[int, int], ...]
    input_px: int | None = None


@dataclass(frozen=True, repr=False)
class VariantSpace(Space):
    """The union of spaces with other levels, at every input side. Fields of ``Space`` are those of the longest.

    Args:
        by_levels: A space for every choice of levels. Stages are those of the longest, or the first of them.
        inputs: Input sides in pixels, ascending; empty where the search says it.
    """

    by_levels: tuple[Space, ...] = ()
    inputs: tuple[int, ...] = ()

    @staticmethod
    def of(by_levels: Sequence[Space], inputs: Sequence[int] = ()) -> VariantSpace:
        """The union of ``by_levels`` at ``inputs``."""
        longest = max(by_levels, key=lambda space: len(space.stages))
        fields = {field.name: getattr(longest, field.name) for field in dataclasses.fields(Space)}
        return VariantSpace(**fields, by_levels=tuple(by_levels), inputs=tuple(sorted(inputs)))

    def on_grid(self, step: int) -> Space:
        """``with_grid`` of this space."""
        return VariantSpace.of([space.on_grid(step) for space in self.by_levels], self.inputs)

    def without_inputs(self) -> Space:
        """The same space with the input side left to the search."""
        return self.by_levels[0] if len(self.by_levels) == 1 else dataclasses.replace(self, inputs=())

    @functools.cached_property
    def _names(self) -> list[str]:
        """Names of the genes of all variants, those of the backbone in the order of the longest one."""
        names = [name for name, _ in Space.gene_choices(self)]
        names = list(dict.fromkeys([*names, *(name for space in self.by_levels for name, _ in space.gene_choices())]))
        names += ["levels"] if len(self.by_levels) > 1 else []
        return names + (["input"] if len(self.inputs) > 1 else [])

    @functools.cached_property
    def variants(self) -> tuple[Variant, ...]:
        """Every combination of levels and input side."""
        index = {name: column for column, name in enumerate(self._names)}
        found = []
        for px in self.inputs or (None,):
            for place, space in enumerate(self.by_levels):
                constants = [(index["levels"], place)] if "levels" in index else []
                constants += [(index["input"], int(px))] if "input" in index and px is not None else []
                columns = np.array([index[name] for name, _ in space.gene_choices()], dtype=np.int64)
                found.append(Variant(space, columns, tuple(constants), px))
        return tuple(found)

    @property
    def is_plain(self) -> bool:
        return False

    def described(self, row: Sequence[int] | np.ndarray) -> dict[str, Any]:
        """Every gene of a row by name, as its value; levels as strides; None where the variant lacks the gene."""
        values = np.array([int(v) for v in row], dtype=np.int64)
        variant = self.variants[int(self.variant_of(values[None])[0])]
        own = variant.space.described(values[variant.columns])
        own |= {"levels": strides_text(variant.space.neck.strides), "input": variant.input_px}
        return {name: own.get(name) for name in self._names}

    def embed(self, variant: Variant, rows: np.ndarray) -> np.ndarray:
        """Rows of a variant ``[N, variant.space.genes]`` as rows of the whole ``[N, genes]``."""
        whole: np.ndarray = np.zeros((len(rows), self.genes), dtype=np.int64)
        whole[:, variant.columns] = rows
        for column, value in variant.constants:
            whole[:, column] = value
        return whole

    def by_variant(self, rows: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """For every variant among the rows: its index, and the indices of its rows."""
        which = self.variant_of(rows)
        groups = ((index, np.flatnonzero(which == index)) for index in range(len(self.variants)))
        return [(index, at) for index, at in groups if len(at)]

    def by_levels_of(self, rows: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """For every choice of levels among the rows: the index of its first variant, and the indices of its rows.

        Variants with the same levels have the same space and the same columns.
        """
        if len(self.by_levels) == 1:
            return [(0, np.arange(len(rows)))] if len(rows) else []
        place = rows[:, self._names.index("levels")]
        groups = ((index, np.flatnonzero(place == index)) for index in range(len(self.by_levels)))
        return [(index, at) for index, at in groups if len(at)]

    def sides(self, rows: np.ndarray) -> np.ndarray | None:
        """Input side of every row in pixels, ``[N]``; None where the search says it."""
        if not self.inputs:
            return None
        if len(self.inputs) == 1:
            return np.full(len(rows), self.inputs[0], dtype=np.int64)
        return np.asarray(rows[:, self._names.index("input")])

    def variant_of(self, rows: np.ndarray) -> np.ndarray:
        """Index of the variant of every row, ``[N]``; -1 where there is none."""
        levels, which = len(self.by_levels), np.zeros(len(rows), dtype=np.int64)
        known: np.ndarray = np.ones(len(rows), dtype=bool)
        if levels > 1:
            which = np.array(rows[:, self._names.index("levels")], dtype=np.int64)
            known = (which >= 0) & (which < levels)
        if len(self.inputs) > 1:
            sides, own = np.array(self.inputs), rows[:, self._names.index("input")]
            place = np.minimum(np.searchsorted(sides, own), len(sides) - 1)
            known, which = known & (sides[place] == own), which + levels * place
        return np.where(known, which, -1)

    @property
    def genes(self) -> int:
        """Columns of a row."""
        return len(self._names)

    def gene_choices(self) -> list[tuple[str, tuple[float, ...]]]:
        """Every gene's name and choices in row order; 0 stands for a gene that a variant lacks."""
        return self._gene_choices

    @functools.cached_property
    def _gene_choices(self) -> list[tuple[str, tuple[float, ...]]]:
        choices: dict[str, set[float]] = {name: set() for name in self._names}
        for space in self.by_levels:
            own = dict(space.gene_choices())
            for name in choices:
                if name not in ("levels", "input"):
                    choices[name] |= set(own.get(name, (0,)))
        if "levels" in choices:
            choices["levels"] = set(range(len(self.by_levels)))
        if "input" in choices:
            choices["input"] = set(self.inputs)
        return [(name, tuple(sorted(values))) for name, values in choices.items()]

    def contains_rows(self, rows: np.ndarray) -> np.ndarray:
        """Boolean ``[N]``: which rows lie in the space."""
        rows = np.asarray(rows)
        good = self.variant_of(rows) >= 0
        for index, at in self.by_levels_of(rows):
            variant = self.variants[index]
            absent = np.setdiff1d(np.arange(self.genes), [*variant.columns, *(c for c, _ in variant.constants)])
            inside = variant.space.contains_rows(rows[np.ix_(at, variant.columns)])
            good[at] &= inside & ~rows[np.ix_(at, absent)].any(axis=1) if len(absent) else inside
        return np.asarray(good)

    def why_not(self, arch: Architecture) -> str:
        """Empty when the detector lies in the space, else the first thing that does not fit the nearest variant."""
        if self.inputs and arch.input_px is not None and arch.input_px not in self.inputs:
            return f"input {arch.input_px} is not among its choices"
        reasons = [space.why_not(arch) for space in self.by_levels]
        return "" if "" in reasons else reasons[0]

    def encode(self, arch: Architecture) -> np.ndarray:
        """Row of an architecture, int64 ``[genes]``; without an input side of its own at the first of the space."""
        for variant in self.variants:
            same_px = not self.inputs or variant.input_px == (arch.input_px or self.inputs[0])
            if same_px and not variant.space.why_not(arch):
                return self.embed(variant, variant.space.encode(arch)[None])[0]
        raise BadInput(f"{arch.name or arch.digest()!r} does not lie in space {self.name!r}: {self.why_not(arch)}")

    def decode(self, row: Sequence[int] | np.ndarray, name: str = "") -> Architecture:
        """The whole detector of one row, with its input side."""
        values = np.array([int(v) for v in row], dtype=np.int64)
        variant = self.variants[int(self.variant_of(values[None])[0])]
        arch = variant.space.decode(values[variant.columns], name)
        return arch if variant.input_px is None else dataclasses.replace(arch, input_px=variant.input_px)

    def size(self) -> int:
        """Exact number of detectors in the space."""
        return sum(variant.space.size() for variant in self.variants)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """``n`` rows, every variant as probable as any other, uniformly within each: int64 ``[n, genes]``."""
        which, levels = rng.integers(0, len(self.variants), n), len(self.by_levels)
        rows: np.ndarray = np.zeros((n, self.genes), dtype=np.int64)
        for index in range(levels):
            at = np.flatnonzero(which % levels == index)
            if len(at):
                rows[at] = self.embed(self.variants[index], self.variants[index].space.sample(len(at), rng))
        if len(self.inputs) > 1:
            rows[:, self._names.index("input")] = np.array(self.inputs)[which // levels]
        return rows

    def mutate(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One mutation a row: one within its variant, or (one in ten) a move to another variant.

        There it keeps every gene that both have; a gene that only the new one has is drawn at random.
        """
        new = np.array(rows, dtype=np.int64)
        levels = len(self.by_levels)
        moves = rng.random(len(new)) < VARIANT_SHARE if len(self.variants) > 1 else np.zeros(len(new), dtype=bool)
        target = rng.integers(0, len(self.variants), len(new))
        for index, at in self.by_levels_of(new):
            variant, stay, going = self.variants[index], at[~moves[at]], at[moves[at]]
            if len(stay):
                new[np.ix_(stay, variant.columns)] = variant.space.mutate(new[np.ix_(stay, variant.columns)], rng)
            for place in np.unique(target[going] % levels).tolist():
                after = going[target[going] % levels == place]
                if place != index:
                    arrived = self._moved(new[after], variant, self.variants[place], rng)
                    inside = self.variants[place].space.contains_rows(arrived)
                    after = after[inside]
                    new[after] = self.embed(self.variants[place], arrived[inside])
                if len(self.inputs) > 1:
                    new[after, self._names.index("input")] = np.array(self.inputs)[target[after] // levels]
        return new

    def _moved(self, rows: np.ndarray, before: Variant, after: Variant, rng: np.random.Generator) -> np.ndarray:
        """Rows of the whole ``[N, genes]`` with other levels as rows of the space of ``after``."""
        drawn = after.space.sample(len(rows), rng)
        shared = np.isin(after.columns, before.columns)
        drawn[:, shared] = rows[:, after.columns[shared]]
        return drawn

    def cross(self, first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One child per pair of rows, of the first parent's variant; the first parent where the levels differ."""
        new = np.array(first, dtype=np.int64)
        other = np.full(len(new), -1)
        for index, at in self.by_levels_of(second):
            other[at] = index
        for index, at in self.by_levels_of(new):
            variant, both = self.variants[index], at[other[at] == index]
            if len(both):
                own, mate = (rows[np.ix_(both, variant.columns)] for rows in (new, second))
                new[np.ix_(both, variant.columns)] = variant.space.cross(own, mate, rng)
        return new


def input_sides(space: Space) -> tuple[int, ...]:
    """The input sides in pixels that a space chooses from, ascending; empty where the search says it."""
    return space.inputs if isinstance(space, VariantSpace) else ()


VARIANT_SHARE = 0.1
"""Share of mutations that move a row to another input side or other levels."""
