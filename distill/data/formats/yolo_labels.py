"""The lines of YOLO's label files."""

from __future__ import annotations

import math
from pathlib import Path

from distill.data.formats.findings import FindingLog, quoted
from workbench.doors.bytes import read_text
from workbench.errors import BadInput


class LabelColumns:
    """Objects of label files, in columns; boxes are x1, y1, x2, y2 and areas, all in shares of the image."""

    def __init__(self, pose: bool) -> None:
        self.pose = pose
        """Whether lines have key points after the box."""
        self.classes: list[int] = []
        self.boxes: list[float] = []
        self.areas: list[float] = []

    def read(self, file: Path, notes: FindingLog) -> int:
        """Add the objects of one file, and count them; an invalid line is noted and skipped."""
        try:
            text = read_text(file)
        except BadInput as error:
            notes.add("malformed-label", str(error))
            return 0
        before = len(self.classes)
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if words:
                try:
                    self._add(words)
                except ValueError as error:
                    notes.add("malformed-label", f"{file}:{number}: {error}")
        return len(self.classes) - before

    def _add(self, words: list[str]) -> None:
        try:
            number, *values = map(float, words)
        except ValueError:
            raise ValueError(f"{quoted(' '.join(words))} is not a row of numbers") from None
        if not math.isfinite(number) or number != int(number) or abs(number) >= 2**53:
            raise ValueError(f"the class {words[0][:40]} is not a whole number")
        if len(values) == 4 or (self.pose and len(values) > 4):
            cx, cy, w, h = values[:4]
            box, area = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), math.nan
        elif len(values) >= 6 and len(values) % 2 == 0:
            xs, ys = values[0::2], values[1::2]
            box, area = (min(xs), min(ys), max(xs), max(ys)), _polygon_area(xs, ys)
        else:
            hint = "; is it a prediction with its score?" if len(values) == 5 else ""
            raise ValueError(
                f"{len(words)} numbers: must be class cx cy width height, or class and three or more points{hint}"
            )
        self.classes.append(int(number))
        self.boxes.extend(box)
        self.areas.append(area if area > 0 else math.nan)


def _polygon_area(xs: list[float], ys: list[float]) -> float:
    return abs(sum(x * ys[i - 1] - xs[i - 1] * y for i, (x, y) in enumerate(zip(xs, ys, strict=True)))) / 2
