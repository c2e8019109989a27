"""The files of a comparison: ``compare.html``, ``compare.md`` and ``compare.png``."""

from __future__ import annotations

from pathlib import Path

from nas.comparison.comparison import Comparison
from nas.comparison.markdown import markdown
from nas.comparison.page import page
from nas.comparison.plot import compare_png
from workbench.errors import BadInput
from workbench.files import write_atomic


def check_folder(folder: str | Path) -> None:
    """Refuse an output folder that is a file."""
    if Path(folder).exists() and not Path(folder).is_dir():
        raise BadInput(f"--out {str(folder)!r} is a file: name a folder")


def write_comparison(comparison: Comparison, folder: str | Path, title: str = "Detectors compared") -> list[Path]:
    """Write plot, Markdown and page into ``folder``; their paths. All are made before any is written."""
    check_folder(folder)
    files: dict[str, str | bytes] = {
        "compare.png": compare_png(comparison, title),
        "compare.md": markdown(comparison, title),
        "compare.html": page(comparison, title),
    }
    for name, content in files.items():
        write_atomic(Path(folder) / name, content)
    return [Path(folder) / name for name in files]
