"""TailChoices: which necks and heads a space leaves open, and their genes in a row."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from search_spaces.architecture import Head, Neck
from search_spaces.membership import among
from search_spaces.neck import level_name


@dataclass(frozen=True)
class NeckForm:
    """A kind of neck with the fields that go with it, as (name, value)."""

    fields: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        """Such as ``pan of c3k2``."""
        values = dict(self.fields)
        return str(values["kind"]) + (f" of {', '.join(values['blocks'])}" if values.get("blocks") else "")


@dataclass(frozen=True)
class Structure:
    """A neck and a head that differ from others in more than the neck's widths: all fields but ``neck.out`` are set.

    ``genes``: the values of the open fields in a row.
    """

    genes: tuple[int, ...]
    neck: Neck
    head: Head


@dataclass(frozen=True)
class TailChoices:
    """Choices of neck and head.

    A row holds, for every level of the neck with more than one choice, its channels, and for every open field the index
    of its choice. Widths never shrink from a level to the next coarser one.

    Args:
        neck: The neck with the first choice of everything.
        head: The head with the first choice of everything.
        outs: Choices of the neck's output channels by level, finest first.
        fields: Open fields, such as ``("neck.depth", (0.5, 1.0))``, each with at least two choices. A choice of
            ``neck.kind`` is a ``NeckForm``.
    """

    neck: Neck
    head: Head
    outs: tuple[tuple[int, ...], ...]
    fields: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    @functools.cached_property
    def open_levels(self) -> tuple[int, ...]:
        """Levels whose width is a gene, finest first."""
        return tuple(level for level, choices in enumerate(self.outs) if len(choices) > 1)

    @functools.cached_property
    def genes(self) -> list[tuple[str, tuple[int, ...]]]:
        """Every gene's name and values in row order; the value of a field is the index of its choice."""
        widths = [(f"neck.{level_name(self.neck.strides[level])}", self.outs[level]) for level in self.open_levels]
        return [*widths, *((name, tuple(range(len(choices)))) for name, choices in self.fields)]

    @functools.cached_property
    def structures(self) -> list[Structure]:
        """All combinations of the open fields, in row order."""
        found = []
        for indices in itertools.product(*(range(len(choices)) for _, choices in self.fields)):
            parts: dict[str, Any] = {"neck": self.neck, "head": self.head}
            for (name, choices), index in zip(self.fields, indices, strict=True):
                part, _, field = name.partition(".")
                choice = choices[index]
                values = dict(choice.fields) if isinstance(choice, NeckForm) else {field: choice}
                parts[part] = dataclasses.replace(parts[part], **values)
            found.append(Structure(indices, parts["neck"], parts["head"]))
        return found

    @functools.cached_property
    def families(self) -> list[tuple[Neck, Head, np.ndarray, np.ndarray]]:
        """Structures that differ in ``neck.hidden_ratio`` alone, which may be an array.

        Each: the neck and head of the first one, bool ``[structures]`` for which belong to it, and the ratios of all
        structures ``[structures]``.
        """
        ratios = np.array([structure.neck.hidden_ratio for structure in self.structures])
        members: dict[tuple[Neck, Head], list[int]] = {}
        for index, structure in enumerate(self.structures):
            key = (dataclasses.replace(structure.neck, hidden_ratio=1.0), structure.head)
            members.setdefault(key, []).append(index)
        return [
            (self.structures[at[0]].neck, head, np.isin(np.arange(len(ratios)), at), ratios)
            for (_, head), at in members.items()
        ]

    @functools.cached_property
    def widths(self) -> np.ndarray:
        """All allowed output channels of the neck, int64 ``[n, levels]`` in ascending order."""
        every = np.array(list(itertools.product(*self.outs)), dtype=np.int64)
        return every[np.all(np.diff(every, axis=1) >= 0, axis=1)] if self.open_levels else every

    @functools.cached_property
    def first(self) -> np.ndarray:
        """Genes ``[len(self.genes)]`` of the first of all choices."""
        return np.asarray(self.rows(self.widths[:1], self.structures[0])[0])

    @property
    def size(self) -> int:
        """Number of necks and heads."""
        return len(self.widths) * len(self.structures)

    def split(self, genes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Channels ``[N, levels]`` and the index of the structure ``[N]`` of genes ``[N, len(self.genes)]``."""
        widths = np.tile([choices[0] for choices in self.outs], (len(genes), 1)).astype(np.int64)
        widths[:, list(self.open_levels)] = genes[:, : len(self.open_levels)]
        index: np.ndarray = np.zeros(len(genes), dtype=np.int64)
        for column, (_, choices) in enumerate(self.fields, start=len(self.open_levels)):
            index = index * len(choices) + genes[:, column]
        return widths, index

    def rows(self, widths: np.ndarray, structure: Structure) -> np.ndarray:
        """Genes ``[N, len(self.genes)]`` of channels ``[N, levels]`` with one structure."""
        fields = np.tile(np.array(structure.genes, dtype=np.int64), (len(widths), 1))
        return np.concatenate([widths[:, list(self.open_levels)], fields], axis=1)

    def contains(self, genes: np.ndarray) -> np.ndarray:
        """Boolean ``[N]``: which genes are among the choices and keep the order of widths."""
        good: np.ndarray = np.ones(len(genes), dtype=bool)
        for column, (_, values) in enumerate(self.genes):
            good &= among(genes[:, column], values)
        if self.open_levels:
            good &= np.all(np.diff(self.split(np.where(good[:, None], genes, 0))[0], axis=1) >= 0, axis=1)
        return good

    def decode(self, genes: np.ndarray) -> tuple[Neck, Head]:
        """Neck and head of one row's genes ``[len(self.genes)]``."""
        widths, index = self.split(np.asarray(genes)[None])
        structure = self.structures[int(index[0])]
        return dataclasses.replace(structure.neck, out=tuple(int(w) for w in widths[0])), structure.head

    def encode(self, neck: Neck | None, head: Head | None) -> np.ndarray | None:
        """Genes ``[len(self.genes)]`` of a neck and a head; None where they are none of the choices."""
        if neck is None:
            return None
        for structure in self.structures:
            if head == structure.head and neck == dataclasses.replace(structure.neck, out=neck.out):
                genes = self.rows(np.array([neck.out], dtype=np.int64), structure)
                return genes[0] if self.contains(genes)[0] and self.decode(genes[0])[0] == neck else None
        return None

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """``n`` rows of genes, uniformly over all choices: int64 ``[n, len(self.genes)]``."""
        widths = self.widths[rng.integers(0, len(self.widths), n)]
        index = rng.integers(0, len(self.structures), n)
        fields = np.array([structure.genes for structure in self.structures], dtype=np.int64)
        return np.concatenate([widths[:, list(self.open_levels)], fields[index]], axis=1)
