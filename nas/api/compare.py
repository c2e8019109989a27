"""``nas.compare``: runs, checkpoints and networks beside every detector of the zoo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.api.arguments import Text, names_of, text_of, texts_of
from nas.comparison.comparison import Comparison
from nas.comparison.gather import compare as gather
from nas.comparison.write import check_folder, write_comparison
from workbench.console import Progress
from workbench.errors import BadInput
from workbench.tables import Result

DEFAULT_DEVICES = ["t4"]


@dataclass(frozen=True)
class CompareResult(Result):
    """A comparison and the files that were written."""

    comparison: Comparison
    files: tuple[Path, ...]

    def to_table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """One row a network, as in ``compare.md``."""
        return self.comparison.to_table()

    def to_dict(self) -> dict[str, Any]:
        """What ``nas compare --json`` prints."""
        return self.comparison.to_dict() | {"files": [str(file) for file in self.files]}

    def __str__(self) -> str:
        return f"{self.comparison}\n\nwrote {', '.join(map(str, self.files))}"


def compare(
    subjects: Text | Sequence[Text] = (), *, device: str | Sequence[str] | None = None,
    only: str | Sequence[str] | None = None, zoo: bool = True, bench: Text | Sequence[Text] = (), top: int = 1,
    out: Text = "compare", title: str = "Detectors compared", quiet: bool = False,
) -> CompareResult:  # fmt: skip
    """Compare runs, checkpoints and networks with the detectors of the zoo; write a page, a picture and a table.

    Args:
        subjects: run folders, checkpoints, models of the zoo, architecture YAMLs, graph JSONs or ONNX files.
        device: names or files of latency profiles; None: t4.
        only: families or models of the zoo to compare with; None: all.
        zoo: compare with the detectors of the zoo.
        bench: files that ``nas bench --json`` printed.
        top: number of candidates of each search.
        out: folder for ``compare.html``, ``compare.png`` and ``compare.md``.
        title: heading of the page.
    """
    devices, families = names_of(device, "--device") or DEFAULT_DEVICES, names_of(only, "--only")
    if not zoo and families:
        raise BadInput("--no-zoo and --only contradict each other: give one of them")
    check_folder(text_of(out))
    rivals = (families or None) if zoo else []
    progress = Progress(quiet)
    try:
        comparison = gather(
            texts_of(subjects), devices, only=rivals, bench=texts_of(bench), top=top, log=progress.show
        )
        progress.show("drawing", force=True)
        files = write_comparison(comparison, text_of(out), title)
    finally:
        progress.done()
    return CompareResult(comparison, tuple(files))
