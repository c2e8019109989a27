"""``nas.detectors``: trained detectors with their accuracy, recipe, source and costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.api.arguments import Text, names_of, png_path, texts_of
from nas.detectors.data import HINT, data_of
from nas.detectors.listing import AtlasList, listed
from nas.detectors.read import read_atlas
from nas.detectors.selection import Selection
from nas.detectors.sheet import NetworkSheet, network_sheet
from nas.devices.profile import device_names, load_device
from workbench.console import Progress
from workbench.errors import BadInput
from workbench.files import write_atomic
from workbench.tables import Result, Table

if TYPE_CHECKING:
    from nas.detectors.atlas import Atlas

DEFAULT_COST = "params"
SHOW = "show"


@dataclass(frozen=True)
class AtlasResult(Result):
    """The entries that were asked for; ``networks`` if some were named; the files that were written."""

    list: AtlasList
    networks: tuple[NetworkSheet, ...] = ()
    files: tuple[Path, ...] = ()

    def to_table(self) -> Table:
        """One row an entry, or a training of the networks that were named."""
        if not self.networks:
            return self.list.to_table()
        tables = [network.to_table() for network in self.networks]
        return Table(tables[0].header, [row for one in tables for row in one.rows])

    def to_dict(self) -> dict[str, Any]:
        """What ``nas atlas --json`` prints."""
        files = {"files": [str(file) for file in self.files]} if self.files else {}
        if self.networks:
            return {"networks": [network.to_dict() for network in self.networks]} | files
        return self.list.to_dict() | files

    def __str__(self) -> str:
        """The list, or the sheets of the networks that were named, and the files."""
        text = "\n\n".join(map(str, self.networks)) if self.networks else str(self.list)
        return text + (f"\nwrote {', '.join(map(str, self.files))}" if self.files else "")


def atlas(
    show: str | Sequence[str] = (), *, data: Text | Sequence[Text] = (), family: str | Sequence[str] = (),
    source: str | Sequence[str] = (), recipe: str | Sequence[str] = (), px: Sequence[int] = (),
    params: str | None = None, task: str | None = None, device: str | Sequence[str] = (), sort: str = "ap",
    top: int | None = None, plot: Text | None = None, cost: str | None = None, csv: Text | None = None,
    quiet: bool = False,
) -> AtlasResult:  # fmt: skip
    """List, filter, draw and show trained detectors.

    Args:
        show: names of networks to show one by one; none: the list.
        data: folders of trained detectors, or ``zoo``; none: the zoo and the folders of ``$NAS_ATLAS``.
        family: families to list; none: all.
        source: parts of the names of sources or folders.
        recipe: traits of the recipe, such as ``coco-only`` or ``no-teacher``.
        px: input sizes in pixels.
        params: a range of parameters, such as ``1..10M``.
        task: accuracy column, by its beginning.
        device: latency columns of the data by their beginnings, or device profiles.
        sort: ``ap``, ``px``, ``name``, ``family``, ``recipe``, ``source``, ``task`` or a cost.
        top: number of entries to list; None: all.
        plot: PNG of AP over a cost.
        cost: what ``plot`` sets AP against: ``params``, ``gflops``, ``activations``, a latency column or a profile;
            None: the first ``device``, else ``params``.
        csv: file to write the list into.
    """
    picture, folder = png_path(plot, "--plot"), data_of(texts_of(data))
    if top is not None and top < 1:
        raise BadInput(f"--top {top} must be at least 1")
    if cost is not None and picture is None:
        raise BadInput(f"--cost {cost} says what --plot draws: add --plot FILE.png")
    progress = Progress(quiet)
    try:
        whole = read_atlas(folder, progress)
        names, devices = _shown(show), names_of(device or None, "--device")
        if names:
            return _sheets(whole, names, devices)
        selection = Selection(
            tuple(names_of(family or None, "--family")), tuple(names_of(source or None, "--source")),
            tuple(names_of(recipe or None, "--recipe")), tuple(px), params, task,
        )  # fmt: skip
        costs = [*devices, *([cost or (devices[0] if devices else DEFAULT_COST)] if picture else [])]
        found = listed(selection.of(whole), sort, costs, top, [HINT])
        files = _written(found, costs, picture, None if csv is None else Path(csv))
    finally:
        progress.done()
    return AtlasResult(found, files=files)


def _shown(words: str | Sequence[str]) -> tuple[str, ...]:
    """Names of networks; on the command line the word ``show`` stands in front of them."""
    names = texts_of(words or None)
    if names[:1] == (SHOW,):
        if len(names) == 1:
            raise BadInput("nas atlas show needs the name of a network: nas atlas lists them")
        return names[1:]
    return names


def _sheets(whole: Atlas, names: Sequence[str], devices: Sequence[str]) -> AtlasResult:
    known = device_names()
    unknown = [name for name in devices if name not in known and not name.endswith((".yaml", ".yml"))]
    if unknown:
        raise BadInput(f"--device {unknown[0]!r} is no device profile; a sheet shows every measured latency anyway")
    profiles = [load_device(name) for name in devices]
    sheets = tuple(network_sheet(whole, name, profiles) for name in names)
    return AtlasResult(AtlasList(whole, tuple(e for sheet in sheets for e in sheet.entries), ()), sheets)


def _written(found: AtlasList, costs: Sequence[str], picture: Path | None, table: Path | None) -> tuple[Path, ...]:
    """Write the picture and the CSV file that were asked for."""
    if picture is not None:
        from nas.detectors.cost_columns import cost_column
        from nas.detectors.plot import atlas_png, points_of

        column = cost_column(found.atlas, costs[-1])
        points = points_of(replace(found, costs=(column,)))
        families = len({point.family for point in points})
        write_atomic(picture, atlas_png(points, column.label, f"{len(points)} entries of {families} families"))
    if table is not None:
        write_atomic(table, found.to_csv())
    return tuple(path for path in (picture, table) if path is not None)
