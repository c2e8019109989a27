"""Costs of rows of a VariantSpace: every row by the costs of its variant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nas.costs import SpaceCosts
from search_spaces.space import Space
from search_spaces.variants import VariantSpace

if TYPE_CHECKING:
    from nas.devices.profile import DeviceProfile

DEFAULT_INPUT_PX = 640
"""Input side where neither the search nor the space says one."""


class VariantCosts(SpaceCosts):
    """Costs of rows of a space with several input sides or levels; geometry and pieces are those of the first variant.

    ``parts``: the costs of every variant, in the order of ``space.variants``.
    """

    def __init__(
        self, space: VariantSpace, device: DeviceProfile | Sequence[DeviceProfile] | None, input_px: int, scope: str
    ) -> None:
        super().__init__(space, device, space.variants[0].input_px or input_px, scope)
        self.union, self.input_px = space, input_px
        self.parts = [SpaceCosts(v.space, device, v.input_px or input_px, scope) for v in space.variants]

    def costs(self, rows: np.ndarray, input_px: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Costs of rows ``[N, genes]``, int64 ``[N]`` each (latency in ticks, fixed part included).

        All rows with the same levels are costed together, whatever their sides. ``input_px``: sides ``[N]`` in place of
        those that the rows say.
        """
        found = {name: np.zeros(len(rows), dtype=np.int64) for name in self.cost_names}
        sides = self.union.sides(rows) if input_px is None else input_px
        for index, at in self.union.by_levels_of(rows):
            own = rows[np.ix_(at, self.union.variants[index].columns)]
            given = None if sides is None else sides[at]
            for name, value in self.parts[index].costs(own, given).items():
                found[name][at] = value
        return found


def space_costs(
    space: Space, device: DeviceProfile | Sequence[DeviceProfile] | None, input_px: int | None = None,
    scope: str = "detector",
) -> SpaceCosts:  # fmt: skip
    """Costs of rows of any space; ``input_px`` is for a space that does not say its own input sides."""
    px = DEFAULT_INPUT_PX if input_px is None else input_px
    if isinstance(space, VariantSpace):
        return VariantCosts(space, device, px, scope)
    return SpaceCosts(space, device, px, scope)
