"""Export a detector to a file and measure its gap to torch."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.console import table
from workbench.files import replacing
from workbench.signals import watch_signals
from workbench.tables import Result
from zoo.detector import Detector
from zoo.export.check import check_options, check_path
from zoo.export.contract import write_contract
from zoo.export.deployed import folded_copy
from zoo.export.formats import get_format
from zoo.export.formats.format import Runner
from zoo.export.gap import OutputGap
from zoo.export.measure import measure_gap
from zoo.export.options import ExportOptions


@dataclass(frozen=True, slots=True)
class ExportedFile(Result):
    """A written file and its gaps to torch, by output."""

    path: Path
    gaps: dict[str, OutputGap]
    tolerance: float

    @property
    def within_tolerance(self) -> bool:
        """Whether every gap is within the tolerance, and any row was compared at all."""
        within = all(gap.relative <= self.tolerance and not gap.fault for gap in self.gaps.values())
        return within and any(gap.rows for gap in self.gaps.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the keys of ``nas export --json``."""
        gaps = {name: gap.to_dict() for name, gap in self.gaps.items()}
        tolerance = self.tolerance if math.isfinite(self.tolerance) else None
        return {"file": str(self.path), "tolerance": tolerance, "gaps": gaps, "faithful": self.within_tolerance}

    def to_table(self) -> tuple[list[str], list[list[Any]]]:
        """Header and one row an output."""
        rows: list[list[Any]] = []
        for name, gap in self.gaps.items():
            sizes = ["-", "-"] if gap.fault else [f"{gap.absolute:.2e}", f"{gap.relative:.2e}"]
            rows.append([name, *sizes, gap.rows])
        return ["output", "largest gap", "relative", "rows compared"], rows

    def verdict(self) -> str:
        """What could not be compared, and whether the file agrees with torch."""
        faults = [f"{name}: {gap.fault}" for name, gap in self.gaps.items() if gap.fault]
        if not math.isfinite(self.tolerance) and self.within_tolerance:
            return "its gap is no test of an INT8 file: AP is, which --verify measures"
        outcome = "agrees with torch" if self.within_tolerance else "DRIFTS from torch"
        return "\n".join([*faults, f"{outcome}: a relative gap up to {self.tolerance:g} is allowed"])

    def __str__(self) -> str:
        return f"{self.path}\n{table(*self.to_table())}\n\n{self.verdict()}"


def export(
    detector: Detector,
    path: str | Path,
    format_name: str,
    options: ExportOptions,
    log: Callable[[str], None] = lambda text: None,
    int8_graph: Any = None,
) -> ExportedFile:
    """Write ``detector`` to ``path`` in one of ``zoo.export.formats.FORMATS`` and measure its gap to torch.

    Its contract (``zoo.export.contract``) is written beside it. A file whose gap exceeds the tolerance is written too;
    nothing is written if anything fails. With ``options.int8``, ``int8_graph`` is the network to write
    (``zoo.export.int8.Int8Network.graph``).
    """
    if options.int8 != (int8_graph is not None):
        raise ValueError("int8_graph belongs to options.int8: give both or neither")
    target, file_format = Path(path), get_format(format_name)
    check_options(detector, format_name, options)
    check_path(target, format_name)
    file_format.require()
    reference = copy.deepcopy(detector).cpu().float().eval()
    folded = folded_copy(reference, options.fp32_layers)
    companions = file_format.companions
    with watch_signals() as stop_requested, replacing(target) as temporary, _move(temporary, target, companions):
        log(f"writing {target}")
        file_format.write(folded, temporary, options, int8_graph)
        log(f"measuring the gap of {target} to torch")
        gaps = measure_gap(reference, file_format.open(temporary, options), options)
        if stop_requested():
            # Python drops an interrupt that arrives inside a finalizer, so it is raised here.
            raise KeyboardInterrupt
    files = [target, *(target.with_suffix(suffix) for suffix in companions)]
    write_contract(folded, options, format_name, files, gaps)
    return ExportedFile(target, gaps, options.allowed)


def open_exported(path: str | Path, format_name: str, options: ExportOptions) -> Runner:
    """Load a file that ``export`` wrote with these options into its own runtime."""
    file_format = get_format(format_name)
    file_format.require()
    return file_format.open(Path(path), options)


@contextmanager
def _move(temporary: Path, target: Path, suffixes: Sequence[str]) -> Iterator[None]:
    """Move the companions of ``temporary`` (other suffixes) next to ``target`` when the block succeeds.

    An old ``target`` is deleted first: with the new companions beside it, it would be another network.
    """
    try:
        yield
        for suffix in suffixes:
            with replacing(target.with_suffix(suffix)) as companion:
                os.replace(temporary.with_suffix(suffix), companion)
                target.unlink(missing_ok=True)
    finally:
        for suffix in suffixes:
            temporary.with_suffix(suffix).unlink(missing_ok=True)
