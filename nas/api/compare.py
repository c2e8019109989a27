"""``nas.compare``: runs, checkpoints and networks beside every detector of the zoo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.api.arguments import Text, names_of, optional_texts, text_of, texts_of
from nas.comparison.comparison import Comparison
from nas.comparison.gather import compare as gather
from nas.comparison.rows import PUBLISHED, ComparisonRow
from nas.comparison.write import check_folder, write_comparison
from workbench.console import Progress
from workbench.errors import BadInput
from workbench.tables import Result, Table

DEFAULT_DEVICES = ["t4"]


@dataclass(frozen=True)
class CompareResult(Result):
    """A comparison and the files that were written."""

    comparison: Comparison
    files: tuple[Path, ...]

    def to_table(self) -> Table:
        """One row a network: AP in percent, latencies in milliseconds."""
        times = self.comparison.times
        header = ["network", "family", "px", "published AP", "own AP"]
        header += [*(f"{axis.kind} ms, {axis.label}" for axis in times), "GFLOPs", "Mparams", "NMS", "weights"]
        rows = []
        for row in self.comparison.ordered():
            latencies = [row.values[axis.key].value if axis.key in row.values else None for axis in times]
            sizes = [row.flops / 1e9, row.params / 1e6]
            rows.append([row.name, row.family, row.input_px, *_aps(row), *latencies, *sizes, row.nms, row.licence])
        return Table(header, rows)

    def to_dict(self) -> dict[str, Any]:
        """What ``nas compare --json`` prints."""
        return self.comparison.to_dict() | {"files": [str(file) for file in self.files]}

    def __str__(self) -> str:
        """The Pareto fronts in sentences, notes, and files."""
        return f"{self.comparison}\n\nwrote {', '.join(map(str, self.files))}"


def compare(
    subjects: Text | Sequence[Text] = (), *, device: str | Sequence[str] | None = None,
    only: str | Sequence[str] | None = None, zoo: bool = True, bench: Text | Sequence[Text] = (), top: int = 1,
    atlas: Text | Sequence[Text] | None = None, out: Text = "compare", title: str = "Detectors compared",
    input_px: int | None = None, quiet: bool = False,
) -> CompareResult:  # fmt: skip
    """Compare runs, checkpoints and networks with the detectors of the zoo; write a page, a picture and a table.

    Args:
        subjects: run folders, checkpoints, models of the zoo, architecture YAMLs, graph JSONs or ONNX files.
        device: names or files of latency profiles; None: t4.
        only: families or models of the zoo to compare with; None: all.
        zoo: compare with the detectors of the zoo.
        bench: files that ``nas bench --json`` printed.
        top: number of candidates of each search.
        atlas: folders of trained detectors, or ``zoo``, to draw faintly behind the plot; empty: the zoo and the folders
            of ``$NAS_ATLAS``; None: nothing.
        out: folder for ``compare.html``, ``compare.png`` and ``compare.md``.
        title: heading of the page.
        input_px: side of the square input in pixels at which models of the zoo are costed; None takes their own. At
            another side they have no published AP.
    """
    devices, families = names_of(device, "--device") or DEFAULT_DEVICES, names_of(only, "--only")
    if not zoo and families:
        raise BadInput("--no-zoo and --only contradict each other: give one of them")
    folder = text_of(out)
    check_folder(folder)
    rivals = (families or None) if zoo else []
    progress = Progress(quiet)
    try:
        comparison = gather(
            texts_of(subjects), devices, only=rivals, bench=texts_of(bench), top=top, atlas=optional_texts(atlas),
            input_px=input_px, log=progress.show,
        )
        progress.show("drawing", force=True)
        files = write_comparison(comparison, folder, title)
    finally:
        progress.done()
    return CompareResult(comparison, tuple(files))


def _aps(row: ComparisonRow) -> tuple[float | None, float | None]:
    """Published AP and own AP, of which a row has one at most."""
    if row.accuracy is None:
        return None, None
    return (row.accuracy.ap, None) if row.accuracy.series == PUBLISHED else (None, row.accuracy.ap)
