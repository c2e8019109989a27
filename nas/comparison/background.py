"""Networks of the atlas behind a comparison's plot: COCO AP, recipe, and costs along the same axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.comparison.sources.costs import compared_costs
from nas.detectors.data import HINT, data_of
from nas.detectors.read import read_atlas
from nas.detectors.sources.zoo_cards import TARGET, ZOO
from nas.devices.profile import DeviceProfile
from workbench.errors import BadInput


@dataclass(frozen=True, slots=True)
class BackgroundPoint:
    """One entry of the atlas: AP in percent, and its costs by axis."""

    name: str
    family: str
    ap: float
    recipe: str
    source: str
    values: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "name": self.name, "family": self.family, "ap": self.ap, "recipe": self.recipe, "source": self.source,
            "values": dict(self.values),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Background:
    """Entries of the atlas with COCO AP, and what they are, in one sentence."""

    points: tuple[BackgroundPoint, ...] = ()
    note: str = ""

    def lines(self, axis: str) -> list[list[BackgroundPoint]]:
        """The best entry of every network, family by family, from the lowest cost along an axis to the highest."""
        best: dict[str, dict[str, BackgroundPoint]] = {}
        for point in sorted(self.points, key=lambda point: -point.ap):
            if axis in point.values:
                best.setdefault(point.family, {}).setdefault(point.name, point)
        return [sorted(family.values(), key=lambda point: point.values[axis]) for family in best.values()]


NO_BACKGROUND = Background()


def read_background(
    data: Sequence[str], profiles: Sequence[DeviceProfile], log: Callable[[str], None] = lambda text: None
) -> Background:
    """The entries of ``data`` (none: the default atlas) whose accuracy is published AP on COCO val; others are not
    mixed in."""
    sources = data_of(data)
    atlas = read_atlas(sources).part(lambda entry: entry.column == TARGET and entry.ap == entry.ap)
    if not atlas.entries:
        raise BadInput(f"--atlas: no entry of {', '.join(sources)} has {TARGET}: only AP on COCO is drawn")
    values: dict[tuple[str, int], dict[str, float]] = {}
    points = []
    for entry in atlas.entries:
        if entry.key not in values:
            log(f"costing {entry.name}")
            costs = compared_costs(atlas.graphs[entry.name], entry.input_px, profiles)
            values[entry.key] = {axis: reading.value for axis, reading in costs.values.items()}
        recipe = entry.recipe.tag or "recipe not stated"
        points.append(
            BackgroundPoint(entry.name, entry.family, round(100 * entry.ap, 2), recipe, entry.source, values[entry.key])
        )
    families = len({point.family for point in points})
    names = " and ".join("the zoo" if source == ZOO else Path(source).resolve().name for source in sources)
    what = f"{len(points)} entries of {families} families with published COCO AP"
    note = f"behind the plot, in gray: {what}, from {names}"
    return Background(tuple(points), note if sources != (ZOO,) else f"{note}; {HINT}")
