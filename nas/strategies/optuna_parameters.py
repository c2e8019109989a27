"""Optuna parameters of a Space: one a gene that has a choice, so that every trial lies in the space.

Kernels and depths are themselves: ``stage2.depth`` in 1..5. Widths are constrained by their neighbours, so they are
*shares*: ``stage2.out_share`` in [0, 1) is the position among those widths that may follow the width before and still
lead to the end, ``stage2.btn_share`` the position among the inner widths that go with the output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from search_spaces.space import DEPTH, OUT, K, Space
from workbench.errors import BadInput

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


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
            fits = [o for o in space.stages[i].outs if space.btn_values(i, o) and (later is None or later.get(o))]
            later = {int(c): tuple(int(o) for o in fits if space.allows(i, np.int64(c), np.int64(o))) for c in before}
            tables.append(later)
        return tables[::-1]

    def distributions(self) -> dict[str, BaseDistribution]:
        """One Optuna distribution a parameter, in row order; genes without a choice have none."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        def listed(choices: tuple[int, ...]) -> BaseDistribution:
            steps = set(np.diff(choices).tolist())
            if len(steps) == 1:
                return IntDistribution(int(choices[0]), int(choices[-1]), step=int(steps.pop()))
            return CategoricalDistribution([int(c) for c in choices])

        distributions: dict[str, BaseDistribution] = {}
        if len(self.stem_outs) > 1:
            distributions["stem.out"] = listed(self.stem_outs)
        for i, stage in enumerate(self.space.stages):
            name = f"stage{i + 1}"
            if len({o for group in self._outs[i].values() for o in group}) > 1:
                distributions[f"{name}.out_share"] = FloatDistribution(0.0, 1.0)
            if any(len(self.space.btn_values(i, o)) > 1 for o in stage.outs):
                distributions[f"{name}.btn_share"] = FloatDistribution(0.0, 1.0)
            for gene, choices in (("k", stage.ks), ("depth", stage.depths)):
                if len(choices) > 1:
                    distributions[f"{name}.{gene}"] = listed(choices)
        return distributions

    def row(self, params: Mapping[str, Any]) -> np.ndarray:
        """Row of one trial's parameters, int64 ``[genes]``."""
        space = self.space
        row = np.zeros(space.genes, dtype=np.int64)
        row[0] = cin = int(params.get("stem.out", self.stem_outs[0]))
        for i, stage in enumerate(space.stages):
            name = f"stage{i + 1}"
            out = _at(self._outs[i][cin], params.get(f"{name}.out_share", 0.0))
            btn = _at(space.btn_values(i, out), params.get(f"{name}.btn_share", 0.0))
            row[space.column(i, OUT) : space.column(i, OUT) + 2] = out, btn
            row[space.column(i, K)] = params.get(f"{name}.k", stage.ks[0])
            row[space.column(i, DEPTH)] = params.get(f"{name}.depth", stage.depths[0])
            cin = out
        return row


def _at(choices: tuple[int, ...], share: float) -> int:
    """The choice at ``share`` in [0, 1]: equal parts for all choices."""
    return choices[min(int(share * len(choices)), len(choices) - 1)]
