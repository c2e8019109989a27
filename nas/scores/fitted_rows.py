"""What the fitted scores share over rows of a Space: where they fit, and what layers and entrances of a stage add."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from nas.costs import SpaceCosts
from nas.scores.rows import RowScore, to_ticks
from search_spaces.graph import Graph
from search_spaces.neck import strides_text
from search_spaces.ops import Num
from workbench.errors import BadInput


class FittedRows(RowScore):
    """A fitted score of the whole detector, which reads the levels at strides 8, 16 and 32."""

    name: ClassVar[str]
    input_in_stem = True

    def __init__(self, costs: SpaceCosts) -> None:
        super().__init__(costs)
        if unfit := self.unfit(costs):
            raise BadInput(f"score {self.name!r} {unfit}: use --score maxent")

    @classmethod
    def unfit(cls, costs: SpaceCosts) -> str:
        if costs.taps and costs.strides[-1] == 32 and costs.space.neck.strides == (8, 16, 32):
            return ""
        name, levels = costs.space.name, costs.space.neck.strides
        if levels != (8, 16, 32):
            return f"reads levels at strides 8, 16 and 32, and space {name!r} has {strides_text(levels)}"
        return f"reads strides 8, 16 and 32, and space {name!r} ends at {costs.strides[-1]}"

    def entrance_weights(self, weight: float, shares: Mapping[int, float]) -> list[float]:
        """For every stage ``weight`` times the share of the stride that it enters; 0 where it halves no map."""
        return [
            weight * shares.get(at, 0.0) if stage.stride == 2 else 0.0
            for at, stage in zip(self.costs.strides[1:], self.costs.space.stages, strict=True)
        ]


def layer_ticks(graph: Graph, weights: np.ndarray) -> Num:
    """Sum in ticks of what each repetition of an op counts, ``weights`` ``[ops]`` or ``[ops, N]``."""
    return sum(
        weight * np.asarray(op.count, dtype=np.int64)
        for weight, op in zip(to_ticks(weights), graph.ops, strict=True)
        if np.any(weight)
    )
