"""Picture of a cut network: the channels that stay, group by group, in the order of execution."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nas.report.canvas import ANCHOR, BUDGET, FRONT, INK, new_figure, to_png
from zoo.pruning.group_widths import GroupWidth, group_widths

if TYPE_CHECKING:
    from workbench.events import EventWriter
    from zoo.pruning.cuts import Cuts
    from zoo.pruning.groups import ChannelGroups

PART_COLOURS = {"backbone": FRONT, "neck": ANCHOR, "head": "#E69F00"}
OTHER = "#CC79A7"
MAX_ROWS = 46
"""Groups below each other; more go into further columns."""
MAX_COLUMNS = 4
NAME_LENGTH = 38
COLUMN_INCHES, ROW_INCHES = 5.2, 0.152
SAID = {"block": "block skipped", "layer": "layer removed"}
"""What a bar says of a group that was removed as a whole."""
TAG = "views/channels_kept"


def plot_cuts(groups: ChannelGroups, cuts: Cuts, title: str) -> Any:
    """A Matplotlib figure with a bar for every channel group that can be cut.

    A bar is as long as the group has channels; the part that stays is filled, in the color of backbone, neck or head.
    Groups inside skipped blocks and removed layers are hatched.
    """
    widths = group_widths(groups, cuts)
    columns = min(MAX_COLUMNS, max(1, math.ceil(len(widths) / MAX_ROWS)))
    rows = max(1, math.ceil(len(widths) / columns))
    heading = [line for text in (title, _totals(groups, cuts, widths)) for line in textwrap.wrap(text, 68 * columns)]
    figure = new_figure(0.5 + COLUMN_INCHES * columns, 1.1 + 0.2 * len(heading) + ROW_INCHES * max(rows, 8))
    panels = figure.subplots(1, columns, squeeze=False)[0]
    widest = max((width.channels for width in widths), default=1)
    names = _names(widths)
    for place, panel in enumerate(panels):
        part = slice(place * rows, (place + 1) * rows)
        _column(panel, widths[part], names[part], widest, rows)
    figure.suptitle("\n".join(heading), fontsize=10.5, color=INK, parse_math=False, x=0.01, ha="left")
    _legend(figure, widths)
    return figure


def cuts_png(groups: ChannelGroups, cuts: Cuts, title: str) -> bytes:
    """The figure of ``plot_cuts`` as a PNG file."""
    return to_png(plot_cuts(groups, cuts, title))


def show_cuts(events: EventWriter, groups: ChannelGroups, cuts: Cuts, title: str, step: int = 0) -> None:
    """Add the picture to TensorBoard's Images tab; ``step`` is the round of cutting."""
    events.image(TAG, cuts_png(groups, cuts, title), step)


def _column(panel: Any, widths: Sequence[GroupWidth], names: Sequence[str], widest: int, rows: int) -> None:
    """The bars of consecutive groups, from top to bottom."""
    for row, width in enumerate(widths):
        color = PART_COLOURS.get(width.part, OTHER)
        outline: dict[str, Any] = {"edgecolor": color, "linewidth": 0.7, "height": 0.72}
        hatch = {"hatch": "//////", "alpha": 0.55} if width.removed else {}
        panel.barh(row, width.channels, facecolor="white", **outline, **hatch)
        panel.barh(row, width.kept, facecolor=color, **outline)
        said = SAID.get(width.removed, f"{width.kept} of {width.channels}")
        at = {"textcoords": "offset points", "va": "center", "fontsize": 6.5}
        faded = BUDGET if width.removed or width.kept == width.channels else INK
        panel.annotate(said, (width.channels, row), (3, -0.5), color=faded, **at)
    panel.set_yticks(range(len(widths)), names, fontsize=6.5, parse_math=False)
    panel.tick_params(axis="y", length=0)
    panel.tick_params(axis="x", labelsize=7)
    panel.set_ylim(max(rows, 8) - 0.4, -0.6)
    panel.set_xlim(0, 1.22 * widest)
    panel.set_xlabel("channels", fontsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _names(widths: Sequence[GroupWidth]) -> list[str]:
    """The layers of the groups without endings that say nothing; with the first channel where a layer has several."""
    layers = [width.group.layer for width in widths]
    names = []
    for width in widths:
        layer = width.group.layer
        name = layer.removesuffix(".conv")
        if layers.count(layer) > 1:
            name += f":{width.group.channels.min()}"
        names.append(name if len(name) <= NAME_LENGTH else f"…{name[1 - NAME_LENGTH :]}")
    return names


def _totals(groups: ChannelGroups, cuts: Cuts, widths: Sequence[GroupWidth]) -> str:
    """Channels, blocks and layers that stay, in words."""
    channels, kept = sum(width.channels for width in widths), sum(width.kept for width in widths)
    facts = [f"{kept:,} of {channels:,} channels that can be cut stay ({100 * kept / max(channels, 1):.0f} %)"]
    if groups.blocks:
        facts.append(f"{len(cuts.skipped)} of {len(groups.blocks)} blocks skipped")
    facts += [f"{cuts.depths.get(path, of)} of {of} layers in {path}" for path, of in groups.stacks.items()]
    return ", ".join(facts)


def _legend(figure: Any, widths: Sequence[GroupWidth]) -> None:
    """Colors of the parts, and what filled, empty and hatched mean."""
    from matplotlib.patches import Patch

    parts = list(dict.fromkeys(width.part for width in widths))
    handles = [Patch(facecolor=PART_COLOURS.get(part, OTHER), label=part) for part in parts]
    handles += [Patch(facecolor=INK, edgecolor=INK, label="kept"), Patch(facecolor="white", edgecolor=INK, label="cut")]
    if any(width.removed for width in widths):
        handles.append(Patch(facecolor="white", edgecolor=INK, hatch="//////", label="block skipped or layer removed"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False)
