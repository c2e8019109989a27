"""The check of one exported file on a data set: does its AP or its gap exceed the tolerance?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from distill.data.dataset import DataSet
from distill.verify.comparison import FileComparison, compare
from zoo.detector import Detector
from zoo.export.gap import OutputGap
from zoo.export.options import ExportOptions
from zoo.export.write import ExportedFile, open_exported


@dataclass(frozen=True, slots=True)
class FileCheck:
    """An exported file, its comparison with torch on a data set, and the allowed change of AP."""

    file: ExportedFile
    comparison: FileComparison
    ap_tolerance: float
    loss_only: bool = False
    """Whether a higher AP than torch's is no drift, as in INT8, where AP alone decides."""

    @property
    def ap_is_informative(self) -> bool:
        """Whether torch's own AP is large enough for a loss to show; that of an untrained detector is not."""
        ap = self.comparison.torch.summary["ap"]
        return ap is not None and ap > self.ap_tolerance

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the file drifts; empty if it does not."""
        reasons: list[str] = []
        before, after = self.comparison.torch.summary["ap"], self.comparison.file.summary["ap"]
        change = 0.0 if before is None or after is None else after - before
        if (-change if self.loss_only else abs(change)) > self.ap_tolerance:
            kind = "loss" if self.loss_only else "change"
            allowed = f"a {kind} up to {self.ap_tolerance:g} is allowed"
            reasons.append(f"AP went from {before or 0:.4f} to {after or 0:.4f}, and {allowed}")
        if self.loss_only and not self.ap_is_informative:
            reasons.append("AP cannot tell what INT8 costs here: torch's own is not above the loss that is allowed")
        # If AP is informative it covers single boxes that differ, but never outputs that cannot be compared.
        limit = math.inf if self.ap_is_informative else self.file.tolerance
        reasons += _gap_reasons(self.comparison.gaps, limit, "on these images")
        return (*reasons, *_gap_reasons(self.file.gaps, self.file.tolerance, "on synthetic scenes"))


def check_file(
    detector: Detector,
    file: ExportedFile,
    format_name: str,
    options: ExportOptions,
    data: DataSet,
    ap_tolerance: float,
    log: Callable[[str], None] = lambda text: None,
) -> FileCheck:
    """Check a file that ``export`` wrote with these options."""
    runner = open_exported(file.path, format_name, options)
    return FileCheck(file, compare(detector, runner, options, data, log), ap_tolerance, options.int8)


def _gap_reasons(gaps: Mapping[str, OutputGap], tolerance: float, where: str) -> list[str]:
    reasons = []
    for name, gap in gaps.items():
        if gap.fault:
            reasons.append(f"{name} {where}: {gap.fault}")
        elif not gap.relative <= tolerance:
            reasons.append(f"{name} {where} differ by {gap.relative:.1e}, and {tolerance:g} is allowed")
    if not any(gap.rows for gap in gaps.values()) and not reasons:
        reasons.append(f"nothing could be compared {where}")
    return reasons
