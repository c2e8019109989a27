"""``nwot`` and ``nwot_pre``: log-determinant of the activation kernel (Mellor et al., NASWOT, ICML 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nas.scores.forward import observing_score
from nas.scores.score import Observer
from search_spaces.graph import Graph
from search_spaces.ops import WEIGHT_KINDS, Op
from workbench.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 16
EXACT = 1 << 23
"""Units counted at a time: float32 holds integers exactly up to twice this."""


class Agreement(Observer):
    """Log-determinant of the kernel that counts, for every two images, the units whose on/off states agree.

    ``before`` False: a unit is an activation's output, on where it is above 0. True: a unit is an output of any
    convolution or linear layer, normalized but not yet activated; layers without an activation count as well.
    """

    def __init__(self, graph: Graph, before: bool = False) -> None:
        import torch

        self.name, self.before, self.units = graph.name, before, 0
        self.kernel = torch.zeros(BATCH, BATCH, dtype=torch.float64)

    def __call__(self, index: int, op: Op, before: Tensor, after: Tensor) -> None:
        from nas.scores.forward_net import is_active

        if self.before:
            if op.kind in WEIGHT_KINDS:
                self._count(before)
        elif is_active(op) and (op.kind != "act" or after.dim() == 4):
            self._count(after)

    def _count(self, tensor: Tensor) -> None:
        on = (tensor > 0).flatten(1)
        self.units += on.shape[1]
        for part in on.split(EXACT, dim=1):
            ones = part.float()
            both, each = (ones @ ones.T).double(), ones.sum(1).double()
            self.kernel += both + (part.shape[1] - each[:, None] - each[None, :] + both)

    def value(self) -> float:
        import torch

        if not self.units:
            raise BadInput(f"graph {self.name!r} has no activation: nwot counts which units are on")
        return float(torch.linalg.slogdet(self.kernel)[1])

    def notes(self) -> dict[str, Any]:
        return {"units": self.units}


NWOT = observing_score(
    "nwot", "log-determinant of the activation kernel (NASWOT, ICML 2021)", BATCH,
    lambda graph, px, seed: Agreement(graph),
)  # fmt: skip
NWOT_PRE = observing_score(
    "nwot_pre", "the same before the activations (Mellor et al. 2021)", BATCH,
    lambda graph, px, seed: Agreement(graph, before=True),
)  # fmt: skip
