"""The doctor's report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.data.check.faults import AnnotationFaults
from distill.data.check.image_check import ImageCheck
from distill.data.formats.findings import Finding
from distill.data.formats.raw import RawAnnotations
from workbench.console import table
from zoo.weights.text import printable

FORMAT = "nas-doctor-1"


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """One split as the doctor found it."""

    raw: RawAnnotations
    faults: AnnotationFaults
    images: tuple[ImageCheck | None, ...]
    """None where there is no file."""

    @property
    def name(self) -> str:
        """Of the split; ``all`` where no name says which."""
        return self.raw.source.name or "all"


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """All findings, the most severe first."""

    path: Path
    input_px: int
    quick: bool
    splits: tuple[Split, ...]
    findings: tuple[Finding, ...]

    def count(self, severity: str) -> int:
        """Kinds of finding of this severity."""
        return sum(finding.rule.severity == severity for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {
            "format": FORMAT, "path": str(self.path), "form": self.splits[0].raw.source.form,
            "input_px": self.input_px, "images_decoded": not self.quick,
            "splits": {
                split.name: {
                    "images": len(split.raw), "annotations": len(split.raw.boxes),
                    "usable": int(split.faults.usable.sum()),
                }
                for split in self.splits
            },
            "errors": self.count("error"), "warnings": self.count("warning"), "notes": self.count("note"),
            "findings": [finding.to_dict() for finding in self.findings],
        }  # fmt: skip

    def to_records(self) -> list[dict[str, Any]]:
        """One row a finding, for instance for ``pandas.DataFrame``."""
        return [finding.to_dict() for finding in self.findings]

    def summary(self) -> str:
        """``1 error, 2 warnings, 0 notes``."""
        counts = {severity: self.count(severity) for severity in ("error", "warning", "note")}
        return ", ".join(f"{count} {severity}{'s' * (count != 1)}" for severity, count in counts.items())

    def __str__(self) -> str:
        rows = [[f.rule.severity, f.code, f.split or None, f.count, printable(f.examples[0])] for f in self.findings]
        return f"{self.path}: {self.summary()}\n{table(['severity', 'finding', 'split', 'times', 'example'], rows)}"
