"""Optuna parameters of a Space: one a gene that has a choice, so that every trial lies in the space.

Kernels and depths are themselves: ``stage2.depth`` in 1..5. Widths are constrained by their neighbours, so they are
*shares*: ``stage2.out_share`` in [0, 1) is the position among those widths that may follow the width before and still
lead to the end, ``stage2.btn_share`` the position among the inner widths that go with the output, ``neck.p4_share``
that among the widths of the neck that are no narrower than the level before. Where a stage has several kinds, each kind
has its own inner parameters: ``stage2.c3k2.depth``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from search_spaces.neck import strides_text
from search_spaces.space import Space
from search_spaces.variants import VariantSpace
from workbench.errors import BadInput

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def row_parameters(space: Space) -> RowParameters:
    """The parameters of any space."""
    return VariantParameters(space) if isinstance(space, VariantSpace) else RowParameters(space)


class RowParameters:
    """Converts parameters to rows, gene by gene, so that every row lies in the space."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._outs = self._reachable()
        self.stem_outs = tuple(c for c in space.stem_outs if self._outs[0].get(c))
        if not self.stem_outs:
            raise BadInput(f"space {space.name!r} holds no architecture: its rules exclude every width; loosen them")

    def _reachable(self) -> list[dict[int, tuple[int, ...]]]:
        """For every stage and width before it, the widths that may follow and still lead to the end."""
        space = self.space
        tables: list[dict[int, tuple[int, ...]]] = []
        later: dict[int, tuple[int, ...]] | None = None
        for i in reversed(range(len(space.stages))):
            before = space.stem_outs if i == 0 else space.stages[i - 1].outs
            fits = [o for o in space.stages[i].outs if space.options(i, o) and (later is None or later.get(o))]
            later = {int(c): tuple(int(o) for o in fits if space.allows(i, np.int64(c), np.int64(o))) for c in before}
            tables.append(later)
        return tables[::-1]

    def distributions(self) -> dict[str, BaseDistribution]:
        """One Optuna distribution a parameter, in row order; genes without a choice have none."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        distributions: dict[str, BaseDistribution] = {}
        if len(self.stem_outs) > 1:
            distributions["stem.out"] = _listed(self.stem_outs)
        for i, stage in enumerate(self.space.stages):
            name = f"stage{i + 1}"
            if len({o for group in self._outs[i].values() for o in group}) > 1:
                distributions[f"{name}.out_share"] = FloatDistribution(0.0, 1.0)
            if stage.others:
                distributions[f"{name}.kind"] = CategoricalDistribution([of.kind for of in stage.alternatives])
            for kind, of in enumerate(stage.alternatives):
                inner = f"{name}.{of.kind}" if stage.others else name
                if any(len(self.space.btn_values(i, o, kind)) > 1 for o in stage.outs):
                    distributions[f"{inner}.btn_share"] = FloatDistribution(0.0, 1.0)
                for gene, choices in (("k", of.ks), ("depth", of.depths)):
                    if len(choices) > 1:
                        distributions[f"{inner}.{gene}"] = _listed(choices)
        tail = self.space.tail
        if tail is not None:
            levels = [name for name, _ in tail.genes[: len(tail.open_levels)]]
            distributions |= {f"{name}_share": FloatDistribution(0.0, 1.0) for name in levels}
            distributions |= {name: CategoricalDistribution(list(choices)) for name, choices in tail.fields}
        return distributions

    def row(self, params: Mapping[str, Any]) -> np.ndarray:
        """Row of one trial's parameters, int64 ``[genes]``."""
        space = self.space
        stem = cin = int(params.get("stem.out", self.stem_outs[0]))
        stages = []
        for i, stage in enumerate(space.stages):
            name = f"stage{i + 1}"
            out = _at(self._outs[i][cin], params.get(f"{name}.out_share", 0.0))
            fitting = [kind for kind in range(len(stage.alternatives)) if space.btn_values(i, out, kind)]
            wanted = params.get(f"{name}.kind", stage.kind)
            kind = next((kind for kind in fitting if stage.alternatives[kind].kind == wanted), fitting[0])
            of = stage.alternatives[kind]
            inner = f"{name}.{of.kind}" if stage.others else name
            btn = _at(space.btn_values(i, out, kind), params.get(f"{inner}.btn_share", 0.0))
            k, depth = params.get(f"{inner}.k", of.ks[0]), params.get(f"{inner}.depth", of.depths[0])
            stages.append((out, btn, k, depth, kind))
            cin = out
        return space.assemble(stem, stages, self._tail(params))

    def _tail(self, params: Mapping[str, Any]) -> list[int]:
        """The genes of neck and head."""
        tail = self.space.tail
        if tail is None:
            return []
        left, genes = tail.widths, []
        for level in range(left.shape[1]):
            fitting = tuple(np.unique(left[:, level]).tolist())
            if level in tail.open_levels:
                name, _ = tail.genes[tail.open_levels.index(level)]
                genes.append(_at(fitting, params.get(f"{name}_share", 0.0)))
                left = left[left[:, level] == genes[-1]]
        return genes + [choices.index(params.get(name, choices[0])) for name, choices in tail.fields]


class VariantParameters(RowParameters):
    """Parameters of a space with several input sides or levels: theirs, and ``input`` and ``levels``."""

    def __init__(self, space: VariantSpace) -> None:
        self.space = self.union = space
        self.parts = [RowParameters(variant.space) for variant in space.variants]
        self.stem_outs = self.parts[0].stem_outs

    def distributions(self) -> dict[str, BaseDistribution]:
        from optuna.distributions import CategoricalDistribution

        merged: dict[str, BaseDistribution] = {}
        for part in self.parts:
            merged = part.distributions() | merged
        if len(self.union.by_levels) > 1:
            levels = [strides_text(space.neck.strides) for space in self.union.by_levels]
            merged["levels"] = CategoricalDistribution(levels)
        if len(self.union.inputs) > 1:
            merged["input"] = _listed(self.union.inputs)
        return merged

    def row(self, params: Mapping[str, Any]) -> np.ndarray:
        for variant, part in zip(self.union.variants, self.parts, strict=True):
            same_px = params.get("input", variant.input_px) == variant.input_px
            levels = strides_text(variant.space.neck.strides)
            if same_px and params.get("levels", levels) == levels:
                return self.union.embed(variant, part.row(params)[None])[0]
        raise BadInput(f"no variant of space {self.union.name!r} has the input and levels of {dict(params)!r:.120}")


def _listed(choices: tuple[int, ...]) -> BaseDistribution:
    """A distribution over ascending whole numbers."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    steps = set(np.diff(choices).tolist())
    if len(steps) == 1:
        return IntDistribution(int(choices[0]), int(choices[-1]), step=int(steps.pop()))
    return CategoricalDistribution([int(c) for c in choices])


def _at(choices: tuple[int, ...], share: float) -> int:
    """The choice at ``share`` in [0, 1]: equal parts for all choices."""
    return choices[min(int(share * len(choices)), len(choices) - 1)]
